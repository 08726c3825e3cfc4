"""Issuing, rotating and revoking API tokens."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from airboss.kernel.canonical import Json, canonical
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused
from airboss.people.access import Action, Actor, TokenScope, require
from airboss.people.identity import repo, rules
from airboss.people.identity.authentication import Authentication
from airboss.people.identity.model import IssuedToken, IssueToken, Token
from airboss.people.identity.ports import Ports
from airboss.people.identity.tables import token
from airboss.records.journal import Fact
from airboss.records.store import Tx

OVERLAP_MOST_S: Final = 86_400


class Tokens:
    """Use cases about tokens. Facts on `token/<id>`: token.issued, token.rotated, token.revoked.

    A personal token is issued only to whoever is signed in with a session: no token makes another, so a leaked one
    cannot outlive its expiry.
    """

    def __init__(self, ports: Ports, authentication: Authentication) -> None:
        self._ports = ports
        self._authentication = authentication

    def issue(self, command: IssueToken, actor: Actor) -> IssuedToken:
        """Issue a token and return its secret, the only time it is seen. Raises Forbidden, Invalid."""
        require(actor, Action.TOKEN_OWN if command.personal else Action.TOKEN_SERVICE)
        rules.check_token(
            label=command.label,
            scopes=command.scopes,
            days=command.days,
            personal=command.personal,
            service=command.service,
            most_days=self._ports.settings.token_most_days,
        )
        with self._ports.store.write() as tx:
            return self._insert(
                tx,
                label=command.label.strip(),
                person=actor.id if command.personal else None,
                scopes=command.scopes,
                service=command.service,
                lasts=timedelta(days=command.days),
                by=actor,
            )

    def rotate(self, token_id: str, actor: Actor, *, overlap_s: float = 3600) -> IssuedToken:
        """Issue a successor with the same rights and length; the old one works for `overlap_s` more.

        Raises Forbidden, Invalid (overlap over a day), NotFound, Refused (already over).
        """
        if not 0 <= overlap_s <= OVERLAP_MOST_S:
            raise Invalid(f"an overlap lasts 0 to {OVERLAP_MOST_S} s, not {overlap_s}", code="bad-overlap")
        now = self._ports.clock.now()
        with self._ports.store.write() as tx:
            row = self._row(tx, token_id, actor, others=False)
            if row.revoked_at is not None or now >= row.expires_at:
                raise Refused(
                    f"the token {row.label} is over; there is nothing to rotate",
                    code="token-over",
                    way_out="issue a new one",
                )
            issued = self._insert(
                tx,
                label=row.label,
                person=row.person,
                scopes=frozenset(TokenScope(scope) for scope in json.loads(row.scopes)),
                service=row.service,
                lasts=row.expires_at - row.issued_at,
                by=actor,
                rotates=token_id,
            )
            ends = min(row.expires_at, now + timedelta(seconds=overlap_s))
            tx.execute(sa.update(token).where(token.c.id == token_id).values(expires_at=ends))
            body = {"by": issued.token.id, "expires_at": rfc3339(ends)}
            self._ports.journal.record(
                tx, Fact(subject=f"token/{token_id}", type="token.rotated", actor=actor.id, body=body)
            )
        self._authentication.forget()
        return issued

    def revoke(self, token_id: str, actor: Actor) -> None:
        """Revoke a token, one's own or, for those who manage people, anybody's. Raises Forbidden, NotFound."""
        with self._ports.store.write() as tx:
            row = self._row(tx, token_id, actor, others=True)
            if row.revoked_at is not None:
                return
            tx.execute(sa.update(token).where(token.c.id == token_id).values(revoked_at=self._ports.clock.now()))
            self._ports.journal.record(
                tx, Fact(subject=f"token/{token_id}", type="token.revoked", actor=actor.id, body={})
            )
        self._authentication.forget()

    # -- views -----------------------------------------------------------------------------------------------------

    def own(self, connection: Connection, actor: Actor) -> list[Token]:
        """Return the actor's personal tokens, newest first. One query."""
        require(actor, Action.PEOPLE_READ)
        return self._list(connection, token.c.person == actor.id)

    def all(self, connection: Connection, actor: Actor) -> list[Token]:
        """Return every token, newest first. One query."""
        require(actor, Action.TOKEN_SERVICE)
        return self._list(connection, sa.true())

    def _list(self, connection: Connection, where: sa.ColumnElement[bool]) -> list[Token]:
        rows = connection.execute(sa.select(token).where(where).order_by(token.c.issued_at.desc(), token.c.id.desc()))
        return [repo.as_token(row) for row in rows]

    def _row(self, tx: Tx, token_id: str, actor: Actor, *, others: bool) -> Row[Any]:
        """Lock a token and return its row, if the actor may change it. Whose it is decides what they need.

        `others` lets those who manage people reach other people's tokens: to revoke, never to hold one.
        """
        tx.lock(f"token/{token_id}")
        row = tx.execute(sa.select(token).where(token.c.id == token_id)).one_or_none()
        if row is None:
            require(actor, Action.PEOPLE_READ)
            raise NotFound(f"there is no token {token_id}", code="token-not-found", way_out="airboss token list")
        if row.person is None:
            require(actor, Action.TOKEN_SERVICE)
        elif row.person == actor.id:
            require(actor, Action.TOKEN_OWN)
        else:
            require(actor, Action.PEOPLE_MANAGE)
            if not others:
                raise Forbidden(
                    f"the token {row.label} belongs to somebody else, and its successor would speak for them",
                    way_out="revoke it, and let them issue another",
                )
        return row

    def _insert(
        self,
        tx: Tx,
        *,
        label: str,
        person: str | None,
        scopes: frozenset[TokenScope],
        service: str | None,
        lasts: timedelta,
        by: Actor,
        rotates: str | None = None,
    ) -> IssuedToken:
        now = self._ports.clock.now()
        token_id = self._ports.ids.new("tok")
        secret = rules.mint(rules.TOKEN_PREFIX, self._ports.chance)
        names: list[Json] = [scope.value for scope in sorted(scopes)]
        row = {
            "id": token_id,
            "hash": rules.hashed(secret),
            "label": label,
            "person": person,
            "scopes": canonical(names),
            "service": service,
            "issued_at": now,
            "expires_at": now + lasts,
        }
        tx.execute(sa.insert(token).values(row))
        body: dict[str, Json] = {
            "label": self._ports.journal.text(tx, label),
            "person": person,
            "scopes": names,
            "service": service,
            "expires_at": rfc3339(now + lasts),
            "rotates": rotates,
        }
        self._ports.journal.record(tx, Fact(subject=f"token/{token_id}", type="token.issued", actor=by.id, body=body))
        found = tx.execute(sa.select(token).where(token.c.id == token_id)).one()
        return IssuedToken(secret=secret, token=repo.as_token(found))
