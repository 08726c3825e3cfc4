"""Flags in the database. Definitions are kept by revision and only ever added; what moves people is beside them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from airboss.act.flags.model import Definition, Exposure, Flag, Kill, Standing
from airboss.kernel.canonical import canonical
from airboss.records.store import Instant, Tx, insert_only, metadata, upsert
from airboss.sdk.ramp import UNITS_PER_PERCENT

flag_definition: Final = insert_only(
    Table(
        "flag_definition",
        metadata,
        Column("name", Text, nullable=False),
        Column("revision", Integer, nullable=False),
        Column("stored", LargeBinary, nullable=False),
        Column("digest", Text, nullable=False),
        Column("actor", Text, nullable=False),
        Column("at", Instant, nullable=False),
        PrimaryKeyConstraint("name", "revision"),
    )
)

flag_exposure: Final = Table(
    "flag_exposure",
    metadata,
    Column("flag", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    Column("units", Integer, nullable=False),
    Column("on_variant", Text, nullable=False),
    Column("off_variant", Text, nullable=False),
    Column("split", LargeBinary, nullable=False),
    Column("salt", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="1"),
    PrimaryKeyConstraint("flag", "environment", "change_id"),
)
Index("ix_flag_exposure_change", flag_exposure.c.change_id)

flag_standing: Final = Table(
    "flag_standing",
    metadata,
    Column("flag", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    PrimaryKeyConstraint("flag", "environment"),
)

flag_kill: Final = Table(
    "flag_kill",
    metadata,
    Column("flag", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Instant, nullable=False),
    PrimaryKeyConstraint("flag", "environment"),
)

flag_effect: Final = Table(
    "flag_effect",
    metadata,
    Column("key", Text, primary_key=True),
    Column("flag", Text, nullable=False),
    Column("change_id", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
"""Keys of effects that were carried out: a late repetition must not undo what came after it."""

flag_head: Final = Table(
    "flag_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)
"""One row: the revision of all flags together. Its lock puts the writers of flags in one order."""


def next_revision(tx: Tx) -> int:
    """Raise the revision of all flags and return it; writers of any flag queue here until they commit."""
    first = upsert(flag_head, tx).values(id=1, revision=1)
    raised = first.on_conflict_do_update(index_elements=[flag_head.c.id], set_={"revision": flag_head.c.revision + 1})
    return int(tx.execute(raised.returning(flag_head.c.revision)).scalar_one())


def revision(connection: Connection) -> int:
    """Return the revision of all flags together, 0 before the first. One query."""
    return int(connection.execute(sa.select(flag_head.c.revision)).scalar_one_or_none() or 0)


def add_definition(tx: Tx, definition: Definition, *, number: int, actor: str, at: Any) -> None:
    """Add a revision of a definition."""
    tx.execute(
        sa.insert(flag_definition).values(
            name=definition.name,
            revision=number,
            stored=definition.stored,
            digest=definition.digest,
            actor=actor,
            at=at,
        )
    )


def flags(connection: Connection, names: Iterable[str] | None = None) -> list[Flag]:
    """Return flags by name, all of them by default, at their last revision. Four queries."""
    wanted = None if names is None else list(names)
    last = sa.select(
        flag_definition.c.name,
        sa.func.max(flag_definition.c.revision).label("revision"),
        sa.func.min(flag_definition.c.at).label("created_at"),
    ).group_by(flag_definition.c.name)
    if wanted is not None:
        last = last.where(flag_definition.c.name.in_(wanted))
    newest = last.subquery()
    rows = connection.execute(
        sa.select(flag_definition.c.name, flag_definition.c.revision, flag_definition.c.stored, newest.c.created_at)
        .join(
            newest,
            (newest.c.name == flag_definition.c.name) & (newest.c.revision == flag_definition.c.revision),
        )
        .order_by(flag_definition.c.name)
    ).all()
    exposures: defaultdict[str, list[Exposure]] = defaultdict(list)
    standings: defaultdict[str, list[Standing]] = defaultdict(list)
    kills: defaultdict[str, list[Kill]] = defaultdict(list)
    for row in connection.execute(_of(flag_exposure, wanted).order_by(flag_exposure.c.revision)):
        exposures[row.flag].append(_exposure(row))
    for row in connection.execute(_of(flag_standing, wanted)):
        standings[row.flag].append(
            Standing(flag=row.flag, environment=row.environment, variant=row.variant, change_id=row.change_id)
        )
    for row in connection.execute(_of(flag_kill, wanted)):
        kills[row.flag].append(
            Kill(
                flag=row.flag,
                environment=row.environment,
                variant=row.variant,
                reason=row.reason,
                actor=row.actor,
                at=row.at,
            )
        )
    return [
        Flag(
            definition=Definition.from_json(row.name, json.loads(row.stored)),
            revision=row.revision,
            created_at=row.created_at,
            exposures=tuple(exposures[row.name]),
            standings=tuple(standings[row.name]),
            kills=tuple(kills[row.name]),
        )
        for row in rows
    ]


def _of(table: Table, names: list[str] | None) -> sa.Select[Any]:
    chosen = sa.select(table).order_by(table.c.flag, table.c.environment)
    return chosen if names is None else chosen.where(table.c.flag.in_(names))


def held_by(connection: Connection, change_id: str) -> list[tuple[str, str]]:
    """Return (flag, environment) of everything a change has exposed, in whatever state. One query."""
    rows = connection.execute(
        sa.select(flag_exposure.c.flag, flag_exposure.c.environment)
        .where(flag_exposure.c.change_id == change_id)
        .order_by(flag_exposure.c.flag, flag_exposure.c.environment)
    )
    return [(row.flag, row.environment) for row in rows]


def ramps_of(connection: Connection, change_ids: Iterable[str]) -> list[tuple[Exposure, str]]:
    """Return what changes have exposed, each with the name of the attribute its flag splits people by. Two queries."""
    names = sorted(change_ids)
    # Asked each second for a list that grows: drivers keep a prepared statement for each length, so there are few lengths.
    names += names[-1:] * ((1 << (len(names) - 1).bit_length()) - len(names))
    rows = connection.execute(sa.select(flag_exposure).where(flag_exposure.c.change_id.in_(names))).all()
    if not rows:
        return []
    newest = (
        sa.select(flag_definition.c.name, sa.func.max(flag_definition.c.revision).label("revision"))
        .where(flag_definition.c.name.in_({row.flag for row in rows}))
        .group_by(flag_definition.c.name)
        .subquery()
    )
    definitions = connection.execute(
        sa.select(flag_definition.c.name, flag_definition.c.stored).join(
            newest, (newest.c.name == flag_definition.c.name) & (newest.c.revision == flag_definition.c.revision)
        )
    )
    keys = {row.name: Definition.from_json(row.name, json.loads(row.stored)).bucketing_key for row in definitions}
    return [(_exposure(row), keys[row.flag]) for row in rows]


def _exposure(row: Any) -> Exposure:
    return Exposure(
        flag=row.flag,
        environment=row.environment,
        change_id=row.change_id,
        percent=row.units / UNITS_PER_PERCENT,
        on_variant=row.on_variant,
        off_variant=row.off_variant,
        split=tuple((variant, weight) for variant, weight in json.loads(row.split)),
        salt=row.salt,
        state=row.state,
        revision=row.revision,
        at=row.at,
        attempt=row.attempt,
    )


def save_exposure(tx: Tx, exposure: Exposure) -> None:
    """Write an exposure, in the place of what its change had on this flag before."""
    values = {
        "units": round(exposure.percent * UNITS_PER_PERCENT),
        "on_variant": exposure.on_variant,
        "off_variant": exposure.off_variant,
        "split": canonical([[variant, weight] for variant, weight in exposure.split]),
        "salt": exposure.salt,
        "state": exposure.state,
        "revision": exposure.revision,
        "at": exposure.at,
        "attempt": exposure.attempt,
    }
    key = {"flag": exposure.flag, "environment": exposure.environment, "change_id": exposure.change_id}
    tx.execute(
        upsert(flag_exposure, tx).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values)
    )


def save_standing(tx: Tx, standing: Standing) -> None:
    """Write what everybody gets in an environment."""
    key = {"flag": standing.flag, "environment": standing.environment}
    values = {"variant": standing.variant, "change_id": standing.change_id}
    tx.execute(
        upsert(flag_standing, tx).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values)
    )


def save_kill(tx: Tx, kill: Kill) -> None:
    """Write a kill switch, in the place of one that was on."""
    key = {"flag": kill.flag, "environment": kill.environment}
    values = {"variant": kill.variant, "reason": kill.reason, "actor": kill.actor, "at": kill.at}
    tx.execute(
        upsert(flag_kill, tx).values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values)
    )


def delete_kill(tx: Tx, flag: str, environment: str) -> bool:
    """Lift a kill switch; return whether there was one."""
    done = tx.execute(sa.delete(flag_kill).where(flag_kill.c.flag == flag, flag_kill.c.environment == environment))
    return bool(done.rowcount)


def is_done(tx: Tx, key: str) -> bool:
    """Return whether the effect with this key was carried out."""
    return tx.execute(sa.select(flag_effect.c.key).where(flag_effect.c.key == key)).one_or_none() is not None


def save_effect(tx: Tx, *, key: str, flag: str, change_id: str, act: str, at: Any) -> None:
    """Remember the key of an effect that is carried out in this transaction."""
    tx.execute(sa.insert(flag_effect).values(key=key, flag=flag, change_id=change_id, act=act, at=at))


def flag_digests(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield (subject, digest over a flag's rows) of every flag, for the verifier of the record. Four queries."""
    for flag in flags(connection):
        yield f"flag/{flag.definition.name}", flag.state_digest
