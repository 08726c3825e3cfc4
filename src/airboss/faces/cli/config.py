"""Where the command line finds its server and its token: options, then the environment, then a file only you can read."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.problems import Problem

DEFAULT_SERVER: Final = "http://127.0.0.1:8700"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which server, and as whom. `source` says where the token came from, for messages."""

    server: str
    token: str | None
    source: str


def file() -> Path:
    """Return where the settings of the command line lie: AIRBOSS_CONFIG, or under XDG_CONFIG_HOME."""
    named = os.environ.get("AIRBOSS_CONFIG")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "airboss" / "cli.json"


def read(*, server: str | None = None, token: str | None = None) -> Reach:
    """Return the reach in force. `server` and `token` come from options or the environment. Raises Problem.

    A token kept in the file goes only to the server it was kept for.
    """
    kept = _kept()
    where = (server or kept.get("server") or DEFAULT_SERVER).rstrip("/")
    if token:
        return Reach(server=where, token=token, source="the environment or an option")
    if kept.get("token") and kept.get("server", "").rstrip("/") == where:
        return Reach(server=where, token=kept["token"], source=str(file()))
    return Reach(server=where, token=None, source="nowhere")


def write(server: str, token: str) -> Path:
    """Keep server and token in the file, mode 0600, replacing it in one step. Raises Problem."""
    path = file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as out:
            json.dump({"server": server.rstrip("/"), "token": token}, out)
        fresh.replace(path)
    except OSError as fault:
        raise Problem(f"it cannot be written: {fault.strerror}", place=str(path), code="config-not-kept") from fault
    return path


def forget() -> bool:
    """Remove the file; return whether there was one."""
    try:
        file().unlink()
    except FileNotFoundError:
        return False
    return True


def _kept() -> dict[str, str]:
    path = file()
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise Problem(
                "others can read the token in it",
                place=str(path),
                code="config-open",
                exit_code=Exit.FORBIDDEN,
                way_out=f"chmod 600 {path}, and rotate the token: airboss token rotate",
            )
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as fault:
        raise Problem(
            f"it cannot be read: {fault}", place=str(path), code="config-unreadable", way_out="airboss login writes it"
        ) from fault
    if not isinstance(found, dict):
        raise Problem(
            "it holds no settings", place=str(path), code="config-unreadable", way_out="airboss login writes it"
        )
    return {str(key): str(value) for key, value in found.items()}
