"""`airboss user …` and `airboss token …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airboss.faces.cli.options import AsJson, Cursor, Limit, answer, api, listed
from airboss.faces.cli.screen import emit, marked, say, table

users = typer.Typer(no_args_is_help=True, help="Who may sign in, and as what.")
tokens = typer.Typer(no_args_is_help=True, help="Tokens for services, CI and yourself.")

Handle = Annotated[str, typer.Argument(metavar="HANDLE", help="The name groups and teams know somebody by.")]
Role = Annotated[str, typer.Option("--role", help="viewer, engineer or admin.")]
Teams = Annotated[list[str] | None, typer.Option("--team", help="Only for what this team owns; repeatable.")]
TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="Its ID: tok_…")]


@users.command("add")
def add(
    handle: Handle,
    role: Role = "viewer",
    name: Annotated[str | None, typer.Option("--name", help="Kept where it can be erased.")] = None,
    email: Annotated[str | None, typer.Option("--email", help="Kept where it can be erased.")] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Write to a data folder of this machine, without a server.")
    ] = False,
    data: Annotated[Path | None, typer.Option("--data", help="The data folder for --local.")] = None,
    team: Teams = None,
    as_json: AsJson = False,
) -> None:
    """Add somebody, and print the one-time link by which they sign in."""
    if local:
        link = _add_locally(handle, role, name, email, data, team or [])
        if as_json:
            emit({"handle": handle, "role": role, "link": link})
        else:
            say(f"{handle} may sign in once by this link, for 15 minutes:\n{link}")
        return
    api().post("/people", {"handle": handle, "role": role, "name": name, "email": email, "teams": team or []})
    link_(handle, as_json=as_json)


def _add_locally(
    handle: str, role: str, name: str | None, email: str | None, data: Path | None, teams: list[str]
) -> str:
    """Add somebody straight to the store; whoever can write the data folder may. Returns the sign-in link."""
    from airboss.bootstrap import build, open_folder, read_settings
    from airboss.faces.cli.exit_codes import Exit
    from airboss.faces.cli.problems import Problem
    from airboss.people.access import LOCAL
    from airboss.people.access import Role as Roles
    from airboss.people.identity import AddPerson

    if role not in list(Roles):
        raise Problem(
            f"{role!r} is no role",
            exit_code=Exit.USAGE,
            code="role-unknown",
            way_out=f"use {', '.join(Roles)}",
        )
    settings = read_settings(data=data)
    open_folder(settings)
    house = build(settings)
    try:
        house.identity.persons.add(
            AddPerson(handle=handle, role=Roles(role), name=name, email=email, teams=tuple(teams)), LOCAL
        )
        link = house.identity.sign_in.issue_link(handle, LOCAL)
    finally:
        house.close()
    return settings.base_url + link.path


@users.command("list")
def list_users(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List everybody."""
    found = listed("/people", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [
        (
            one["handle"],
            one["role"],
            ", ".join(one.get("teams") or ()) or "all",
            "gone" if one.get("disabled_at") else "may sign in",
            one.get("name") or "",
        )
        for one in found["items"]
    ]
    table(("Handle", "Role", "Teams", "State", "Name"), rows, empty="Nobody yet.", give="Name")


@users.command("role")
def role_(
    handle: Handle,
    role: Annotated[str, typer.Argument(metavar="ROLE")],
    team: Teams = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Not narrowed to teams any more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give somebody another role, or narrow it to teams.

    A narrowed engineer proposes, edits and steers what these teams own. Anybody's change may still be paused, aborted
    and rolled back, and any flag killed.
    """
    teams = [] if everywhere else team or None
    found = api().post(f"/people/{handle}/role", {"role": role, "teams": teams})
    of = "" if teams is None else f" for {', '.join(teams)}" if teams else " for everything"
    answer(found or {"handle": handle}, as_json=as_json, sentence=f"{handle} is {role} now{of}")


@users.command("link")
def link_(handle: Handle, as_json: AsJson = False) -> None:
    """Make a one-time link by which somebody signs in. It replaces the one before."""
    found = api().post(f"/people/{handle}/link")
    if as_json:
        emit({"handle": handle, **found})
        return
    say(f"{handle} may sign in once by this link, until {found['expires_at']}:")
    say(str(found["link"]))


@users.command("disable")
def disable(handle: Handle, as_json: AsJson = False) -> None:
    """Let somebody go: their sessions end and their tokens are revoked."""
    found = api().post(f"/people/{handle}/disable")
    answer(found or {"handle": handle}, as_json=as_json, sentence=f"{handle} may not sign in any more")


@users.command("enable")
def enable(handle: Handle, as_json: AsJson = False) -> None:
    """Let somebody back in; they need a new link and new tokens."""
    found = api().post(f"/people/{handle}/enable")
    answer(
        found or {"handle": handle}, as_json=as_json, sentence=f"{handle} may sign in again: airboss user link {handle}"
    )


# -- tokens --------------------------------------------------------------------------------------------------------


@tokens.command("new")
def new(
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What it is for.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope", help="read, changes.write, operate, approve, admin, telemetry.write, flags.read; repeatable."
        ),
    ],
    service: Annotated[str | None, typer.Option("--service", help="The service it is bound to.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=365)] = 90,
    personal: Annotated[bool, typer.Option("--personal", help="It acts as you. Needs a signed-in session.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a token. Its secret is shown once, alone on standard output."""
    body = {"label": label, "scopes": scope, "days": days, "personal": personal, "service": service}
    _issued(api().post("/tokens", body), as_json=as_json)


@tokens.command("list")
def list_tokens(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List the tokens you may see; never their secrets."""
    found = listed("/tokens", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [
        (
            one["id"],
            marked("harmed", "revoked") if one.get("revoked_at") else marked("well", f"to {one['expires_at'][:10]}"),
            one["label"],
            " ".join(one["scopes"]),
        )
        for one in found["items"]
    ]
    table(("ID", "State", "Label", "Scopes"), rows, empty="No token yet.", give="Scopes")


@tokens.command("rotate")
def rotate(token: TokenId, as_json: AsJson = False) -> None:
    """Replace a token by a fresh one. The old one ends."""
    _issued(api().post(f"/tokens/{token}/rotate"), as_json=as_json)


@tokens.command("revoke")
def revoke(token: TokenId, as_json: AsJson = False) -> None:
    """End a token at once."""
    found = api().delete(f"/tokens/{token}")
    answer(found or {"revoked": token}, as_json=as_json, sentence=f"{token} is revoked")


def _issued(found: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        emit(found)
        return
    say(str(found["secret"]))
    from airboss.faces.cli.screen import note

    note("Keep it now: it is not shown again.")
