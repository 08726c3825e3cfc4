"""The page of people and tokens: who there is, what each may do, and the secrets that are shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.faces.reads import people_view, tokens_view
from airboss.faces.web.frame import Frame, fault_of, flash_of
from airboss.faces.web.views import Action, Shell, State
from airboss.faces.web.visits import Visit, see
from airboss.faces.web.words import listed
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import AirbossError, Invalid
from airboss.people.access import Action as Act
from airboss.people.access import Actor, Role, TokenScope, may
from airboss.people.identity import PERSONAL_SCOPES, SERVICE_SCOPES, AddPerson, IssueToken

View = Mapping[str, Any]

HERE: Final = "/people"
PERSON: Final = ("handle", "role", "name", "teams")
TOKEN: Final = ("label", "days", "service", "scopes", "kind")
_SCOPES: Final[Mapping[TokenScope, str]] = {
    TokenScope.READ: "read",
    TokenScope.CHANGES_WRITE: "propose changes",
    TokenScope.OPERATE: "pause, abort, roll back, kill",
    TokenScope.APPROVE: "approve",
    TokenScope.ADMIN: "administer",
    TokenScope.TELEMETRY_WRITE: "send telemetry",
    TokenScope.FLAGS_READ: "evaluate flags",
}


class Made(TypedDict):
    """A secret that was just made, shown this once."""

    state: State
    label: str
    secret: str
    until: datetime


class Wrong(TypedDict):
    """What is wrong with one of the two forms: person or token."""

    form: str
    field: str
    words: str


class PersonRow(TypedDict):
    """One person. `reach` are the teams their role is narrowed to; `actions` what the reader may do about them."""

    handle: str
    name: str | None
    role: str
    reach: str
    groups: list[str]
    state: State | None
    signs_in: str
    since: datetime
    actions: list[Action]
    may_change_role: bool


class TokenRow(TypedDict):
    """One token, without its secret."""

    id: str
    label: str
    whose: str
    scopes: str
    until: datetime
    used: datetime | None
    state: State | None
    action: Action | None


class PeoplePage(TypedDict):
    """People and tokens. `manages` shows the forms about people, `issues` the one that makes a token; `given` is what was
    written in them before a refusal.
    """

    shell: Shell
    people: list[PersonRow]
    manages: bool
    roles: list[tuple[str, str]]
    tokens: list[TokenRow]
    issues: bool
    kinds: list[tuple[str, str]]
    scopes: list[tuple[str, str]]
    given: dict[str, dict[str, str]]
    wrong: Wrong | None
    made: Made | None


class Peopling:
    """Handlers of people and tokens; every act has the rights of its route in the API."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def people(self, visit: Visit) -> Response:
        """List people and tokens. Eight queries at most, however many there are."""
        return self._page(visit)

    def add(self, visit: Visit) -> Response:
        """Add somebody, and show their first sign-in link once."""
        form = visit.form
        identity = self._frame.house.identity
        try:
            role = _role(form.get("role", ""))
            person = AddPerson(
                handle=form.get("handle", "").strip(),
                role=role,
                name=form.get("name", "").strip() or None,
                teams=_names(form.get("teams", "")),
            )
            made = identity.persons.add(person, visit.actor)
        except AirbossError as fault:
            return self._page(visit, given={"person": form}, fault=("person", fault))
        return self._linked(visit, made.handle, f"{made.handle} is added.")

    def link(self, visit: Visit) -> Response:
        """Issue a sign-in link and show it once."""
        return self._linked(visit, visit.path["handle"], "The link is made.")

    def _linked(self, visit: Visit, handle: str, lead: str) -> Response:
        issued = self._frame.house.identity.sign_in.issue_link(handle, visit.actor)
        made: Made = {
            "state": {"tone": "well", "word": "Made", "sentence": f"{lead} Hand this over; it works once."},
            "label": f"Sign-in link of {handle}",
            "secret": self._frame.house.settings.base_url + issued.path,
            "until": issued.expires_at,
        }
        return self._page(visit, made=made)

    def role(self, visit: Visit) -> Response:
        """Give somebody another role, or narrow the one they have to what some teams own."""
        handle, role = visit.path["handle"], _role(visit.form.get("role", ""))
        teams = None if "teams" not in visit.form else _names(visit.form["teams"])
        self._frame.house.identity.persons.set_role(handle, role, visit.actor, teams=teams)
        reach = f", for what {listed(teams)} own" if teams else ", for what any team owns" if teams == () else ""
        return see(HERE, told=flash_of("well", "Changed.", f"{handle} is {role} now{reach}."))

    def disable(self, visit: Visit) -> Response:
        """Let somebody go."""
        handle = visit.path["handle"]
        self._frame.house.identity.persons.disable(handle, visit.actor)
        told = f"Sessions of {handle} have ended and their tokens are revoked."
        return see(HERE, told=flash_of("waiting", "Disabled.", told))

    def enable(self, visit: Visit) -> Response:
        """Let somebody back in."""
        handle = visit.path["handle"]
        self._frame.house.identity.persons.enable(handle, visit.actor)
        return see(HERE, told=flash_of("well", "Enabled.", f"{handle} signs in by a new link."))

    def issue(self, visit: Visit) -> Response:
        """Issue a token and show its secret once."""
        form = visit.form
        try:
            command = read_token(form)
            issued = self._frame.house.identity.tokens.issue(command, visit.actor)
        except AirbossError as fault:
            return self._page(visit, given={"token": form}, fault=("token", fault))
        made: Made = {
            "state": {"tone": "well", "word": "Made", "sentence": "Copy it now; it is never shown again."},
            "label": f"Secret of the token {issued.token.label}",
            "secret": issued.secret,
            "until": issued.token.expires_at,
        }
        return self._page(visit, made=made)

    def revoke(self, visit: Visit) -> Response:
        """Revoke a token."""
        self._frame.house.identity.tokens.revoke(visit.path["token"], visit.actor)
        return see(HERE, told=flash_of("waiting", "Revoked.", "Whoever uses it is refused from now on."))

    def _page(
        self,
        visit: Visit,
        *,
        made: Made | None = None,
        given: Mapping[str, Mapping[str, str]] | None = None,
        fault: tuple[str, AirbossError] | None = None,
    ) -> Response:
        house, actor = self._frame.house, visit.actor
        with house.store.read() as connection:
            people = people_view(house, connection, actor)
            tokens = tokens_view(house, connection, actor)
            groups = _groups(house.catalog.teams(connection), house.catalog.groups(connection))
        manages = may(actor, Act.PEOPLE_MANAGE)
        wrong: Wrong | None = None
        if fault is not None:
            fields, otherwise = (PERSON, "handle") if fault[0] == "person" else (TOKEN, "label")
            wrong = {"form": fault[0], **fault_of(fault[1], fields, otherwise=otherwise)}
        now = self._frame.house.clock.now()
        page: PeoplePage = {
            "shell": self._frame.shell(visit),
            "people": [_person(one, groups, manages=manages, me=actor.name) for one in people],
            "manages": manages,
            "roles": [(str(role), str(role)) for role in Role],
            "tokens": [_token(one, now=now) for one in tokens],
            "issues": may(actor, Act.TOKEN_OWN),
            "kinds": [
                ("personal", f"me, {actor.name}"),
                *([("own", "a service or CI")] if may(actor, Act.TOKEN_SERVICE) else []),
            ],
            "scopes": [(str(scope), words) for scope, words in _SCOPES.items() if scope in _grantable(actor)],
            "given": {
                "person": {},
                "token": {"days": "90"},
                **{name: dict(form) for name, form in (given or {}).items()},
            },
            "wrong": wrong,
            "made": made,
        }
        return self._frame.page(visit, "people", page, status=200 if fault is None else fault[1].status)


