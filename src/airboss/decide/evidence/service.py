"""Recording evidence, and telling policy of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Connection, Index, Table, Text

from airboss.changes import Change, Changes
from airboss.kernel.canonical import Json
from airboss.kernel.clock import APART_MOST, Clock
from airboss.kernel.errors import Invalid, Refused
from airboss.kernel.ids import Ids
from airboss.people.access import Action, Actor, Scope, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Instant, Store, Tx, metadata

TYPES: Final = ("ci", "staging")
"""Kinds of evidence policy can read."""

evidence = Table(
    "evidence",
    metadata,
    Column("id", Text, primary_key=True),
    Column("change_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("green", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_evidence_change_id", "change_id", "at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One result: of what `type`, for which digest (None: what the change names), and whether it was good."""

    change_id: str
    type: str
    green: bool
    source: str
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Evidence as pages and the API show it. `counts`: it is of the digest the change names now."""

    type: str
    green: bool
    source: str
    digest: str
    counts: bool
    at: datetime


class Evidence:
    """Keeps what machines say."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        clock: Clock,
        ids: Ids,
        changes: Changes,
        wake: Callable[[Tx, str], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._changes = changes
        self._wake = wake

    def record(self, command: Record, actor: Actor) -> Shown:
        """Keep a result and have the change looked at again. Raises Forbidden, NotFound, Invalid or Refused."""
        if command.type not in TYPES:
            raise Invalid(
                f"{command.type!r} is no type of evidence", code="evidence-type", way_out=f"use {', '.join(TYPES)}"
            )
        if not command.source.strip() or len(command.source) > 500:
            raise Invalid("evidence names its source, in at most 500 characters", code="evidence-source")
        with self._store.write() as tx:
            tx.lock(command.change_id)
            change = self._changes.read(tx.connection, command.change_id)
            require(actor, Action.CHANGE_SUBMIT, Scope(services=frozenset(change.services), team=change.owner_team))
            named = _digest(change)
            digest = command.digest or named
            if digest is None:
                raise Refused(
                    f"change {change.id} is a draft and names no digest yet",
                    code="still-a-draft",
                    way_out="submit it first, or name the digest",
                )
            now = self._clock.now()
            new_id = self._ids.new("evd")
            source = command.source.strip()
            values: dict[str, Json] = {
                "change_id": change.id,
                "digest": digest,
                "type": command.type,
                "green": command.green,
            }
            tx.execute(sa.insert(evidence).values(id=new_id, **values, source=source, recorded_by=actor.id, at=now))
            body: dict[str, Json] = {**values, "evidence": new_id, "source": self._journal.text(tx, source)}
            self._journal.record(tx, Fact(subject=change.id, type="evidence.recorded", actor=actor.id, body=body))
            self._wake(tx, change.id)
        return Shown(
            type=command.type, green=command.green, source=source, digest=digest, counts=digest == named, at=now
        )

    def of(self, connection: Connection, change: Change) -> list[Shown]:
        """Return the evidence of a change, newest first. One query."""
        named = _digest(change)
        rows = connection.execute(
            sa.select(evidence).where(evidence.c.change_id == change.id).order_by(evidence.c.at.desc())
        )
        return [
            Shown(
                type=row.type,
                green=row.green,
                source=row.source,
                digest=row.digest,
                counts=row.digest == named,
                at=row.at,
            )
            for row in rows
        ]

    def facts(self, connection: Connection, change: Change, at: datetime) -> Mapping[str, Any]:
        """Return the newest evidence of each type for the digest the change names. What nobody said is unset."""
        found: dict[str, Any] = {}
        for shown in self.of(connection, change):
            if shown.at - at > APART_MOST:
                continue  # by a clock that ran ahead: it would count as fresh until its time has come
            if shown.counts and shown.type not in found:
                found[shown.type] = {"green": shown.green, "age_s": max(0.0, (at - shown.at).total_seconds())}
        return found


def _digest(change: Change) -> str | None:
    """Return what evidence must name: the artifact's digest, or for a change without one its own payload's."""
    if change.spec is None:
        return None
    spec = change.expanded()
    if spec.artifact is not None:
        return spec.artifact.digest
    return next(iter(sorted(spec.pinned.values())), change.digest)
