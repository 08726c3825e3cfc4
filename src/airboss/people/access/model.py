"""The words of access: actors, roles, actions, scopes. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

ActorKind: TypeAlias = Literal["person", "token", "system", "anonymous"]


class Role(StrEnum):
    """What a person may do at most; each role holds everything of the ones before it."""

    VIEWER = "viewer"
    ENGINEER = "engineer"
    ADMIN = "admin"

    def covers(self, least: Role) -> bool:
        """Return whether this role is `least` or more."""
        order = list(Role)
        return order.index(self) >= order.index(least)


class TokenScope(StrEnum):
    """What a token was issued for. A token may do nothing that none of its scopes names."""

    READ = "read"
    CHANGES_WRITE = "changes.write"
    OPERATE = "operate"
    APPROVE = "approve"
    ADMIN = "admin"
    TELEMETRY_WRITE = "telemetry.write"
    FLAGS_READ = "flags.read"


class Action(StrEnum):
    """Every act that can be asked for."""

    CHANGE_READ = "change.read"
    CHANGE_SUBMIT = "change.submit"
    CHANGE_EDIT = "change.edit"
    CHANGE_APPROVE = "change.approve"
    CHANGE_COMMAND = "change.command"
    CHANGE_STOP = "change.stop"
    REVIEW_CLOSE = "review.close"
    CATALOG_READ = "catalog.read"
    CATALOG_APPLY = "catalog.apply"
    CALENDAR_READ = "calendar.read"
    CALENDAR_APPLY = "calendar.apply"
    POLICY_READ = "policy.read"
    POLICY_APPLY = "policy.apply"
    FLAG_READ = "flag.read"
    FLAG_APPLY = "flag.apply"
    FLAG_KILL = "flag.kill"
    TELEMETRY_READ = "telemetry.read"
    TELEMETRY_WRITE = "telemetry.write"
    FLAGS_READ = "flags.read"
    PEOPLE_READ = "people.read"
    PEOPLE_MANAGE = "people.manage"
    TOKEN_OWN = "token.own"  # noqa: S105 - the name of an act
    TOKEN_SERVICE = "token.service"  # noqa: S105 - the name of an act
    AUDIT_READ = "audit.read"
    SYSTEM_READ = "system.read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an act is about, as far as the caller knows it. Empty asks about the act alone.

    `team` owns the change or flag, `owners` are the teams that own the services it touches.
    """

    services: frozenset[str] = field(default_factory=frozenset)
    team: str | None = None
    owners: frozenset[str] = field(default_factory=frozenset)
    environment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Who may do one act.

    `least` is the least role (None: no person, only tokens issued for it); `scope` is what a token needs (None: no
    token, only a signed-in person); `personal` refuses everything that is not one person, and so the system too.
    `owned` keeps people whose rights are narrowed to teams from what other teams own.
    """

    what: str
    least: Role | None
    scope: TokenScope | None
    personal: bool = False
    owned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who is asking, and by which way.

    A person who uses a personal token stays the person (`id` usr_…, kind person) with the token's scopes. A service
    token is its own actor (`id` tok_…, kind token). `scopes` None means no narrowing: a session, or the system.
    `service` binds the actor to one service; `teams` narrows a person to what those teams own, empty to nothing. `via` names the way in, for the record: `session:ses_…`, `token:tok_…`.
    """

    id: str
    name: str
    kind: ActorKind
    role: Role
    scopes: frozenset[str] | None
    service: str | None
    via: str
    teams: frozenset[str] = frozenset()


class Access(Protocol):
    """The port of a judge of access; the module's `require` is the one in use."""

    def require(self, actor: Actor, action: Action, scope: Scope | None = None) -> None: ...


SYSTEM = Actor(id="system", name="airboss", kind="system", role=Role.ADMIN, scopes=None, service=None, via="tower")
"""The tower. It may do every act but a personal one."""

LOCAL = Actor(id="local", name="local", kind="system", role=Role.ADMIN, scopes=None, service=None, via="data-folder")
"""Whoever can write the data folder and runs `airboss user add --local`. Journalled under this name."""

ANONYMOUS = Actor(
    id="anonymous",
    name="anonymous",
    kind="anonymous",
    role=Role.VIEWER,
    scopes=frozenset(),
    service=None,
    via="none",
)
"""Nobody in particular; may do nothing."""
