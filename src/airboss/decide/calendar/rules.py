"""Whether a change may start at a moment. Pure: windows and time come in.

Open iff no freeze that means the change is active, and the window it names is active, and of the allowing windows that
mean it one is active or there are none. Whoever asks for a rollback does not ask here: going back is never frozen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr

from airboss.decide.calendar.model import Closed, Length, Open, Reach, Window

IN_SIGHT: Final = timedelta(days=400)
"""How far ahead the next opening is looked for: a yearly window is in sight."""
_JUMPS: Final = 2_000
_DAY: Final = timedelta(days=1)


def state(windows: Iterable[Window], reach: Reach, at: datetime, *, named: str | None = None) -> Open | Closed:
    """Return whether a change that reaches so far may start at `at`, and when that changes."""
    meant = tuple(window for window in windows if window.name == named or _means(window, reach))
    if named is not None and all(window.name != named for window in meant):
        return Closed(why=f"the window {named} does not exist", window=named, opens_at=None)
    found = _closing(meant, at, named)
    if found is None:
        return Open(until=_next(meant, at, named, opening=False))
    window, why = found
    return Closed(why=why, window=window.name, opens_at=_next(meant, at, named, opening=True))


def _means(window: Window, reach: Reach) -> bool:
    if window.reach.empty:
        return not window.allow
    return window.reach.meets(reach)


def _closing(meant: Sequence[Window], at: datetime, named: str | None) -> tuple[Window, str] | None:
    """Return the window that keeps a change from starting, and the words for it; None when nothing does."""
    for window in meant:
        if not window.allow and active(window, at) is not None:
            because = f" ({window.reason})" if window.reason else ""
            return window, f"{window.name} is a freeze{because}"
    for window in meant:
        if window.name == named and active(window, at) is None:
            return window, f"the change asked for {window.name}, which is closed now"
    allowing = [window for window in meant if window.allow and not window.reach.empty and window.name != named]
    if allowing and all(active(window, at) is None for window in allowing):
        names = ", ".join(window.name for window in allowing)
        return allowing[0], f"changes like this start only in {names}"
    return None


def _next(meant: Sequence[Window], at: datetime, named: str | None, *, opening: bool) -> datetime | None:
    """Return the next moment at which the answer is the other one, or None when it is not in sight.

    Answers change only where a window begins or ends, so only those moments are tried.
    """
    moment = at
    for _ in range(_JUMPS):
        edges = [edge for window in meant if (edge := _edge(window, moment)) is not None]
        if not edges or min(edges) > at + IN_SIGHT:
            return None
        moment = min(edges)
        if (_closing(meant, moment, named) is None) is opening:
            return moment
    return None


def _edge(window: Window, after: datetime) -> datetime | None:
    """Return the next moment after `after` at which a window begins or ends."""
    nearest: datetime | None = None
    for begins, ends in occurrences(window, after, after + IN_SIGHT):
        edge = begins if begins > after else ends
        nearest = edge if nearest is None else min(nearest, edge)
        if begins > after:
            break  # later ones begin later still
    return nearest


def active(window: Window, at: datetime) -> tuple[datetime, datetime] | None:
    """Return the occurrence [from, to) a moment lies in, or None."""
    return next((span for span in occurrences(window, at, at + timedelta(microseconds=1)) if span[0] <= at), None)


def occurrences(window: Window, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the occurrences [from, to) that overlap [start, end), in UTC and in order.

    A local time that a change to summer time leaves out is read with the offset before it, one that comes twice is the
    first (RFC 5545 section 3.3.5).
    """
    zone = ZoneInfo(window.zone)
    # A day to spare on both sides covers every offset and change of offset.
    reach_back = timedelta(days=window.lasts.days, seconds=window.lasts.seconds) + _DAY
    earliest = start.astimezone(zone).replace(tzinfo=None) - reach_back
    latest = end.astimezone(zone).replace(tzinfo=None) + _DAY
    for local in _starts(window, earliest, latest):
        begins, ends = _span(local, window.lasts, zone)
        if begins < end and ends > start:
            yield begins, ends


def _span(local: datetime, lasts: Length, zone: ZoneInfo) -> tuple[datetime, datetime]:
    begins = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    days_on = (local + timedelta(days=lasts.days)).replace(tzinfo=zone, fold=0).astimezone(UTC)
    return begins, days_on + timedelta(seconds=lasts.seconds)


def _starts(window: Window, earliest: datetime, latest: datetime) -> Iterator[datetime]:
    """Yield the local starts from `earliest` to `latest`."""
    if window.repeats is None:
        if earliest <= window.starts <= latest:
            yield window.starts
        return
    for local in _rule(window.repeats, window.starts):
        if local > latest:
            return
        if local >= earliest:
            yield local


@functools.lru_cache(maxsize=512)
def _rule(repeats: str, starts: datetime) -> rrule | rruleset:
    # The cache keeps the occurrences found so far, so a long history is walked once.
    return rrulestr(repeats, dtstart=starts, cache=True)
