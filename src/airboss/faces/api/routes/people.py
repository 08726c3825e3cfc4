"""People, tokens, signing in and out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from airboss.faces.api import shapes
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.inputs import HandleIn, TokenIdIn
from airboss.faces.api.pages import PartQuery, paged
from airboss.faces.reads import people_view, person_view, token_view, tokens_view
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import Invalid
from airboss.people.identity import AddPerson, IssuedToken, IssueToken

public = APIRouter(tags=["people"])
router = APIRouter(route_class=Guarded, tags=["people"])


@public.post("/session", status_code=201)
def sign_in(house: HouseHere, given: shapes.SignIn, request: Request, response: Response) -> dict[str, Any]:
    """Sign in with a one-time link or with a password; the answer sets the session's cookie."""
    if given.link is not None and given.password is None:
        session = house.identity.sign_in.use_link(given.link, handle=given.handle, name=given.name)
    elif given.handle is not None and given.password is not None and given.link is None:
        session = house.identity.sign_in.with_password(given.handle, given.password)
    else:
        raise Invalid("sign in with a link, or with handle and password", code="bad-sign-in", place="body")
    request.app.state.doorkeeper.let_in(response, session, now_s=house.clock.now().timestamp())
    return {"person": {"id": session.person, "handle": session.handle}, "expires_at": rfc3339(session.expires_at)}


@router.delete("/session", status_code=204)
def sign_out(house: HouseHere, caller: Caller, request: Request, response: Response) -> None:
    """Sign out: the session ends everywhere."""
    house.identity.sign_in.sign_out(caller)
    request.app.state.doorkeeper.let_out(response)


@router.post("/password", status_code=204)
def set_password(house: HouseHere, caller: Caller, given: shapes.SetPassword) -> None:
    """Set your own password; your other sessions end."""
    house.identity.sign_in.set_password(given.new, caller, current=given.current)


@router.get("/me")
def me(caller: Caller) -> dict[str, Any]:
    """Say who you are here."""
    return {
        "id": caller.id,
        "name": caller.name,
        "kind": caller.kind,
        "role": str(caller.role),
        "teams": sorted(caller.teams),
        "scopes": None if caller.scopes is None else sorted(caller.scopes),
        "service": caller.service,
    }


@router.get("/people")
def list_people(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List everybody."""
    with house.store.read() as connection:
        return paged(people_view(house, connection, caller), part, by=lambda row: (row["handle"],))


@router.post("/people", status_code=201)
def addperson_view(house: HouseHere, caller: Caller, given: shapes.AddPerson) -> dict[str, Any]:
    """Add somebody; they sign in by a link."""
    command = AddPerson(
        handle=given.handle, role=given.role, name=given.name, email=given.email, teams=tuple(given.teams)
    )
    return person_view(house.identity.persons.add(command, caller))


@router.post("/people/{handle}/role", status_code=204)
def set_role(house: HouseHere, caller: Caller, handle: HandleIn, given: shapes.SetRole) -> None:
    """Give somebody another role, or narrow it to what some teams own. Stopping a change stays open to every engineer."""
    house.identity.persons.set_role(handle, given.role, caller, teams=given.teams)


@router.post("/people/{handle}/disable", status_code=204)
def disableperson_view(house: HouseHere, caller: Caller, handle: HandleIn) -> None:
    """Let somebody go: their sessions end and their tokens are revoked."""
    house.identity.persons.disable(handle, caller)


@router.post("/people/{handle}/enable", status_code=204)
def enableperson_view(house: HouseHere, caller: Caller, handle: HandleIn) -> None:
    """Let somebody back in."""
    house.identity.persons.enable(handle, caller)


@router.post("/people/{handle}/link", status_code=201)
def issue_link(house: HouseHere, caller: Caller, handle: HandleIn) -> dict[str, Any]:
    """Issue a one-time sign-in link; it is shown this once."""
    link = house.identity.sign_in.issue_link(handle, caller)
    return {"link": house.settings.base_url + link.path, "expires_at": rfc3339(link.expires_at)}


@router.get("/tokens")
def list_tokens(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List tokens: all of them for whoever manages them, else your own; the newest first."""
    with house.store.read() as connection:
        found = tokens_view(house, connection, caller)
    return paged(found, part, by=lambda row: (row["id"],), newest_first=True)


@router.post("/tokens", status_code=201)
def issue_token(house: HouseHere, caller: Caller, given: shapes.IssueToken) -> dict[str, Any]:
    """Issue a token; its secret is shown this once."""
    command = IssueToken(
        label=given.label,
        scopes=frozenset(given.scopes),
        days=given.days,
        personal=given.personal,
        service=given.service,
    )
    return _issued(house.identity.tokens.issue(command, caller))


@router.post("/tokens/{token}/rotate", status_code=201)
def rotate_token(house: HouseHere, caller: Caller, token: TokenIdIn) -> dict[str, Any]:
    """Issue a successor with the same rights; the old one works for an hour more."""
    return _issued(house.identity.tokens.rotate(token, caller))


@router.delete("/tokens/{token}", status_code=204)
def revoke_token(house: HouseHere, caller: Caller, token: TokenIdIn) -> None:
    """Revoke a token."""
    house.identity.tokens.revoke(token, caller)


def _issued(issued: IssuedToken) -> dict[str, Any]:
    return {"secret": issued.secret, "token": token_view(issued.token, None)}
