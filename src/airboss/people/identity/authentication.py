"""From a secret to the actor behind it. Called on every request."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Row, Table

from airboss.kernel.errors import OutcomeUnknown, Unauthenticated, Unavailable
from airboss.people.access import Actor, Role
from airboss.people.identity import repo, rules
from airboss.people.identity.ports import Ports
from airboss.people.identity.tables import session, token

CACHED_MOST: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    actor: Actor
    until: float  # of the monotonic clock


class Authentication:
    """Knows actors by their secrets.

    A found actor is believed for `settings.cache_s` (1 s) without asking the database, so ending a session or revoking
    a token takes effect at once in this process and within that time in others.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._known: dict[str, _Known] = {}

    def session(self, secret: str) -> Actor:
        """Return the person of a session. Raises Unauthenticated. One query, none while cached."""
        return self._actor(secret, rules.SESSION_PREFIX, self._session)

    def token(self, secret: str) -> Actor:
        """Return the actor of an API token: its person narrowed to its scopes, or the token itself.

        Raises Unauthenticated. One query, none while cached.
        """
        return self._actor(secret, rules.TOKEN_PREFIX, self._token)

    def forget(self) -> None:
        """Believe nothing without asking again; called when something was ended or revoked here."""
        self._known.clear()

    def _actor(self, secret: str, prefix: str, find: Callable[[str, datetime], Actor]) -> Actor:
        if not secret.startswith(prefix) or len(secret) > 100:
            raise _nobody("this is not a secret of ours")
        hash_ = rules.hashed(secret)
        known = self._known.get(hash_)
        started = self._ports.clock.monotonic()
        if known is not None and started < known.until:
            return known.actor
        actor = find(hash_, self._ports.clock.now())
        if len(self._known) >= CACHED_MOST:
            self._known.clear()
        # The age counts from before the look-up: what was revoked while it ran is not believed for longer.
        self._known[hash_] = _Known(actor=actor, until=started + self._ports.settings.cache_s)
        return actor

    def _session(self, hash_: str, now: datetime) -> Actor:
        with self._ports.store.read() as connection:
            row = repo.session_with_person(connection, hash_)
        if row is None or row.ended_at is not None or row.disabled_at is not None:
            raise _nobody("you are signed out")
        idle = now >= row.seen_at + timedelta(seconds=self._ports.settings.session_idle_s)
        if idle or now >= row.expires_at:
            raise _nobody("your session is over")
        self._touch(session, session.c.seen_at, row, row.seen_at, now)
        return Actor(
            id=row.person,
            name=row.handle,
            kind="person",
            role=Role(row.role),
            scopes=None,
            service=None,
            via=f"session:{row.id}",
            teams=frozenset(json.loads(row.teams)),
        )

    def _token(self, hash_: str, now: datetime) -> Actor:
        with self._ports.store.read() as connection:
            row = repo.token_with_person(connection, hash_)
        if row is None or row.revoked_at is not None or row.disabled_at is not None:
            raise _nobody("this token is unknown or revoked")
        if now >= row.expires_at:
            raise _nobody(f"the token {row.label} is over since {row.expires_at:%Y-%m-%d}")
        self._touch(token, token.c.used_at, row, row.used_at, now)
        return Actor(
            id=row.person or row.id,
            name=row.handle or row.label,
            kind="person" if row.person else "token",
            role=Role(row.role) if row.person else Role.VIEWER,
            scopes=frozenset(json.loads(row.scopes)),
            service=row.service,
            via=f"token:{row.id}",
            teams=frozenset(json.loads(row.teams or "[]")),
        )

    def _touch(self, table: Table, column: sa.Column[Any], row: Row[Any], last: datetime | None, now: datetime) -> None:
        """Remember the use, at most once a minute: bookkeeping that no decision rests on, so without a fact."""
        before = now - timedelta(seconds=self._ports.settings.touch_s)
        if last is not None and last > before:
            return
        # A database that cannot be written to must not lock out those who only want to read.
        with contextlib.suppress(Unavailable, OutcomeUnknown), self._ports.store.write() as tx:
            tx.execute(
                sa.update(table)
                .where(table.c.id == row.id, sa.or_(column.is_(None), column <= before))
                .values({column.name: now})
            )


def _nobody(reason: str) -> Unauthenticated:
    return Unauthenticated(
        reason, way_out="sign in again, or use a token that is in force: airboss token list shows yours"
    )
