"""What is done without a server: reading journals and rule packs of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.problems import Problem

DATABASE: Final = "airboss.db"
_PROOF_MOST: Final = 1 << 20
_SCHEMES: Final = ("sqlite:", "postgresql:", "postgres:")


def verify_source(source: str, *, checkpoint: str | None, keys: Sequence[str]) -> dict[str, Any]:
    """Return the report of a verification. A data folder brings its own checkpoints file along.

    Raises Problem where there is nothing to read, and what the audit raises for input that is none.
    """
    from airboss.records import audit

    if source.startswith(_SCHEMES):
        return dict(
            audit.verify(source, checkpoint_note=checkpoint, public_key=keys, state_digests=_states()).as_json()
        )
    path = Path(source)
    if path.is_dir():
        database = path / DATABASE
        if not database.exists():
            raise Problem(
                "there is no journal in this folder",
                place=source,
                exit_code=Exit.NOT_FOUND,
                code="journal-not-found",
                way_out="name the folder airboss serve was given, or the address of its database",
            )
        return dict(
            audit.verify(
                f"sqlite:///{database.resolve()}",
                checkpoint_note=checkpoint,
                public_key=keys,
                state_digests=_states(),
            ).as_json()
        )
    if not path.exists():
        raise Problem("there is no such file", place=source, exit_code=Exit.NOT_FOUND, code="journal-not-found")
    if _is_pack(path):
        return dict(audit.verify_pack(path.read_bytes(), public_key=keys).as_json())
    if _is_proof(path):
        kept = (checkpoint or "").encode()
        return dict(audit.verify_proof(path.read_bytes(), checkpoints=kept, public_key=keys).as_json())
    return dict(audit.verify(path, checkpoint_note=checkpoint, public_key=keys, state_digests=_states()).as_json())


def _is_pack(path: Path) -> bool:
    """Return whether a file is one evidence pack: one JSON value that says so, not lines of them."""
    with path.open("rb") as file:
        start = file.read(65_536)
    return b'"kind":"evidence"' in start.replace(b" ", b"") or (
        start.lstrip().startswith(b"{") and b'"evidence"' in start and b"\n{" not in start
    )


def _is_proof(path: Path) -> bool:
    """Return whether a file is one proof: short, and one JSON value that says so."""
    if path.stat().st_size > _PROOF_MOST:
        return False
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("kind") in ("inclusion", "consistency")


def _states() -> list[Any]:
    """Return what the rooms give to compare state rows with their last facts."""
    from airboss.bootstrap import state_digests

    return list(state_digests())


def packs(files: Iterable[Path]) -> list[tuple[str, bytes]]:
    """Return rule packs as (source, bytes); folders give their YAML files. Raises Problem."""
    found: list[tuple[str, bytes]] = []
    for path in files:
        inside = sorted(one for one in path.rglob("*") if one.suffix in (".yaml", ".yml")) if path.is_dir() else [path]
        for one in inside:
            try:
                found.append((str(one), one.read_bytes()))
            except OSError as fault:
                raise Problem(
                    f"it cannot be read: {fault.strerror}", place=str(one), exit_code=Exit.USAGE, code="unreadable-file"
                ) from fault
    return found