def _grantable(actor: Actor) -> frozenset[TokenScope]:
    """Return the scopes a token of this person's making could carry and use."""
    services = SERVICE_SCOPES if may(actor, Act.TOKEN_SERVICE) else frozenset[TokenScope]()
    return (PERSONAL_SCOPES | services) - (frozenset() if may(actor, Act.PEOPLE_MANAGE) else {TokenScope.ADMIN})


def read_token(form: Mapping[str, str]) -> IssueToken:
    """Return what a form asks for. Raises Invalid, its place the field."""
    days = form.get("days", "").strip()
    if not (days.isascii() and days.isdigit() and len(days) < 6):
        raise Invalid("a token lasts a whole number of days", code="bad-token", place="days", way_out="write 90")
    scopes = frozenset(scope for scope in TokenScope if form.get(f"scope-{scope}"))
    if not scopes:
        raise Invalid("a token without a scope may do nothing", code="bad-token", place="scopes", way_out="choose one")
    return IssueToken(
        label=form.get("label", "").strip(),
        scopes=scopes,
        days=int(days),
        personal=form.get("kind") != "own",
        service=form.get("service", "").strip() or None,
    )


def _names(given: str) -> tuple[str, ...]:
    """Return names written with commas or spaces between them."""
    return tuple(given.replace(",", " ").split())


