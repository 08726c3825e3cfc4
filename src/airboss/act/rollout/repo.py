"""What the engine keeps: what it means to do, what people ordered, what it knows so far.

`judgement` is written once for each sealed block; `effect`, `command` and `exposure` rows are written in the
transaction of the facts they belong to. When to look again is kept in `claims`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Connection, Float, Index, Integer, LargeBinary, Table, Text

from airboss.kernel.canonical import Json, canonical
from airboss.records.store import Instant, Tx, metadata, upsert

judgement = Table(
    "judgement",
    metadata,
    Column("change_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("format", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("last_block", Instant),
    Column("updated_at", Instant, nullable=False),
)

effect = Table(
    "effect",
    metadata,
    Column("key", Text, primary_key=True),
    Column("change_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("percent", Float),
    Column("fence", BigInteger, nullable=False),
    Column("intent_at", Instant, nullable=False),
    Column("deadline_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done_at", Instant),
    Column("fault", Text),
    Index("ix_effect_change_id", "change_id"),
)

command = Table(
    "command",
    metadata,
    Column("id", Text, primary_key=True),
    Column("change_id", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("taken_at", Instant),
    # Counts the orders of a change, so that the last word is the last whatever clocks say.
    Column("number", Integer, nullable=False),
    # The step (from 0) that was on when the order was given: an order to skip one never skips the next.
    Column("step", Integer),
    Index("ix_command_change_id", "change_id"),
)

exposure = Table(
    "exposure",
    metadata,
    Column("change_id", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("service", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("percent", Float, nullable=False),
    Column("from_at", Instant, nullable=False),
    Column("to_at", Instant),
    # The target's kind: whether telemetry finds the arms by person or by process.
    Column("kind", Text, nullable=False, server_default="flag"),
    Index("ix_exposure_to_at", "to_at"),
)
"""Which exposure was observed from when to when: how telemetry knows a change and a step."""

blocked_version = Table(
    "blocked_version",
    metadata,
    Column("service", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("change_id", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("lifted", Boolean, nullable=False),
)
"""A version that was convicted stays blocked until a person lifts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a person ordered and the engine has not yet taken up."""

    id: str
    change_id: str
    verb: str
    actor: str
    actor_name: str
    reason: str
    at: datetime
    step: int | None = None


# -- judgement --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The latest analysis of a unit: its state, how far it has read, what it says for people to see."""

    unit: str
    step: int
    format: int
    state: Mapping[str, Any]
    evidence: Mapping[str, Any]
    last_block: datetime | None


def judgement_of(connection: Connection, change_id: str, attempt: int, unit: str) -> Judgement | None:
    """Return the latest analysis of a unit in an attempt, or None before the first block."""
    row = connection.execute(
        sa.select(judgement).where(
            judgement.c.change_id == change_id, judgement.c.attempt == attempt, judgement.c.unit == unit
        )
    ).one_or_none()
    return None if row is None else _judgement(row)


def judgements_of(connection: Connection, changes: Collection[str]) -> dict[tuple[str, int, str], Judgement]:
    """Return the latest analyses of some changes by (change, attempt, unit). One query."""
    rows = connection.execute(sa.select(judgement).where(judgement.c.change_id.in_(changes)))
    return {(row.change_id, row.attempt, row.unit): _judgement(row) for row in rows}


def _judgement(row: sa.Row[Any]) -> Judgement:
    return Judgement(
        unit=row.unit,
        step=row.step,
        format=row.format,
        state=json.loads(row.state),
        evidence=json.loads(row.evidence),
        last_block=row.last_block,
    )


def judged_since(connection: Connection, at: datetime | None) -> dict[str, datetime]:
    """Return the changes judged after a time (None: ever), each with the newest judgement's. One query."""
    newest = sa.func.max(judgement.c.updated_at).label("at")
    query = sa.select(judgement.c.change_id, newest).group_by(judgement.c.change_id)
    if at is not None:
        query = query.where(judgement.c.updated_at > at)
    return {row.change_id: row.at for row in connection.execute(query)}


