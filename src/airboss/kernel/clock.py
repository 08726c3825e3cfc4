"""Time, and the port it comes from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol


class Clock(Protocol):
    """Tells the time and waits. Wall time is aware UTC; `monotonic` is seconds from an unnamed origin."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def wait(self, seconds: float) -> None: ...


APART_MOST: Final = timedelta(minutes=5)
"""By how much a clock may differ from what is recorded, or from the database's, and still be believed."""
SET_BACK_S: Final = 2.0
"""A wall clock that is behind by more than this was set back; less is the work of whoever disciplines it."""


class SystemClock:
    """The machine's clocks, whose wall time is not set back.

    Everything is due, held and judged by wall time. Where the machine's is set back by more than SET_BACK_S, ours goes on from
    where it was, by the monotonic clock, until the machine's has caught up. So nothing comes due an hour late, and nothing is
    recorded before what it follows.
    """

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._anchor = (wall(), monotonic())

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    def _now(self) -> float:
        told, at = self._anchor
        # The wall clock first: whoever is stopped between the two must not come to believe in a time ahead.
        wall, monotonic = self._wall(), self._monotonic()
        on = told + (monotonic - at)
        if wall < on - SET_BACK_S:
            return on
        self._anchor = (wall, monotonic)
        return wall

    def not_before(self, at: datetime) -> None:
        """Go on from a time that is recorded, where the machine's clock was set back while nobody ran.

        The caller bounds how far: a record that ran ahead would take every later time ahead with it.
        """
        if at.timestamp() > self._now() + SET_BACK_S:
            self._anchor = (at.timestamp(), self._monotonic())

    def behind_s(self) -> float:
        """Return by how many seconds the machine's wall clock is behind the time that is told, 0 when it leads."""
        told = self._now()
        return max(0.0, told - self._wall()) if told - self._wall() > SET_BACK_S / 2 else 0.0

    def monotonic(self) -> float:
        return self._monotonic()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(at: datetime) -> int:
    """Return microseconds since 1970. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return (at - EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """Return the aware UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=micros)


def rfc3339(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC with microseconds, the one form facts and the API use."""
    # Not strftime: it writes the year 987 without its zero, which nobody reads back.
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Return the aware time of an RFC 3339 text. Raises ValueError, also for a time without a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return at.astimezone(UTC)
    except OverflowError as fault:
        raise ValueError(f"{text!r} lies outside the calendar") from fault
