"""People and tokens, without any secret."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.kernel.clock import rfc3339
from airboss.people.access import Action, Actor, may
from airboss.people.identity import Person, Token


def people_view(house: House, connection: Connection, actor: Actor) -> list[dict[str, Any]]:
    """Return everybody. Two queries. Raises Forbidden."""
    return [person_view(one) for one in house.identity.persons.all(connection, actor)]


def tokens_view(house: House, connection: Connection, actor: Actor) -> list[dict[str, Any]]:
    """Return tokens: all of them for whoever manages them, else the actor's own. Two queries."""
    tokens = house.identity.tokens
    found = tokens.all(connection, actor) if may(actor, Action.TOKEN_SERVICE) else tokens.own(connection, actor)
    people = house.identity.persons.handles(connection, {one.person for one in found if one.person})
    return [token_view(one, people.get(one.person or "")) for one in found]


def person_view(one: Person) -> dict[str, Any]:
    """Return one person."""
    return {
        "id": one.id,
        "handle": one.handle,
        "role": str(one.role),
        "teams": list(one.teams),
        "name": one.name,
        "email": one.email,
        "has_password": one.has_password,
        "created_at": rfc3339(one.created_at),
        "disabled_at": None if one.disabled_at is None else rfc3339(one.disabled_at),
    }


def token_view(one: Token, handle: str | None) -> dict[str, Any]:
    """Return one token; `handle` is whose it is, None for a service's."""
    return {
        "id": one.id,
        "label": one.label,
        "person": one.person,
        "handle": handle,
        "scopes": sorted(one.scopes),
        "service": one.service,
        "issued_at": rfc3339(one.issued_at),
        "expires_at": rfc3339(one.expires_at),
        "revoked_at": None if one.revoked_at is None else rfc3339(one.revoked_at),
        "last_used_at": None if one.last_used_at is None else rfc3339(one.last_used_at),
    }
