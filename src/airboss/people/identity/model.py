"""The words of identity: people, sessions, links, tokens. Pure data; secrets appear only where they are handed out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from airboss.people.access import Role, TokenScope

SignInWay: TypeAlias = Literal["link", "password"]


class LinkPurpose(StrEnum):
    """What a one-time link is good for."""

    FIRST_ADMIN = "first-admin"
    SIGN_IN = "sign-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long things last and what a guess costs. Times in seconds.

    `scrypt_log_n` is the exponent of scrypt's cost N; with r = 8 and p = 3, 15 is what OWASP's password storage sheet
    gives for 32 MiB. `cache_s` bounds how long another process may still believe a revoked secret.
    """

    session_idle_s: float = 12 * 3600
    session_most_s: float = 7 * 86400
    link_lasts_s: float = 15 * 60
    token_most_days: int = 365
    touch_s: float = 60
    cache_s: float = 1.0
    scrypt_log_n: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can sign in. `handle` is what groups and teams name; `name` and `email` lie in erasable texts.

    `teams` narrows the role to what they own, in the order of their names; empty narrows nothing.
    """

    id: str
    handle: str
    role: Role
    name: str | None
    email: str | None
    has_password: bool
    created_at: datetime
    disabled_at: datetime | None
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A one-time link as it is handed out, once. `path` is the page that takes it."""

    id: str
    secret: str
    purpose: LinkPurpose
    expires_at: datetime

    @property
    def path(self) -> str:
        """Return the page's path."""
        return f"/sign-in/{self.secret}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """What a link is good for, before it is used. `handle` is None where the person chooses it."""

    purpose: LinkPurpose
    handle: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session as it is handed out, once: the face puts `secret` into an HttpOnly cookie."""

    secret: str
    session: str
    person: str
    handle: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it can be looked at: everything but the secret."""

    id: str
    label: str
    person: str | None
    scopes: frozenset[TokenScope]
    service: str | None
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token as it is handed out, once."""

    secret: str
    token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPerson:
    """Add somebody. `name` and `email` are optional and kept where they can be erased; `teams` as in `Person`."""

    handle: str
    role: Role = Role.VIEWER
    name: str | None = None
    email: str | None = None
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueToken:
    """Issue a token. `personal` makes it act as the person who asks; else it is a service's or CI's own."""

    label: str
    scopes: frozenset[TokenScope]
    days: int
    personal: bool
    service: str | None = None