def save_judgement(tx: Tx, change_id: str, attempt: int, new: Judgement, now: datetime) -> None:
    """Replace the latest analysis of a unit."""
    values = {
        "format": new.format,
        "step": new.step,
        "state": canonical(new.state),
        "evidence": canonical(new.evidence),
        "last_block": new.last_block,
        "updated_at": now,
    }
    tx.execute(
        upsert(judgement, tx.dialect)
        .values(change_id=change_id, attempt=attempt, unit=new.unit, **values)
        .on_conflict_do_update(
            index_elements=[judgement.c.change_id, judgement.c.attempt, judgement.c.unit], set_=values
        )
    )


# -- effects ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something the engine means to do at a target."""

    key: str
    change_id: str
    attempt: int
    kind: str
    unit: str
    percent: float | None
    fence: int
    deadline_at: datetime
    tries: int
    done_at: datetime | None
    fault: str | None


def intend(tx: Tx, want: Effect, now: datetime) -> None:
    """Record an intent; a repeated one is the same row with a new deadline, fence and count.

    `now` and the deadline of `want` are by the caller's clock; what is kept is by the time all servers share.
    """
    deadline = tx.now() + (want.deadline_at - now)
    again = {"fence": want.fence, "deadline_at": deadline, "tries": effect.c.tries + 1, "done_at": None}
    tx.execute(
        upsert(effect, tx.dialect)
        .values(
            key=want.key,
            change_id=want.change_id,
            attempt=want.attempt,
            kind=want.kind,
            unit=want.unit,
            percent=want.percent,
            fence=want.fence,
            intent_at=now,
            deadline_at=deadline,
            tries=1,
        )
        .on_conflict_do_update(index_elements=[effect.c.key], set_=again)
    )


def record_result(tx: Tx, key: str, fence: int, *, now: datetime, fault: str | None) -> None:
    """Remember how carrying out an intent went. A result that comes after a newer intent is dropped."""
    tx.execute(
        sa.update(effect)
        .where(effect.c.key == key, effect.c.fence == fence)
        .values(done_at=None if fault else now, fault=fault)
    )


def effects_of(connection: Connection, change_id: str) -> list[Effect]:
    """Return every intent of a change, oldest first."""
    rows = connection.execute(sa.select(effect).where(effect.c.change_id == change_id).order_by(effect.c.intent_at))
    return [
        Effect(**{name: getattr(row, name) for name in Effect.__dataclass_fields__})  # the columns bear these names
        for row in rows
    ]


# -- commands ---------------------------------------------------------------------------------------------------------


def give(tx: Tx, new: Command) -> None:
    """Leave a command for the engine. The caller holds the change's lock."""
    before = sa.select(sa.func.count()).select_from(command).where(command.c.change_id == new.change_id)
    values = {name: getattr(new, name) for name in Command.__dataclass_fields__}
    tx.execute(sa.insert(command).values(**values, number=before.scalar_subquery()))


def waiting_commands(connection: Connection, change_id: str) -> list[Command]:
    """Return the commands the engine has not taken up, oldest first."""
    rows = connection.execute(
        sa.select(command)
        .where(command.c.change_id == change_id, command.c.taken_at.is_(None))
        .order_by(command.c.number)
    )
    return [Command(**{name: getattr(row, name) for name in Command.__dataclass_fields__}) for row in rows]


def take(tx: Tx, commands: Sequence[Command], now: datetime) -> None:
    """Mark commands as taken up."""
    tx.execute(sa.update(command).where(command.c.id.in_([one.id for one in commands])).values(taken_at=now))


# -- exposures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRow:
    """One exposure as it was observed; `to_at` None while it stands."""

    change_id: str
    unit: str
    attempt: int
    step: int
    service: str
    environment: str
    percent: float
    kind: str
    from_at: datetime
    to_at: datetime | None


