"""SQL of identity, shared by its services."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from airboss.kernel.errors import NotFound
from airboss.kernel.ids import NAME
from airboss.people.access import Role, TokenScope
from airboss.people.identity.model import Person, Token
from airboss.people.identity.tables import link, person, session, token
from airboss.records.journal import Journal
from airboss.records.store import Tx

LATCH = "person/first-admin"
"""The subject whose lock orders everything that asks whether there is an admin left, or anybody at all."""


def subject(person_id: str) -> str:
    """Return the journal's subject of a person."""
    return f"person/{person_id}"


def find_person(connection: Connection | Tx, *, handle: str) -> Row[Any] | None:
    """Return a person's row, or None. What could not be a handle is not even asked for: strangers type anything."""
    if not NAME.fullmatch(handle):
        return None
    return connection.execute(sa.select(person).where(person.c.handle == handle)).one_or_none()


def person_row(connection: Connection | Tx, *, handle: str) -> Row[Any]:
    """Return a person's row. Raises NotFound."""
    row = find_person(connection, handle=handle)
    if row is None:
        raise NotFound(
            f"there is nobody called {handle}", code="person-not-found", way_out="see who there is: airboss user list"
        )
    return row


def people(connection: Connection, journal: Journal, where: sa.ColumnElement[bool] | None = None) -> list[Person]:
    """Return people by handle. Two queries."""
    query = sa.select(person).order_by(person.c.handle)
    rows = connection.execute(query if where is None else query.where(where)).all()
    texts = journal.texts(connection, [ref for row in rows for ref in (row.name_ref, row.email_ref) if ref])
    return [
        Person(
            id=row.id,
            handle=row.handle,
            role=Role(row.role),
            name=texts.get(row.name_ref),
            email=texts.get(row.email_ref),
            has_password=row.password is not None,
            created_at=row.created_at,
            disabled_at=row.disabled_at,
            teams=tuple(json.loads(row.teams)),
        )
        for row in rows
    ]


def admins(connection: Connection | Tx) -> int:
    """Return how many enabled admins there are."""
    query = sa.select(sa.func.count()).where(person.c.role == Role.ADMIN, person.c.disabled_at.is_(None))
    return int(connection.execute(query).scalar_one())


def session_with_person(connection: Connection, hash_: str) -> Row[Any] | None:
    """Return a session's row with its person's handle, role, teams and disabled_at, or None. One query."""
    query = (
        sa.select(session, person.c.handle, person.c.role, person.c.teams, person.c.disabled_at)
        .join(person, person.c.id == session.c.person)
        .where(session.c.hash == hash_)
    )
    return connection.execute(query).one_or_none()


def token_with_person(connection: Connection, hash_: str) -> Row[Any] | None:
    """Return a token's row with its person's handle, role, teams and disabled_at where it has one, or None. One query."""
    query = (
        sa.select(token, person.c.handle, person.c.role, person.c.teams, person.c.disabled_at)
        .outerjoin(person, person.c.id == token.c.person)
        .where(token.c.hash == hash_)
    )
    return connection.execute(query).one_or_none()


def link_with_person(connection: Connection | Tx, hash_: str) -> Row[Any] | None:
    """Return a link's row with its person's handle and disabled_at where it has one, or None. One query."""
    query = (
        sa.select(link, person.c.handle, person.c.disabled_at)
        .outerjoin(person, person.c.id == link.c.person)
        .where(link.c.hash == hash_)
    )
    return connection.execute(query).one_or_none()


def as_token(row: Row[Any]) -> Token:
    """Return a token's row as what may be looked at."""
    return Token(
        id=row.id,
        label=row.label,
        person=row.person,
        scopes=frozenset(TokenScope(scope) for scope in json.loads(row.scopes)),
        service=row.service,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.used_at,
    )
