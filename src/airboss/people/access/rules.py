"""The table of who may do what, and the judge over it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from airboss.kernel.errors import Forbidden, Unauthenticated
from airboss.people.access.model import Action, Actor, Role, Rule, Scope, TokenScope


def _rule(
    what: str, least: Role | None, scope: TokenScope | None, *, personal: bool = False, owned: bool = False
) -> Rule:
    return Rule(what=what, least=least, scope=scope, personal=personal, owned=owned)


RULES: Final[Mapping[Action, Rule]] = MappingProxyType(
    {
        Action.CHANGE_READ: _rule("read changes, their facts and reviews", Role.VIEWER, TokenScope.READ),
        Action.CHANGE_SUBMIT: _rule("propose a change", Role.ENGINEER, TokenScope.CHANGES_WRITE, owned=True),
        Action.CHANGE_EDIT: _rule(
            "edit or cancel a proposed change", Role.ENGINEER, TokenScope.CHANGES_WRITE, owned=True
        ),
        # Whoever a group names may approve, whatever the role: a product owner need not be an engineer.
        Action.CHANGE_APPROVE: _rule("vote on a change", Role.VIEWER, TokenScope.APPROVE, personal=True),
        Action.CHANGE_COMMAND: _rule(
            "resume, promote or retry a change, or say it was mitigated", Role.ENGINEER, TokenScope.OPERATE, owned=True
        ),
        # Whoever is awake may stop harm, whosever it is: nothing here may keep a person from the way back.
        Action.CHANGE_STOP: _rule("pause, abort or roll back a change", Role.ENGINEER, TokenScope.OPERATE),
        Action.REVIEW_CLOSE: _rule("close a review", Role.ENGINEER, TokenScope.CHANGES_WRITE),
        Action.CATALOG_READ: _rule("read services, owners and objectives", Role.VIEWER, TokenScope.READ),
        # The catalog says who owns what and who sits in which group: who may edit it could clear their own change.
        Action.CATALOG_APPLY: _rule("apply services, teams, groups or objectives", Role.ADMIN, TokenScope.ADMIN),
        Action.CALENDAR_READ: _rule("read windows and freezes", Role.VIEWER, TokenScope.READ),
        Action.CALENDAR_APPLY: _rule("apply windows and freezes", Role.ADMIN, TokenScope.ADMIN),
        Action.POLICY_READ: _rule("read policy packs and decisions", Role.VIEWER, TokenScope.READ),
        Action.POLICY_APPLY: _rule("put a policy pack in force", Role.ADMIN, TokenScope.ADMIN),
        Action.FLAG_READ: _rule("read flag definitions", Role.VIEWER, TokenScope.READ),
        Action.FLAG_APPLY: _rule("define a flag", Role.ENGINEER, TokenScope.CHANGES_WRITE, owned=True),
        Action.FLAG_KILL: _rule("kill a flag", Role.ENGINEER, TokenScope.OPERATE),
        Action.TELEMETRY_READ: _rule("read measurements", Role.VIEWER, TokenScope.READ),
        # Telemetry decides promotions: no person's right includes it, only a token issued for one service.
        Action.TELEMETRY_WRITE: _rule("send telemetry", None, TokenScope.TELEMETRY_WRITE),
        Action.FLAGS_READ: _rule("evaluate flags for a service", None, TokenScope.FLAGS_READ),
        Action.PEOPLE_READ: _rule("read who there is", Role.VIEWER, TokenScope.READ),
        Action.PEOPLE_MANAGE: _rule("add people and set their roles", Role.ADMIN, TokenScope.ADMIN),
        Action.TOKEN_OWN: _rule("issue, rotate and revoke one's own tokens", Role.VIEWER, None, personal=True),
        Action.TOKEN_SERVICE: _rule("issue, rotate and revoke tokens of services and CI", Role.ADMIN, TokenScope.ADMIN),
        Action.AUDIT_READ: _rule("read and verify the journal", Role.VIEWER, TokenScope.READ),
        Action.SYSTEM_READ: _rule("read health and settings in detail", Role.VIEWER, TokenScope.READ),
    }
)

_BOUND: Final = frozenset({Action.TELEMETRY_WRITE, Action.FLAGS_READ})
"""Acts of one service: the token must be bound to it."""


def may(actor: Actor, action: Action, scope: Scope | None = None) -> bool:
    """Return whether `require` would let the act pass; for faces that leave out what one may not do."""
    return _fault(actor, action, scope or Scope()) is None


def allowed(actor: Actor) -> frozenset[Action]:
    """Return every act the actor may ask for, scope aside."""
    return frozenset(action for action in Action if may(actor, action))


def why_not(actor: Actor, action: Action, scope: Scope | None = None) -> str | None:
    """Return why `require` would refuse the act, as a part of a sentence; None where it would let it pass."""
    return _fault(actor, action, scope or Scope())


def require(actor: Actor, action: Action, scope: Scope | None = None) -> None:
    """Let an act pass, or raise.

    Raises Unauthenticated for the anonymous and Forbidden (with who may, in `way_out`) for everyone else.
    """
    fault = _fault(actor, action, scope or Scope())
    if fault is None:
        return
    if actor.kind == "anonymous":
        raise Unauthenticated(
            f"nobody is signed in, and to {RULES[action].what} takes somebody",
            way_out="sign in, or send a token: Authorization: Bearer abt_…",
        )
    raise Forbidden(f"{actor.name} may not {RULES[action].what}: {fault}", way_out=_who_may(action, scope))


def _fault(actor: Actor, action: Action, scope: Scope) -> str | None:
    """Return why the act is refused, or None."""
    rule = RULES[action]
    if actor.kind == "anonymous":
        return "nobody is signed in"
    if rule.personal and actor.kind != "person":
        return "only a person may, and nothing may do it for them"
    if actor.kind != "token" and (rule.least is None or not actor.role.covers(rule.least)):
        return f"as {actor.role} that is out of reach"
    others = scope.owners | ({scope.team} if scope.team is not None else set())
    if rule.owned and actor.teams and not others <= actor.teams:
        return f"their rights are narrowed to {_listed(actor.teams)}, and this concerns {_listed(others - actor.teams)}"
    return _narrowed(actor, action, scope)


def _narrowed(actor: Actor, action: Action, scope: Scope) -> str | None:
    """Return why the token in hand does not reach, or None. A session is not narrowed."""
    rule = RULES[action]
    if actor.scopes is not None and (rule.scope is None or rule.scope not in actor.scopes):
        return f"the token carries {', '.join(sorted(actor.scopes)) or 'no scope'}"
    if action in _BOUND and actor.service is None:
        return "the token is not bound to a service"
    if actor.service is not None and (foreign := scope.services - {actor.service}):
        return f"the token is bound to {actor.service}, not to {', '.join(sorted(foreign))}"
    return None


def _listed(teams: frozenset[str]) -> str:
    return f"team{'s' if len(teams) > 1 else ''} {', '.join(sorted(teams))}"


def _who_may(action: Action, scope: Scope | None) -> str:
    """Return the sentence that names who may do an act."""
    rule = RULES[action]
    about = f" of {', '.join(sorted(scope.services))}" if scope and scope.services else ""
    people = None
    if rule.least is not None:
        roles = [role for role in Role if role.covers(rule.least)]
        people = f"a signed-in {' or '.join(roles)}{' whose rights reach there' if rule.owned and scope else ''}"
    token = None
    if rule.scope is not None:
        whose = "personal token" if rule.personal else f"token{about}"
        token = f"a {whose} with scope {rule.scope}"
    return f"{' or '.join(way for way in (people, token) if way)} may"
