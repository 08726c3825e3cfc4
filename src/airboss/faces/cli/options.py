"""What commands share: the way to the server, and options that mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.faces.cli import completion, config
from airboss.faces.cli.client import Api
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, note, say

AsJson = Annotated[bool, typer.Option("--json", help="Answer as JSON; its fields are stable.")]
ChangeName = Annotated[
    str,
    typer.Argument(
        metavar="CHANGE", help="A change's ID, or the end or beginning of it.", autocompletion=completion.changes
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the record.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Rows at most; all without it.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Go on from here: next_cursor of the answer before.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files to read.")]


class Way:
    """How this run reaches its server; read when a command first asks."""

    def __init__(self) -> None:
        self.server: str | None = None
        self.token: str | None = None
        self._api: Api | None = None

    @property
    def reached(self) -> Api | None:
        """The API this run has asked already."""
        return self._api

    def api(self) -> Api:
        """Return the API of the chosen server. Raises Problem for a broken configuration."""
        if self._api is None:
            self._api = Api(config.read(server=self.server, token=self.token))
        return self._api


WAY = Way()
"""One run of the program reaches one server."""


def api() -> Api:
    """Return the API every command of this run asks."""
    return WAY.api()


def page(path: str) -> None:
    """Write the address of the page where a person goes on."""
    say(api().address(path))


def answer(value: object, *, as_json: bool, sentence: str, at: str | None = None) -> None:
    """Write what a command changed: JSON as the API said it, or a sentence and the page's address where there is one."""
    if as_json:
        emit(value)
        return
    say(sentence)
    if at is not None:
        page(at)


def listed(path: str, limit: int | None, cursor: str | None, **filters: Any) -> dict[str, Any]:
    """Return a list as the options want it, and tell on a terminal how to go on. Raises Problem."""
    found = api().listed(path, most=limit, cursor=cursor, **filters)
    if found["next_cursor"] is not None:
        note(f"There are more: --cursor {found['next_cursor']}")
    return found


def read_file(path: Path) -> str:
    """Return a file's text; `-` is standard input. Raises Problem."""
    try:
        return typer.get_text_stream("stdin").read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as fault:
        raise Problem(
            f"it cannot be read: {fault.strerror}", place=str(path), exit_code=Exit.USAGE, code="unreadable-file"
        ) from fault
    except UnicodeDecodeError as fault:
        raise Problem("it is not UTF-8 text", place=str(path), exit_code=Exit.USAGE, code="not-utf-8") from fault


def documents(path: Path) -> list[dict[str, str]]:
    """Return the YAML files a path names, in the order of their names. Raises Problem: none there."""
    if not path.is_dir():
        return [{"source": str(path), "text": read_file(path)}]
    found = sorted(one for one in path.rglob("*") if one.suffix in (".yaml", ".yml") and one.is_file())
    if not found:
        raise Problem(
            "there is no .yaml file in it",
            place=str(path),
            exit_code=Exit.USAGE,
            code="no-documents",
            way_out="name a file, or a folder that holds some",
        )
    return [{"source": str(one), "text": read_file(one)} for one in found]
