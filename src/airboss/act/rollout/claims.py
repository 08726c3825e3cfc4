"""Whose turn it is: which change is due, who looks at it, and what the last look said.

Written by every look, and explains nothing: the facts do that. A claim is a lease with a fencing number; whoever
writes checks the number first, so a server that slept through its lease changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Connection, Index, Integer, Table, Text

from airboss.kernel.clock import APART_MOST
from airboss.records.store import Instant, Tx, metadata, upsert

NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
FAR: Final = 2 * APART_MOST
"""No look is put off and no claim held for so long: what is due or held further ahead was written by a clock that ran
ahead, and does not count."""

wake = Table(
    "wake",
    metadata,
    Column("change_id", Text, primary_key=True),
    Column("due_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("owner", Text),
    Column("fence", BigInteger, nullable=False),
    # Raised by whoever makes the change due, so that a look that is under way does not sleep over it.
    Column("pokes", BigInteger, nullable=False),
    Column("needs_format", Integer, nullable=False),
    # What the last look would say to somebody who asks where the change is.
    Column("sentence", Text, nullable=False),
    # Taken before everything else that is due: somebody ordered it taken back, or it is being taken back.
    Column("urgent", Boolean, nullable=False, server_default=sa.text("false")),
    Index("ix_wake_due_at", "due_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to look at a change until the lease ends or somebody raises the fence.

    `lease_until` is by the holder's own clock, counted from before it asked, so it never ends later than in the row.
    """

    change_id: str
    fence: int
    pokes: int
    lease_until: datetime


def poke(tx: Tx, change_id: str, at: datetime, *, fence: bool = False, needs_format: int = 1) -> None:
    """Make a change due. With `fence`, also take it from whoever holds it, and let it pass all others that are due: the
    holder's writes will find themselves stale.
    """
    again: dict[str, Any] = {
        "due_at": sa.case((wake.c.due_at < at, wake.c.due_at), else_=sa.literal(at, Instant)),
        "pokes": wake.c.pokes + 1,
    }
    if fence:
        again |= {"fence": wake.c.fence + 1, "lease_until": None, "owner": None, "urgent": True}
    tx.execute(
        upsert(wake, tx.dialect)
        .values(change_id=change_id, due_at=at, fence=1, pokes=1, needs_format=needs_format, sentence="", urgent=fence)
        .on_conflict_do_update(index_elements=[wake.c.change_id], set_=again)
    )


def claim(
    tx: Tx, *, owner: str, now: datetime, lease_s: float, limit: int, format_: int, only_urgent: bool = False
) -> list[Claim]:
    """Take the due changes nobody holds, urgent ones first, then the oldest, each with a higher fence than before.

    `now` is the caller's time; leases are measured by the one all servers share. One statement.
    """
    shared = tx.now()
    due = sa.select(wake.c.change_id).where(_due(now, shared, format_, only_urgent=only_urgent))
    due = due.order_by(wake.c.urgent.desc(), wake.c.due_at).limit(limit)
    if tx.dialect == "postgresql":
        due = due.with_for_update(skip_locked=True)
    # Worked out once, before any row is written: the planner might else ask it again for each row, past the limit.
    chosen = due.cte("due").prefix_with("MATERIALIZED")
    lease = timedelta(seconds=lease_s)
    rows = tx.execute(
        sa.update(wake)
        .where(wake.c.change_id.in_(sa.select(chosen.c.change_id)))
        .values(lease_until=shared + lease, owner=owner, fence=wake.c.fence + 1)
        .returning(wake.c.change_id, wake.c.fence, wake.c.pokes)
    ).all()
    return [Claim(change_id=r.change_id, fence=r.fence, pokes=r.pokes, lease_until=now + lease) for r in rows]


def release(
    tx: Tx, held: Claim, *, now: datetime, due_at: datetime | None, sentence: str, urgent: bool = False
) -> None:
    """Give a claim back and say when to look again (None: only when poked). A poke meanwhile means at once.

    `sentence` is what the look would tell somebody who asks. The row stays for good: its fence must never start over.
    """
    tx.execute(
        sa.update(wake)
        .where(wake.c.change_id == held.change_id, wake.c.fence == held.fence)
        .values(
            lease_until=None,
            owner=None,
            sentence=sentence,
            urgent=urgent,
            due_at=_next(held, now, due_at or NEVER),
        )
    )


def still_held(tx: Tx, held: Claim) -> bool:
    """Return whether nobody raised the fence since the claim; the row stays locked until the transaction ends."""
    query = sa.select(wake.c.fence).where(wake.c.change_id == held.change_id)
    if tx.dialect == "postgresql":
        query = query.with_for_update()
    return tx.execute(query).scalar_one_or_none() == held.fence


def unfenced(connection: Connection, held: Claim) -> bool:
    """Return whether nobody raised the fence since the claim, as far as can be seen now. One query."""
    query = sa.select(wake.c.fence).where(wake.c.change_id == held.change_id)
    return connection.execute(query).scalar_one_or_none() == held.fence


def sentences(connection: Connection, change_ids: Sequence[str]) -> dict[str, str]:
    """Return what the last look at each change said. One query."""
    rows = connection.execute(sa.select(wake.c.change_id, wake.c.sentence).where(wake.c.change_id.in_(change_ids)))
    return {row.change_id: row.sentence for row in rows}


def lag(connection: Connection, now: datetime) -> float:
    """Return by how many seconds the most overdue unclaimed change is late, 0 when none is."""
    oldest: datetime | None = connection.execute(
        sa.select(wake.c.due_at).where(wake.c.lease_until.is_(None)).order_by(wake.c.due_at).limit(1)
    ).scalar_one_or_none()
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def any_due(
    connection: Connection, now: datetime, *, shared: datetime, format_: int, only_urgent: bool = False
) -> bool:
    """Return whether a claim would find anything: an idle server writes nothing. `shared` is the time of leases."""
    due = sa.select(wake.c.change_id).where(_due(now, shared, format_, only_urgent=only_urgent)).limit(1)
    return connection.execute(due).first() is not None


def put_off(tx: Tx, held: Claim, *, now: datetime, due_at: datetime) -> None:
    """Give a claim back after a look that failed; what the look before said stays. A poke meanwhile means at once."""
    tx.execute(
        sa.update(wake)
        .where(wake.c.change_id == held.change_id, wake.c.fence == held.fence)
        .values(lease_until=None, owner=None, due_at=_next(held, now, due_at))
    )


def _next(held: Claim, now: datetime, due_at: datetime) -> sa.Case[datetime]:
    return sa.case((wake.c.pokes == held.pokes, sa.literal(due_at, Instant)), else_=sa.literal(now, Instant))


def _due(now: datetime, shared: datetime, format_: int, *, only_urgent: bool) -> sa.ColumnElement[bool]:
    due = sa.and_(
        sa.or_(wake.c.due_at <= now, sa.and_(wake.c.due_at > now + FAR, wake.c.due_at < NEVER)),
        sa.or_(wake.c.lease_until.is_(None), wake.c.lease_until < shared, wake.c.lease_until > shared + FAR),
        wake.c.needs_format <= format_,
    )
    return sa.and_(due, wake.c.urgent) if only_urgent else due
