"""Changes by what people look for: where they stand, what they touch, whose they are, how risky, which words they have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from airboss.act.rollout import sentences
from airboss.bootstrap import House
from airboss.changes import Phase, Summary
from airboss.decide.policy import Tier
from airboss.faces.reads.change import summary
from airboss.people.access import Actor

BATCH: Final = 200
LOOKED_MOST: Final = 1_000
"""How many changes one search looks at; its cursor goes on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for; a field that is None does not matter. `owner` is the person who owns it or who asked for it."""

    phases: Collection[Phase] | None = None
    service: str | None = None
    team: str | None = None
    kind: str | None = None
    owner: str | None = None
    tier: Tier | None = None
    words: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether more is asked than the table's columns know."""
        return bool(self.owner or self.tier or self.words)


def search_view(
    house: House, actor: Actor, wanted: Wanted, *, cursor: str | None = None, limit: int = 50
) -> dict[str, Any]:
    """Return changes, newest first, with owner and tier: {items, next_cursor, looked}.

    Six queries for each 200 changes looked at, of which there are at most 1,000: with words, an owner or a tier a page may
    hold fewer than `limit` and still have a cursor. Raises Forbidden.
    """
    items: list[dict[str, Any]] = []
    looked = 0
    while True:
        page = house.changes.list(
            actor=actor,
            phases=wanted.phases,
            service=wanted.service,
            kind=wanted.kind,
            team=wanted.team,
            cursor=cursor,
            limit=BATCH if wanted.narrow else limit,
        )
        with house.store.read() as connection:
            rows = _rows(house, connection, page.items)
        for at, row in enumerate(rows):
            looked += 1
            if matches(row, wanted):
                items.append(row)
            if len(items) == limit:
                more = at + 1 < len(rows) or page.next_cursor is not None
                return {"items": items, "next_cursor": row["id"] if more else None, "looked": looked}
        cursor = page.next_cursor
        if cursor is None or looked >= LOOKED_MOST:
            return {"items": items, "next_cursor": cursor, "looked": looked}


def _rows(house: House, connection: Connection, found: Sequence[Summary]) -> list[dict[str, Any]]:
    """Return changes as lists show them. Five queries."""
    ids = [one.id for one in found]
    live = sentences(connection, ids)
    owners = house.changes.owners(connection, ids)
    tiers = house.policies.tiers_of(connection, ids)
    people = house.identity.persons.principals(connection, {one.requester for one in found})
    return [
        {
            **summary(one, live.get(one.id, "")),
            "owner": owners.get(one.id),
            "requester": people.get(one.requester, {}).get("name", one.requester),
            "tier": None if one.id not in tiers else str(tiers[one.id]),
        }
        for one in found
    ]


def matches(row: Mapping[str, Any], wanted: Wanted) -> bool:
    """Return whether a row is what is looked for, as far as the table's columns do not say: owner, tier, every word."""
    if wanted.owner is not None and wanted.owner not in (row["owner"], row["requester"]):
        return False
    if wanted.tier is not None and row["tier"] != wanted.tier:
        return False
    text = " ".join(
        [
            row["id"],
            row["title"],
            row["kind"],
            row["owner_team"],
            row["owner"] or "",
            row["requester"],
            row["phase"].replace("_", " "),
            (row["outcome"] or "").replace("_", " "),
            *row["services"],
        ]
    ).casefold()
    return all(word in text for word in wanted.words)
