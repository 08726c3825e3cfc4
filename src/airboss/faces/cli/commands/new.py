"""`airboss change new`: a file to start from, asked for on a terminal, or made from options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airboss.faces.cli import completion
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, api
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.proposal import TARGETS, Wanted, blanks, fitting, proposal
from airboss.faces.cli.screen import emit, say

if TYPE_CHECKING:
    from airboss.changes import Template


def new(
    context: typer.Context,
    template: Annotated[
        str, typer.Option("--template", help="The kind of change.", autocompletion=completion.templates)
    ] = "flag-ramp",
    service: Annotated[
        str | None, typer.Option("--service", help="What it changes.", autocompletion=completion.services)
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="What will be different, in a line.")] = None,
    why: Annotated[str | None, typer.Option("--why", help="What it is for.")] = None,
    team: Annotated[str | None, typer.Option("--team", help="Who owns it.")] = None,
    environment: Annotated[str, typer.Option("--environment", help="Where it goes.")] = "production",
    target: Annotated[str | None, typer.Option("--target", help=f"What carries it: {', '.join(TARGETS)}.")] = None,
    flag: Annotated[
        str | None, typer.Option("--flag", help="The flag that carries it.", autocompletion=completion.flags)
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Of the artifact.")] = None,
    digest: Annotated[str | None, typer.Option("--digest", help="Of the artifact: sha256:…")] = None,
    users: Annotated[
        float | None, typer.Option("--users", min=0, max=100, help="Users it can touch, in per cent.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="A new file to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a change: write its file, with an ID of its own.

    On a terminal, without options, it asks for what the template cannot know, offers what the server knows, and writes
    the file. With options, in a pipe or where CI is set it asks nothing, and what was not said stands in capitals.
    Works without a server.
    """
    from airboss.changes import templates
    from airboss.faces.cli.commands.local import fresh_change_id

    kinds = {one.metadata.name: one for one in templates()}
    if out is not None and out.exists():
        raise _taken(out)
    if _asks(context, as_json=as_json):
        _interviewed(list(kinds.values()), out)
        return
    if template not in kinds:
        raise Problem(
            f"no template {template} comes with Airboss",
            exit_code=Exit.USAGE,
            code="template-unknown",
            way_out=f"there are {', '.join(kinds)}",
        )
    wanted = Wanted(
        template=kinds[template],
        id=fresh_change_id(),
        service=service,
        title=title,
        why=why,
        team=team,
        environment=environment,
        version=version,
        digest=digest,
        users_percent=users,
        target=_carrier(kinds[template], "flag" if flag is not None and target is None else target),
        params={} if flag is None else {"name": flag},
    )
    text = proposal(wanted)
    if out is not None:
        _write(out, text)
    if as_json:
        emit({"id": wanted.id, "template": template, "file": None if out is None else str(out), "text": text})
    elif out is None:
        say(text)
    else:
        _next(out, wanted)


def _asks(context: typer.Context, *, as_json: bool) -> bool:
    """Return whether somebody sits there to answer, who has said nothing yet."""
    watched = sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI")
    given = [
        name
        for name in context.params
        if name != "out" and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    return watched and not as_json and not given


def _interviewed(kinds: list[Template], out: Path | None) -> None:
    from airboss.faces.cli.commands.local import fresh_change_id
    from airboss.faces.cli.interview import ask, free_name, interview, known

    try:
        wanted = interview(kinds, known(api()), api(), id_=fresh_change_id())
        file = out
        while file is None:
            named = Path(ask("File", default=free_name()))
            if named.exists():
                say(f"  {named} is there already.")
            else:
                file = named
    except (EOFError, KeyboardInterrupt) as fault:
        say("\nNothing was written.")
        raise KeyboardInterrupt from fault
    text = proposal(wanted)
    _write(file, text)
    say()
    _next(file, wanted)


def _next(file: Path, wanted: Wanted) -> None:
    say(f"Wrote {file}.")
    left = blanks(wanted)
    if left:
        say(f"Still to be said in it: {', '.join(left)}")
    say(f"Next: airboss change submit {file}")


def _carrier(template: Template, named: str | None) -> str | None:
    if named is None:
        return None
    kinds = fitting(template)
    if named not in kinds:
        raise Problem(
            f"a {template.metadata.name} is not carried by {named}",
            exit_code=Exit.USAGE,
            code="target-unknown",
            way_out=f"use {' or '.join(kinds)}" if kinds else f"write its target by hand: {template.spec.targets}",
        )
    return named


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text + "\n")
    except FileExistsError as fault:
        raise _taken(file) from fault
    except OSError as fault:
        raise Problem(
            f"it cannot be written: {fault.strerror}", place=str(file), exit_code=Exit.USAGE, code="file-not-written"
        ) from fault


def _taken(file: Path) -> Problem:
    return Problem(
        "there is such a file already, and nothing is written over it",
        place=str(file),
        exit_code=Exit.USAGE,
        code="file-exists",
        way_out="name another: --out FILE",
    )
