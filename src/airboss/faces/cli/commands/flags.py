"""`airboss flag …` and `airboss version …`: what production may show, and what may not come back."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from airboss.faces.cli import completion
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, Cursor, Limit, Reason, answer, api, listed, page
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, fields, marked, table
from airboss.faces.cli.words import percent, short_id

app = typer.Typer(no_args_is_help=True, help="Feature flags: look, and the kill switch.")
versions = typer.Typer(no_args_is_help=True, help="Versions that were taken back and may not start again.")

PRODUCTION: Final = "production"
Name = Annotated[str, typer.Argument(metavar="FLAG", autocompletion=completion.flags)]
Environment = Annotated[str, typer.Option("--environment", help="Where.")]


@app.command("list")
def list_(
    environment: Environment = PRODUCTION, as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None
) -> None:
    """List the flags."""
    found = listed("/flags", limit, cursor, environment=environment)
    if as_json:
        emit(found)
        return
    rows = [
        (one["name"], _state(one["state"]), one.get("owner") or "", one.get("purpose") or "") for one in found["items"]
    ]
    table(("Flag", "State", "Owner", "Purpose"), rows, empty="No flag yet: airboss apply -f flag.yaml", give="Purpose")


def _state(state: dict[str, Any]) -> Any:
    """Return a flag's state in one environment: killed, exposed to a share by a change, or at rest."""
    if state["killed"]:
        return marked("harmed", f"killed, everybody has {state['serves']}")
    if state["change_id"] is not None:
        return marked("well", f"ramp at {percent(state['ramp_pct'])}")
    return marked("waiting", f"everybody has {state['serves']}" if state["serves"] else "at rest")


@app.command("show")
def show(name: Name, environment: Environment = PRODUCTION, as_json: AsJson = False) -> None:
    """Show one flag: where it stands everywhere, and what moves it."""
    found = api().get(f"/flags/{name}?environment={environment}")
    if as_json:
        emit(found)
        return
    fields(
        [
            ("flag", found["name"]),
            *((one["environment"], _state(one)) for one in found["states"]),
            *((f"moved by, {one['environment']}", one["change_id"]) for one in found["states"] if one["change_id"]),
            *(
                (f"killed, {one['environment']}", f"{one['kill']['reason']} ({one['kill']['by']})")
                for one in found["states"]
                if one["kill"]
            ),
            ("purpose", found["purpose"]),
            ("owner", found["owner"]),
            ("services", ", ".join(found["services"])),
            ("variants", ", ".join(f"{key} = {value}" for key, value in found["variants"].items())),
            ("last exposure", found["exposed_at"]),
            ("remove by", None if found["remove_by"] is None else str(found["remove_by"])),
            ("digest", found["digest"]),
        ]
    )
    page(f"/flags/{name}")


@app.command("evaluate")
def evaluate(
    name: Name,
    key: Annotated[str | None, typer.Option("--key", help="The targeting key, whom a ramp deals by.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", "-a", help="NAME=VALUE; what reads as JSON is that.")
    ] = None,
    environment: Environment = PRODUCTION,
    as_json: AsJson = False,
) -> None:
    """Say what somebody would get of a flag, and why.

    Answered by the evaluator that services use. Nobody is exposed by asking.
    """
    context: dict[str, Any] = dict(_attribute(one) for one in attribute or ())
    if key is not None:
        context["targetingKey"] = key
    found = api().post(f"/flags/{name}/evaluate", {"context": context, "environment": environment})
    if as_json:
        emit(found)
        return
    variant = "the caller's own default" if found["variant"] is None else f"{found['variant']} = {found['value']}"
    fields(
        [("answer", found["error"] or variant), ("reason", found["reason"]), ("exposure", found["exposure"] or None)]
    )


def _attribute(given: str) -> tuple[str, Any]:
    name, sign, value = given.partition("=")
    if not sign or not name.strip():
        raise Problem(
            f"{given!r} is not NAME=VALUE",
            place="--attribute",
            exit_code=Exit.USAGE,
            code="bad-attribute",
            way_out="--attribute plan=premium",
        )
    try:
        return name.strip(), json.loads(value)
    except (ValueError, RecursionError):
        return name.strip(), value


@app.command("kill")
def kill(name: Name, reason: Reason, environment: Environment = PRODUCTION, as_json: AsJson = False) -> None:
    """Give everybody the flag's off side at once. Asks no policy; it is recorded with the reason."""
    found = api().post(f"/flags/{name}/kill", {"reason": reason, "environment": environment})
    answer(found, as_json=as_json, sentence=f"{name} is off for everybody in {environment}", at=f"/flags/{name}")


@app.command("unkill")
def unkill(name: Name, environment: Environment = PRODUCTION, as_json: AsJson = False) -> None:
    """Let a killed flag answer again as it did before."""
    found = api().post(f"/flags/{name}/unkill", {"environment": environment})
    answer(found, as_json=as_json, sentence=f"{name} answers again", at=f"/flags/{name}")


@app.command("export")
def export() -> None:
    """Print every definition as flagd reads it (JSON)."""
    emit(api().get("/flags/export"))


@versions.command("list")
def blocked(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List the versions that were convicted and stay blocked."""
    found = listed("/blocked-versions", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [(one["service"], one["digest"][:19], short_id(one["change_id"]), one["sentence"]) for one in found["items"]]
    table(("Service", "Digest", "Change", "Why"), rows, empty="No version is blocked.", give="Why")


@versions.command("lift")
def lift(
    service: Annotated[str, typer.Argument(metavar="SERVICE", autocompletion=completion.services)],
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="sha256:…, or its beginning.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Let a blocked version start again. Say why: it harmed once."""
    whole = _digest(service, digest)
    found = api().post("/blocked-versions/lift", {"service": service, "digest": whole, "reason": reason})
    value = found or {"service": service, "digest": whole}
    answer(value, as_json=as_json, sentence=f"{whole[:19]} of {service} may start again", at="/changes")


def _digest(service: str, short: str) -> str:
    """Return the whole digest of a blocked version named by its beginning; an unknown one is left for the server."""
    named = short if short.startswith("sha256:") else f"sha256:{short}"
    known = {one["digest"] for one in api().listed("/blocked-versions")["items"] if one["service"] == service}
    found = [one for one in known if one.startswith(named)]
    return found[0] if len(found) == 1 else named