def open_exposure(tx: Tx, new: ExposureRow) -> None:
    """Note that an exposure was reached. Reached again after a drift, it begins anew."""
    values = {"percent": new.percent, "from_at": new.from_at, "to_at": None}
    tx.execute(
        upsert(exposure, tx.dialect)
        .values(**{name: getattr(new, name) for name in ExposureRow.__dataclass_fields__})
        .on_conflict_do_update(
            index_elements=[exposure.c.change_id, exposure.c.unit, exposure.c.attempt, exposure.c.step], set_=values
        )
    )


def end_exposures(tx: Tx, change_id: str, at: datetime, *, unit: str | None = None) -> None:
    """Note that the standing exposures of a change (or of one of its units) ended."""
    statement = sa.update(exposure).where(exposure.c.change_id == change_id, exposure.c.to_at.is_(None))
    if unit is not None:
        statement = statement.where(exposure.c.unit == unit)
    tx.execute(statement.values(to_at=at))


def exposures(connection: Connection, *, since: datetime) -> list[ExposureRow]:
    """Return the exposures that stand or ended after `since`."""
    rows = connection.execute(
        sa.select(exposure)
        .where(sa.or_(exposure.c.to_at.is_(None), exposure.c.to_at > since))
        .order_by(exposure.c.from_at)
    )
    return [ExposureRow(**{name: getattr(row, name) for name in ExposureRow.__dataclass_fields__}) for row in rows]


def exposures_of(connection: Connection, change_id: str) -> list[ExposureRow]:
    """Return every exposure of a change, oldest first."""
    rows = connection.execute(sa.select(exposure).where(exposure.c.change_id == change_id).order_by(exposure.c.from_at))
    return [ExposureRow(**{name: getattr(row, name) for name in ExposureRow.__dataclass_fields__}) for row in rows]


def standing_of(connection: Connection, changes: Collection[str]) -> dict[str, list[ExposureRow]]:
    """Return by change the exposures that stand now, oldest first; changes without any are left out. One query."""
    query = sa.select(exposure).where(exposure.c.change_id.in_(changes), exposure.c.to_at.is_(None))
    found: dict[str, list[ExposureRow]] = {}
    for row in connection.execute(query.order_by(exposure.c.from_at)):
        one = ExposureRow(**{name: getattr(row, name) for name in ExposureRow.__dataclass_fields__})
        found.setdefault(row.change_id, []).append(one)
    return found


# -- blocked versions -------------------------------------------------------------------------------------------------


def block_version(tx: Tx, *, service: str, digest: str, change_id: str, sentence: str, at: datetime) -> None:
    """Keep a convicted version from starting again."""
    values: dict[str, Json | datetime] = {"change_id": change_id, "sentence": sentence, "at": at, "lifted": False}
    tx.execute(
        upsert(blocked_version, tx.dialect)
        .values(service=service, digest=digest, **values)
        .on_conflict_do_update(index_elements=[blocked_version.c.service, blocked_version.c.digest], set_=values)
    )


def blocked(connection: Connection, service: str, digest: str) -> sa.Row[Any] | None:
    """Return the standing block of a version, or None."""
    return connection.execute(
        sa.select(blocked_version).where(
            blocked_version.c.service == service,
            blocked_version.c.digest == digest,
            blocked_version.c.lifted.is_(False),
        )
    ).one_or_none()


def blocked_versions(connection: Connection) -> list[sa.Row[Any]]:
    """Return every standing block, newest first."""
    return list(
        connection.execute(
            sa.select(blocked_version).where(blocked_version.c.lifted.is_(False)).order_by(blocked_version.c.at.desc())
        )
    )


def lift(tx: Tx, service: str, digest: str) -> bool:
    """Lift a block; False where none stands."""
    done = tx.execute(
        sa.update(blocked_version)
        .where(
            blocked_version.c.service == service,
            blocked_version.c.digest == digest,
            blocked_version.c.lifted.is_(False),
        )
        .values(lifted=True)
    )
    return bool(done.rowcount)
