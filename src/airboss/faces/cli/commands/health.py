"""`airboss health`, `airboss error`: is the server well, and what does a code mean?"""

from __future__ import annotations

from typing import Annotated

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, api
from airboss.faces.cli.screen import console, emit, marked, say


def health(as_json: AsJson = False) -> int:
    """Say whether what the server rests on works.

    Ends with 0 when all of it does, with 1 when something does not.
    """
    found = api().ready()
    if as_json:
        emit(found)
    else:
        for check in found["checks"]:
            console().print(marked("well" if check["ok"] else "harmed", f"{check['name']}: {check['sentence']}"))
    return Exit.OK if found["ready"] else Exit.FAULT


def error(
    code: Annotated[str, typer.Argument(metavar="CODE", help="As messages show it, in brackets.")],
    as_json: AsJson = False,
) -> None:
    """Say what an error's code means, and the way out."""
    means, way_out = api().explained(code)
    if as_json:
        emit({"code": code, "means": means, "way_out": way_out})
        return
    say(means)
    say(f"Way out: {way_out}")
