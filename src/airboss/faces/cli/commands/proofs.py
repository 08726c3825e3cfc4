"""`airboss audit proof` and `consistency`: one claim of the record, asked of the server and checked here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airboss.faces.cli.commands.audit import Kept, Keys, Out, key_texts, tell
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, api, page, read_file
from airboss.faces.cli.screen import emit, fields, say

if TYPE_CHECKING:
    from airboss.records.audit import Report


def show(as_json: AsJson = False) -> None:
    """Say how far the record goes, and what is signed."""
    found = api().get("/audit")
    if as_json:
        emit(found)
        return
    signed = found["checkpoint"]
    fields(
        [
            ("log", found["origin"]),
            ("entries", f"{found['size']:,}"),
            ("signed", "nothing yet" if signed is None else f"{signed['size']:,} entries, {signed['at']}"),
            ("root", None if signed is None else signed["root"]),
            ("public key", found["key"]),
        ]
    )
    page("/audit")


def proof(
    position: Annotated[int, typer.Argument(min=0, metavar="POSITION", help="Where it stands: airboss audit entries.")],
    checkpoint: Kept = None,
    key: Keys = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Prove that an entry is in the record.

    With --checkpoint it is proven into the newest checkpoint of that file, and checked here: 0 when it holds, 11 when not.
    Without, the proof is printed, to be checked later by `airboss audit verify FILE`.
    """
    from airboss.records.audit import newest

    notes = b"" if checkpoint is None else read_file(checkpoint).encode()
    size = None if checkpoint is None else newest(notes).size
    found = api().get(f"/audit/proof/{position}", size=size)
    if checkpoint is None and not key:
        _keep(found, out)
        return Exit.OK
    fact = found["fact"]
    claim = f"entry {position} is in the record: {fact['type']} of {fact['subject']}, {fact['at']}"
    return _checked(found, notes, key, out, claim=claim, as_json=as_json)


def consistency(
    checkpoint: Annotated[
        Path, typer.Option("--checkpoint", help="Checkpoints kept elsewhere; the newest of them counts.")
    ],
    key: Keys = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Prove that the record goes on from a checkpoint you kept.

    Asks the server for the proof and checks it here: 0 when nothing before it was changed, 11 when something was.
    """
    from airboss.records.audit import newest

    notes = read_file(checkpoint).encode()
    kept = newest(notes)
    now = newest(api().raw("/audit/checkpoint").encode())
    if now.origin == kept.origin and now.size < kept.size:
        return _cut(kept.size, now.size, as_json=as_json)
    found = api().get("/audit/consistency", **{"from": kept.size, "to": now.size})
    claim = f"the record of {found['to']:,} entries begins with the {kept.size:,} you kept a checkpoint of"
    return _checked(found, notes, key, out, claim=claim, as_json=as_json)


def _cut(kept: int, now: int, *, as_json: bool) -> int:
    sentence = f"a checkpoint over {kept:,} entries was kept, and the server signs {now:,} now."
    report = {"ok": False, "findings": [{"kind": "tail-cut", "place": f"position {now}", "sentence": sentence}]}
    if as_json:
        emit(report)
    else:
        say(f"tail-cut at position {now}: {sentence}")
    return Exit.DAMAGED


def _checked(
    found: dict[str, Any], notes: bytes, key: list[str] | None, out: Path | None, *, claim: str, as_json: bool
) -> int:
    from airboss.records.audit import verify_proof

    report: Report = verify_proof(found, checkpoints=notes, public_key=key_texts(key))
    if out is not None:
        _write(found, out)
    if as_json:
        emit(report.as_json())
    else:
        tell(dict(report.as_json()), claim=claim)
    return Exit.OK if report.ok else Exit.DAMAGED


def _keep(found: dict[str, Any], out: Path | None) -> None:
    if out is None:
        emit(found)
        return
    _write(found, out)
    say(str(out))


def _write(found: dict[str, Any], out: Path) -> None:
    out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
