"""The change's table, and the one function that writes to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, Table, Text

from airboss.changes.lifecycle import OVER, Change, Phase, check_move
from airboss.kernel.canonical import Json, digest, digest_bytes
from airboss.kernel.clock import to_micros
from airboss.kernel.errors import Stale
from airboss.kernel.ids import ActorId, ChangeId
from airboss.records.journal import Fact, Journal
from airboss.records.store import Instant, Tx, metadata

change = Table(
    "change",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("phase", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # Names between blanks, ` checkout tax `, so that one can be found; names hold no blank.
    Column("services", Text, nullable=False),
    Column("requester", Text, nullable=False),
    Column("authors", Text, nullable=False),
    Column("owner_team", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("places", LargeBinary, nullable=False),
    Column("spec", LargeBinary),
    Column("sections", LargeBinary),
    Column("digest", Text),
    Column("run", LargeBinary),
    Column("outcome", Text),
    Column("sentence", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("submitted_at", Instant),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Index("ix_change_phase", "phase", "id"),
    Index("ix_change_requester", "requester", "id"),
)

_LISTS: Final = frozenset({"services", "authors"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A change as lists show it: the row without its long columns."""

    id: ChangeId
    version: int
    phase: Phase
    attempt: int
    title: str
    kind: str
    services: tuple[str, ...]
    requester: ActorId
    owner_team: str
    outcome: str | None
    sentence: str
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


def find(connection: Connection, change_id: str) -> Change | None:
    """Return a change. One query."""
    row = connection.execute(sa.select(change).where(change.c.id == change_id)).mappings().one_or_none()
    return None if row is None else Change(**_read(row))


def found(connection: Connection, change_ids: Collection[str]) -> list[Change]:
    """Return the changes of some IDs that exist, by ID. One query."""
    rows = connection.execute(sa.select(change).where(change.c.id.in_(change_ids)).order_by(change.c.id))
    return [Change(**_read(row)) for row in rows.mappings()]


def existing(connection: Connection, change_ids: Collection[str]) -> frozenset[str]:
    """Return those of some IDs that name a change. One query."""
    return frozenset(connection.execute(sa.select(change.c.id).where(change.c.id.in_(change_ids))).scalars())


def ended(connection: Connection, *, services: Collection[str], outcomes: Collection[str], since: datetime) -> int:
    """Return how many changes of any of these services ended since with one of these outcomes. One query."""
    touches = sa.or_(*(change.c.services.contains(f" {name} ", autoescape=True) for name in services))
    query = sa.select(sa.func.count()).where(touches, change.c.outcome.in_(outcomes), change.c.ended_at >= since)
    return int(connection.execute(query).scalar_one())


def tally(connection: Connection) -> list[tuple[str, str, str | None, int]]:
    """Return how many changes there are by kind, phase and outcome. One query."""
    columns = (change.c.kind, change.c.phase, change.c.outcome)
    rows = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns).order_by(*columns))
    return [(row[0], row[1], row[2], int(row[3])) for row in rows]


def listed(
    connection: Connection,
    *,
    phases: Collection[Phase] | None = None,
    service: str | None = None,
    kind: str | None = None,
    requester: str | None = None,
    team: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Summary]:
    """Return changes, newest first; `before` is the ID after which the last page ended. One query."""
    columns = [change.c[name.name] for name in fields(Summary)]
    query = sa.select(*columns).order_by(change.c.id.desc()).limit(limit)
    if phases is not None:
        query = query.where(change.c.phase.in_([str(phase) for phase in phases]))
    if service is not None:
        query = query.where(change.c.services.contains(f" {service} ", autoescape=True))
    if kind is not None:
        query = query.where(change.c.kind == kind)
    if requester is not None:
        query = query.where(change.c.requester == requester)
    if team is not None:
        query = query.where(change.c.owner_team == team)
    if before is not None:
        query = query.where(change.c.id < before)
    return [Summary(**_read(row)) for row in connection.execute(query).mappings()]


def owners(connection: Connection, change_ids: Collection[str]) -> dict[str, str]:
    """Return by change the person who owns it, as its document says; those without one are left out. One query."""
    if not change_ids:
        return {}
    rows = connection.execute(sa.select(change.c.id, change.c.document).where(change.c.id.in_(change_ids)))
    named = {row.id: (json.loads(row.document)["spec"].get("owner") or {}).get("person") for row in rows}
    return {id_: person for id_, person in named.items() if person}


def insert(tx: Tx, new: Change, journal: Journal, facts: Sequence[Fact]) -> Change:
    """Keep a new change with the facts that explain it. Raises IntegrityError when the ID is taken."""
    tx.execute(sa.insert(change).values(_row(new)))
    _record(tx, new, journal, facts)
    return new


def transition(tx: Tx, before: Change, after: Change, facts: Sequence[Fact], *, journal: Journal) -> Change:
    """Put `after` in the place of `before`, with the facts that explain it, and return it with its new version.

    The only way a change is ever written. Exactly one row with the version and fence of `before` is updated; every
    fact about the change carries the digest of the row after it, and the last one closes its record when nothing
    follows. Raises Stale when somebody was faster, Refused for a move that is not legal.
    """
    if not any(fact.subject == before.id for fact in facts):
        raise ValueError("a transition is explained by at least one fact about its change")
    if after.id != before.id:
        raise ValueError("a transition is of one change")
    if after.fence < before.fence:
        raise ValueError("a fence is only ever raised")
    if after.phase is not before.phase:
        check_move(before.id, before.phase, after.phase)
    after = replace(after, version=before.version + 1)
    tx.lock(before.id)
    done = tx.execute(
        sa.update(change)
        .where(change.c.id == before.id, change.c.version == before.version, change.c.fence == before.fence)
        .values(_row(after))
    )
    if done.rowcount != 1:
        raise Stale(
            f"change {before.id} has moved on since version {before.version}",
            way_out="look at it again and decide again",
        )
    _record(tx, after, journal, facts)
    return after


def _record(tx: Tx, after: Change, journal: Journal, facts: Sequence[Fact]) -> None:
    state = row_digest(after)
    last = max(number for number, fact in enumerate(facts) if fact.subject == after.id)
    for number, fact in enumerate(facts):
        if fact.subject == after.id:
            closes = number == last and after.phase in OVER
            journal.record(tx, replace(fact, state_digest=state, closes=closes))
        else:
            journal.record(tx, fact)


def row_digest(row: Change) -> str:
    """Return the digest of a row: over every column, bytes by their own digest, times in microseconds."""
    return digest({name: _plain(value) for name, value in _row(row).items()})


def row_digests(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield (change ID, digest of its row) for the verifier of the record."""
    for row in connection.execute(sa.select(change).order_by(change.c.id)).mappings():
        stored = Change(**_read(row))
        yield stored.id, row_digest(stored)


def _row(value: Change) -> dict[str, Any]:
    row: dict[str, Any] = {field.name: getattr(value, field.name) for field in fields(value)}
    for name in _LISTS:
        row[name] = f" {' '.join(row[name])} "
    row["phase"] = str(value.phase)
    return row


def _read(row: Mapping[Any, Any]) -> dict[str, Any]:
    value = dict(row)
    for name in _LISTS & value.keys():
        value[name] = tuple(value[name].split())
    value["phase"] = Phase(value["phase"])
    return value


def _plain(value: Any) -> Json:
    match value:
        case bytes():
            return digest_bytes(value)
        case datetime():
            return to_micros(value)
        case None | int() | str():
            return value
        case _:
            raise TypeError(f"a column holds {type(value).__name__}")