def _role(given: str) -> Role:
    if given not in set(Role):
        raise Invalid(f"there is no role {given[:40]!r}", code="bad-role", place="role", way_out="choose one")
    return Role(given)


def _groups(teams: Sequence[Any], groups: Sequence[Any]) -> dict[str, list[str]]:
    """Return by handle the teams and groups somebody is in."""
    found: dict[str, list[str]] = {}
    for one in (*teams, *groups):
        leads: frozenset[str] = getattr(one, "leads", frozenset())
        for handle in sorted(one.members | leads):
            found.setdefault(handle, []).append(f"{one.name} (lead)" if handle in leads else one.name)
    return found


def _person(one: View, groups: Mapping[str, list[str]], *, manages: bool, me: str) -> PersonRow:
    handle = str(one["handle"])
    gone = one["disabled_at"] is not None
    actions: list[Action] = []
    if manages:
        actions = [_act(handle, "enable", "Enable", "They sign in by a new link.", "Enable")] if gone else []
        if not gone:
            words = "They get a one-time link, shown once on the next page. Links made before keep working."
            actions.append(_act(handle, "link", "Sign-in link", words, "Make a link"))
            if handle != me and one["role"] != Role.ADMIN:
                words = (
                    "To propose, edit and move on reaches what these teams own, and no further. Stopping stays open."
                )
                narrow = _act(handle, "role", "Narrow", words, "Narrow", hidden={"role": str(one["role"])})
                hint = "Names of teams, with spaces between. Empty narrows nothing."
                narrow["fields"] = [{"name": "teams", "label": "Teams", "required": False, "hint": hint}]
                actions.append(narrow)
            if handle != me:
                words = "Their sessions end now and their tokens are revoked. What they did stays in the record."
                actions.append(_act(handle, "disable", "Disable", words, "Disable them", look="danger"))
    state: State | None = {"tone": "waiting", "word": "Disabled"} if gone else None
    return {
        "handle": handle,
        "name": one["name"],
        "role": one["role"],
        "reach": ", ".join(one["teams"]),
        "groups": groups.get(handle, []),
        "state": state,
        "signs_in": "password" if one["has_password"] else "link only",
        "since": parse_rfc3339(one["created_at"]),
        "actions": actions,
        "may_change_role": manages and not gone and handle != me,
    }


def _act(
    handle: str,
    verb: str,
    label: str,
    confirm: str,
    sure: str,
    *,
    look: str = "plain",
    hidden: Mapping[str, str] | None = None,
) -> Action:
    made: Any = {
        "name": f"{verb}-{handle}",
        "label": label,
        "href": f"/people/{handle}/{verb}",
        "hidden": dict(hidden or {}),
        "look": look,
        "confirm": confirm,
        "confirm_label": sure,
    }
    action: Action = made
    return action


def _token(one: View, *, now: datetime) -> TokenRow:
    ended = one["revoked_at"] is not None or parse_rfc3339(one["expires_at"]) <= now
    state: State | None = None
    if ended:
        state = {"tone": "waiting", "word": "Revoked" if one["revoked_at"] is not None else "Expired"}
    confirm = "Whoever uses it is refused from the next request on. It cannot be brought back."
    action: Action = {
        "name": f"revoke-{one['id']}",
        "label": "Revoke",
        "href": f"/tokens/{one['id']}/revoke",
        "hidden": {},
        "look": "danger",
        "confirm": confirm,
        "confirm_label": "Revoke it",
    }
    return {
        "id": one["id"],
        "label": one["label"],
        "whose": one["handle"] or (f"service {one['service']}" if one["service"] else "a service or CI"),
        "scopes": ", ".join(one["scopes"]),
        "until": parse_rfc3339(one["expires_at"]),
        "used": None if one["last_used_at"] is None else parse_rfc3339(one["last_used_at"]),
        "state": state,
        "action": None if ended else action,
    }
