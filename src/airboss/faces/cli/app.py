"""The command line as a tree: every noun and verb, and the options that come before them."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from airboss.faces.cli.commands import (
    analysis,
    audit,
    calendar,
    change,
    flags,
    health,
    keep,
    local,
    looks,
    new,
    on_call,
    people,
    policy,
    proofs,
    reviews,
    server,
    signing,
    telemetry,
    verdicts,
)
from airboss.faces.cli.exit_codes import Exit, table
from airboss.faces.cli.options import WAY
from airboss.faces.cli.problems import Problem, tell

EPILOG = f"Exit codes:\n\n\b\n{table()}"

app = typer.Typer(
    name="airboss",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in half the time and pipes as it looks
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=EPILOG,
)


@app.callback(invoke_without_command=False)
def root(
    server_: Annotated[
        str | None, typer.Option("--server", envvar="AIRBOSS_SERVER", help="The server's address.")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", envvar="AIRBOSS_TOKEN", help="A token; better in the environment.")
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=lambda wanted: _print_version(wanted=wanted)),
    ] = False,
) -> None:
    """Air-traffic control for production changes.

    A change is proposed, cleared by policy and people, watched while it goes out, and taken back when it harms.
    """
    WAY.server, WAY.token = server_, token


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"airboss {metadata.version('airboss')}")
        raise typer.Exit


app.command("serve")(server.serve)
app.command("demo")(server.demo)
app.command("backup")(keep.backup)
app.command("restore")(keep.restore)
app.add_typer(keep.clock, name="clock")
app.command("login")(signing.login)
app.command("apply")(change.apply)
app.add_typer(change.app, name="change")
for verb in change.VERBS:
    app.command(verb.__name__)(verb)
app.command("inbox")(change.inbox)
app.command("calendar")(calendar.calendar)
app.command("reviews")(reviews.reviews)
app.add_typer(reviews.app, name="review")
app.command("whoami")(looks.whoami)
app.command("health")(health.health)
app.command("error")(health.error)
change.app.command("new")(new.new)
change.app.command("templates")(looks.templates)
change.app.command("forecast")(looks.forecast)
change.app.command("course")(verdicts.course)
change.app.command("series")(verdicts.series)
change.app.command("decisions")(verdicts.decisions)
audit.app.command("show")(proofs.show)
audit.app.command("entries")(looks.entries)
audit.app.command("proof")(proofs.proof)
audit.app.command("consistency")(proofs.consistency)
policy.app.command("schema")(looks.schema)
app.command("on-call")(on_call.on_call)
app.command("services")(server.services)
app.add_typer(flags.app, name="flag")
app.add_typer(flags.versions, name="version")
app.add_typer(policy.app, name="policy")
app.add_typer(people.users, name="user")
app.add_typer(people.tokens, name="token")
app.add_typer(audit.app, name="audit")
app.add_typer(analysis.analysis, name="analysis")
app.add_typer(telemetry.app, name="telemetry")
app.add_typer(local.ids, name="id")
app.command("exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})(local.exec_)


def run(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code. Nothing but our own bugs leaves a trace."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without our marks shows question marks, not a fault
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        code = app(args=given, prog_name="airboss", standalone_mode=False)
    except Problem as problem:
        tell(problem, as_json=as_json)
        return problem.exit_code
    except typer.TyperException as usage:
        return _usage(usage, as_json=as_json)
    except typer.Abort:
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.OK  # whoever read us has seen enough
    except Exception as fault:
        known = _ours(fault)
        if known is None:
            raise
        tell(known, as_json=as_json)
        return known.exit_code
    return int(code or 0)


def _usage(usage: typer.TyperException, *, as_json: bool) -> int:
    """Tell that a command was not understood. Without arguments a group shows its help, which is no fault."""
    message = usage.format_message()
    context = getattr(usage, "ctx", None)
    path = context.command_path if context is not None else "airboss"
    if type(usage).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return Exit.OK
    tell(
        Problem(message, exit_code=Exit.USAGE, code="usage", place=None, way_out=f"{path} --help"),
        as_json=as_json,
    )
    return Exit.USAGE


def _ours(fault: Exception) -> Problem | None:
    """Return an error of a service that ran in this process as a problem; None for anything else."""
    from airboss.faces.cli.exit_codes import of_status
    from airboss.kernel.errors import AirbossError

    if not isinstance(fault, AirbossError):
        return None
    return Problem(
        fault.detail,
        exit_code=of_status(fault.status, fault.code),
        code=fault.code,
        place=fault.place,
        way_out=fault.way_out,
    )
