"""Whether a server's clock can be believed: it is held against what is recorded, and against the database's.

A clock that ran ahead leaves facts of a time that has not come. Whoever reads them later cannot tell whether that clock
was wrong or their own is, so nothing goes forward until the two agree or a person has said which is right.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.kernel.clock import APART_MOST, Clock, SystemClock, parse_rfc3339, rfc3339
from airboss.kernel.errors import Refused
from airboss.records.journal.journal import Journal
from airboss.records.journal.model import Fact
from airboss.records.journal.tables import entry, fact
from airboss.records.store import Store

SUBJECT: Final = "clock"
ACCEPTED: Final = "clock.accepted"
LOOKS_BACK: Final = 200
"""So many of the last facts are asked for their times: a few may follow, by a right clock, what a wrong one recorded."""
EVERY_S: Final = 5.0

log = logging.getLogger("airboss.clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorded:
    """The latest time among the facts that count, and whether it was told already that it is doubted."""

    at: datetime | None
    told: bool


class Timekeeping:
    """Holds a server's clock against the record. `actor` is whom facts of this are by."""

    def __init__(self, store: Store, journal: Journal, *, clock: Clock, actor: str) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._actor = actor
        self._asked_at: float | None = None
        self._found: str | None = None

    def follow(self) -> None:
        """Go on from the newest fact where the machine's clock was set back while nobody ran, by at most APART_MOST.

        Further only as far as a database with a clock of its own agrees with the record.
        """
        if not isinstance(self._clock, SystemClock):
            return
        with self._store.read() as connection:
            recorded = self._recorded(connection)
            latest = max(self._clock.now(), self._store.now(connection)) + APART_MOST
        if recorded.at is not None and recorded.at <= latest:
            self._clock.not_before(recorded.at)

    def doubt(self) -> str | None:
        """Return why the clock cannot be believed, as a sentence that stays the same while the reason does; else None.

        Asks at most every EVERY_S, with four queries. What is newly doubted is recorded, so that facts of a right clock
        that follow do not hide it. Raises Unavailable when the database does not answer.
        """
        at = self._clock.monotonic()
        if self._asked_at is None or at - self._asked_at >= EVERY_S:
            found = self._look()
            if found is not None and found != self._found:
                log.warning("nothing goes forward: %s", found)
            self._found, self._asked_at = found, at
        return self._found

    def accept(self, *, reason: str, actor: str) -> datetime:
        """Say that this machine's clock is right and the record ran ahead; return up to when it had run.

        Raises Refused when there is nothing to accept.
        """
        with self._store.write() as tx:
            recorded, now = self._recorded(tx.connection).at, self._clock.now()
            if recorded is None or recorded - now <= APART_MOST:
                raise Refused(
                    f"the record is not ahead of this machine's clock, which says {_told(now)}",
                    code="clock-not-ahead",
                    way_out="where the clock is what is wrong, set it right (NTP)",
                )
            body = {
                "recorded_at": rfc3339(recorded),
                "told_at": rfc3339(now),
                "reason": self._journal.text(tx, reason),
            }
            self._journal.record(tx, Fact(subject=SUBJECT, type="clock.accepted", actor=actor, body=body))
        self._asked_at = None
        return recorded

    def _look(self) -> str | None:
        with self._store.read() as connection:
            now, shared = self._clock.now(), self._store.now(connection)
            recorded = self._recorded(connection)
        if abs(now - shared) > APART_MOST:
            which = "ahead of" if now > shared else "behind"
            return (
                f"this server's clock is more than {_minutes()} {which} the database's: set the clock that is wrong right "
                "(NTP), and it goes on by itself"
            )
        if recorded.at is None or recorded.at - now <= APART_MOST:
            return None
        if not recorded.told:
            body = {"recorded_at": rfc3339(recorded.at), "told_at": rfc3339(now)}
            with self._store.write() as tx:
                self._journal.record(tx, Fact(subject=SUBJECT, type="clock.doubted", actor=self._actor, body=body))
        return (
            f"the record has facts of {_told(recorded.at)}, more than {_minutes()} ahead of this server's clock: if the clock "
            "is wrong, set it right (NTP) and it goes on by itself; if it is right, stop the server and say so: "
            "airboss clock accept --reason …"
        )

    def _recorded(self, connection: Connection) -> _Recorded:
        """Return the latest time recorded since a person last said that the clock is right. Three queries."""
        said = self._journal.of(connection, SUBJECT)
        accepted = max((number for number, one in enumerate(said) if one.type == ACCEPTED), default=-1)
        doubted = [parse_rfc3339(one.body["recorded_at"]) for one in said[accepted + 1 :]]
        size = self._journal.size(connection)
        after = size - 1 - LOOKS_BACK
        if accepted >= 0:
            # One that has no place yet comes after everything that has.
            after = max(after, said[accepted].position if said[accepted].position >= 0 else size)
        newest: datetime | None = connection.execute(
            sa.select(sa.func.max(fact.c.at))
            .select_from(entry)
            .join(fact, fact.c.fact_id == entry.c.fact_id)
            .where(entry.c.position > after)
        ).scalar_one()
        times = [*doubted, *([] if newest is None else [newest])]
        at = max(times, default=None)
        return _Recorded(at=at, told=at is not None and at in doubted)


def _minutes() -> str:
    return f"{APART_MOST.total_seconds() / 60:g} minutes"


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
