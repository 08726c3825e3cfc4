"""Commands that need no server: mint an ID, run a command as part of a change."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, say

ids = typer.Typer(no_args_is_help=True, help="IDs of changes, minted anywhere.")


def fresh_change_id() -> str:
    """Return a new ID of a change, from this machine's clock and chance."""
    from airboss.kernel.clock import SystemClock
    from airboss.kernel.ids import SystemChance, TimeOrderedIds

    return TimeOrderedIds(SystemClock(), SystemChance()).new("chg")


@ids.command("new")
def new(
    as_json: AsJson = False,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")] = 1,
) -> None:
    """Mint the ID of a change to come.

    For a commit message or a change's metadata. Works without a server.
    """
    minted = [fresh_change_id() for _ in range(count)]
    if as_json:
        emit({"ids": minted})
    else:
        say("\n".join(minted))


def exec_(
    change: Annotated[str, typer.Option("--change", help="The whole ID of the change; AIRBOSS_CHANGE_ID otherwise.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What to run, after --.")],
    service: Annotated[str | None, typer.Option("--service", help="service.name of what runs.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="service.version.")] = None,
    environment: Annotated[str | None, typer.Option("--environment", help="deployment.environment.name.")] = None,
) -> None:
    """Run a command whose telemetry names a change. Ends as the command ends.

    Sets AIRBOSS_CHANGE_ID, adds to OTEL_RESOURCE_ATTRIBUTES, which every OpenTelemetry SDK reads, and to BAGGAGE, which
    tools that take their context from the environment hand on.
    """
    from airboss.kernel.errors import AirbossError
    from airboss.kernel.ids import change_id

    try:
        named = change_id(change)
    except AirbossError as fault:
        raise Problem(fault.detail, exit_code=Exit.USAGE, code=fault.code, way_out=fault.way_out) from fault
    environ = with_change(os.environ.copy(), str(named), service=service, version=version, environment=environment)
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 - what the caller asked for, without a shell
    except OSError as fault:
        raise Problem(
            f"it cannot be run: {fault.strerror}", place=command[0], exit_code=Exit.USAGE, code="command-not-run"
        ) from fault


def with_change(
    environ: dict[str, str], change: str, *, service: str | None, version: str | None, environment: str | None
) -> dict[str, str]:
    """Return an environment in which telemetry names a change. What was in it already stays, but for the same names.

    Values are percent-encoded as W3C baggage, as the OpenTelemetry SDK specification wants it.
    """
    from urllib.parse import quote

    from airboss.sdk import attributes

    wanted = {
        attributes.CHANGE_ID: change,
        attributes.DEPLOYMENT_ID: change,
        attributes.SERVICE_NAME: service,
        attributes.SERVICE_VERSION: version,
        attributes.ENVIRONMENT: environment,
    }
    ours = {name: quote(value, safe="") for name, value in wanted.items() if value is not None}
    kept = [
        pair
        for pair in environ.get(attributes.OTEL_RESOURCE_ENV, "").split(",")
        if pair.strip() and pair.partition("=")[0].strip() not in ours
    ]
    added = [f"{name}={value}" for name, value in ours.items()]
    carried = [
        entry
        for entry in environ.get(attributes.BAGGAGE_ENV, "").split(",")
        if entry.strip() and entry.partition("=")[0].strip() != attributes.BAGGAGE_KEY
    ]
    return {
        **environ,
        attributes.ENV: change,
        attributes.OTEL_RESOURCE_ENV: ",".join([*kept, *added]),
        attributes.BAGGAGE_ENV: ",".join([*carried, f"{attributes.BAGGAGE_KEY}={change}"]),
    }
