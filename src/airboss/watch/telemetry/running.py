"""Running sums: a window of counts is not added up again at each question, only moved on.

A day of ten-second buckets is 8,640 rows; ten seconds later one has come and one has gone. So for each series that is asked
about, and each length of window, the sum of its *final* buckets is kept, and a question reads three things of the store: the
buckets that may still grow, the few that became final since the last question, and those that left a window. The answer is
the one that adding up the whole window would give; the store stays the only place where counts are kept, and another
server's or another receiver's counts come in as they do there.

**What is final.** A receiver that has flushed at time F never again writes a bucket that was sealed at F, which is one
that starts at or before F − width − lateness (`Cells.floor_us`). Each flush moves F, in its own transaction. Boots are
read before buckets, so what is final by the former is so in the latter.

**What is not moved on but read anew:** sums over which nothing is known: those of a receiver that was silent for
`SILENT_US` and speaks again, or that is new; a question from before the last one, or long after it.

**Roll-up.** A fine bucket that became part of a five-minute one counts from the beginning of that. Windows that end where
buckets are rolled up therefore keep sums from a whole five minutes on, which rolling up does not change; what lies between is
read. Assumed: clocks of receivers and readers agree within `SKEW_US`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from airboss.watch.telemetry.cells import MINUTE_US
from airboss.watch.telemetry.ports import Boot, BucketStore, CountRow, Series

SILENT_US: Final = 120_000_000
"""A receiver that wrote nothing for so long, while another did, is taken to be done."""
MOST_BEHIND_US: Final = 900_000_000
"""Sums that were not asked for so long are read anew: that costs no more than moving them on."""
SKEW_US: Final = 600_000_000
ROLLED_US: Final = 300_000_000
_DAY_US: Final = 86_400_000_000
_FOREVER_US: Final = 1 << 62
_MOST_SERIES: Final = 4_096
_MOST_WINDOWS: Final = 32


class Moved(NamedTuple):
    """What is answered of one series: (requests, bad) of each window asked for, and the newest sample's time."""

    counts: tuple[tuple[int, int], ...]
    newest_us: int | None


class _Sum(NamedTuple):
    """Of the final buckets that start at or after `from_us`."""

    from_us: int
    requests: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The sums of one series as of a question about `end_us`, by length of window.

    `taken`: by source, buckets that start before this are in the sums; of other sources, before `taken_else`. `flushed`: by
    source the last flush it is known by.
    """

    end_us: int
    sums: Mapping[int, _Sum]
    taken: Mapping[int, int]
    taken_else: int
    flushed: Mapping[int, int]
    newest_us: int

    def has(self, row: CountRow) -> bool:
        return row.start_us < self.taken.get(row.source, self.taken_else)


class RunningSums:
    """Sums of the series that are asked about, at most `_MOST_SERIES`. Safe to use from many threads: what is kept of a
    series is replaced whole, and two questions at once move it on twice from the same place.
    """

    def __init__(
        self, store: BucketStore, *, width_us: int, lateness_us: int, fine_kept_us: int, plain_kept_us: int
    ) -> None:
        self._store = store
        self._width_us = width_us
        self._sealed_us = width_us + lateness_us
        self._exact_us = fine_kept_us - SKEW_US
        self._longest_us = plain_kept_us - SKEW_US
        self._kept: dict[Series, _Kept] = {}

    def move(self, asked: Mapping[Series, Sequence[int]], end_us: int, boots: Sequence[Boot]) -> Mapping[Series, Moved]:
        """Return the sums of windows, by their lengths, of buckets that start in [end − length, end).

        `boots` were read just before and go back as far as the longest window. Raises Unavailable.
        """
        final = self._final(boots)
        if not boots or max(final.values()) > end_us:
            return {name: self._read(name, lengths, end_us) for name, lengths in asked.items()}
        found: dict[Series, Moved] = {}
        moving: dict[Series, _Kept] = {}
        for name, lengths in asked.items():
            if max(lengths, default=0) > self._longest_us:
                found[name] = self._read(name, lengths, end_us)
            else:
                kept = self._kept.get(name)
                if kept is None or not self._goes_on(kept, lengths, end_us, boots):
                    kept = self._begin(name, lengths, kept, end_us, boots, min(final.values()))
                moving[name] = kept
        if moving:
            ranges = _united(part for kept in moving.values() for part in self._needed(kept, end_us))
            rows = self._store.count_rows(list(moving), ranges)
            if len(self._kept) + len(moving) > _MOST_SERIES:
                self._kept.clear()
            for name, kept in moving.items():
                ours = rows.get(name, ())
                now = self._advanced(kept, ours, end_us, boots, final)
                self._kept[name] = now
                found[name] = Moved(
                    tuple(self._answer(now, ours, length) for length in asked[name]),
                    self._newest(name, now),
                )
        return found

    def _final(self, boots: Sequence[Boot]) -> dict[int, int]:
        """Return by source before which start a bucket is not written any more."""
        silent_us = max((boot.last_flush_us for boot in boots), default=0) - SILENT_US
        return {boot.source: max(self._final_of(boot.last_flush_us), silent_us) for boot in boots}

    def _final_of(self, flush_us: int) -> int:
        return flush_us - self._sealed_us + 1

    def _from(self, length: int, end_us: int) -> int:
        """Return from where on the sum of a window is kept."""
        start_us = end_us - length
        return start_us if length <= self._exact_us else -(-start_us // ROLLED_US) * ROLLED_US

    def _goes_on(self, kept: _Kept, lengths: Sequence[int], end_us: int, boots: Sequence[Boot]) -> bool:
        """Say whether the sums can be moved on to a question."""
        if not kept.end_us <= end_us <= kept.end_us + MOST_BEHIND_US or any(one not in kept.sums for one in lengths):
            return False
        for boot in boots:
            before_us = kept.flushed.get(boot.source)
            if before_us is None:
                return False
            if before_us != boot.last_flush_us and kept.taken[boot.source] > self._final_of(before_us):
                return False
        return True

    def _begin(
        self,
        name: Series,
        lengths: Sequence[int],
        before: _Kept | None,
        end_us: int,
        boots: Sequence[Boot],
        final_us: int,
    ) -> _Kept:
        """Add up what starts before `final_us`, for the windows asked for and those that were kept before."""
        wanted = {*lengths, *(before.sums if before is not None and len(before.sums) < _MOST_WINDOWS else ())}
        sums: dict[int, _Sum] = {}
        until_us, requests, bad = final_us, 0, 0
        # From the shortest on, each adds only what it has beyond the one before: no bucket is read twice.
        for length in sorted(wanted):
            from_us = self._from(length, end_us)
            if from_us < until_us:
                more, worse = self._store.sums(name, from_us, until_us)
                requests, bad, until_us = requests + more, bad + worse, from_us
            sums[length] = _Sum(from_us, requests, bad)
        return _Kept(
            end_us=end_us,
            sums=sums,
            taken={boot.source: final_us for boot in boots},
            taken_else=final_us,
            flushed={boot.source: boot.last_flush_us for boot in boots},
            newest_us=self._store.newest(name, end_us - _DAY_US, end_us + MINUTE_US) or 0,
        )

    def _needed(self, kept: _Kept, end_us: int) -> Iterable[tuple[int, int]]:
        """Yield which buckets must be read, as ranges of starts: what may have moved, and what leaves a window."""
        yield min(kept.taken.values()), _FOREVER_US
        for length, held in kept.sums.items():
            start_us, from_us = end_us - length, self._from(length, end_us)
            # Buckets start at whole widths: mostly nothing has left.
            if -(-held.from_us // self._width_us) * self._width_us < from_us:
                yield held.from_us, from_us
            if start_us < from_us:
                yield start_us, from_us

    def _advanced(
        self, kept: _Kept, rows: Sequence[CountRow], end_us: int, boots: Sequence[Boot], final: Mapping[int, int]
    ) -> _Kept:
        silent_us = min(final.values())
        taken = {source: max(until, final.get(source, silent_us)) for source, until in kept.taken.items()}
        sums: dict[int, _Sum] = {}
        for length, held in kept.sums.items():
            before_us, requests, bad = held
            from_us = self._from(length, end_us)
            for row in rows:
                if kept.has(row):
                    if before_us <= row.start_us < from_us:
                        requests, bad = requests - row.requests, bad - row.bad
                elif from_us <= row.start_us < taken.get(row.source, kept.taken_else):
                    requests, bad = requests + row.requests, bad + row.bad
            sums[length] = _Sum(from_us, requests, bad)
        return _Kept(
            end_us=end_us,
            sums=sums,
            taken=taken,
            taken_else=kept.taken_else,
            flushed={**kept.flushed, **{boot.source: boot.last_flush_us for boot in boots}},
            newest_us=max([kept.newest_us, *(row.newest_us for row in rows if row.start_us < end_us + MINUTE_US)]),
        )

    @staticmethod
    def _answer(kept: _Kept, rows: Sequence[CountRow], length: int) -> tuple[int, int]:
        """Return the sum that is kept with what was read and is not in it."""
        from_us, requests, bad = kept.sums[length]
        for row in rows:
            if kept.end_us - length <= row.start_us < kept.end_us and not (from_us <= row.start_us and kept.has(row)):
                requests, bad = requests + row.requests, bad + row.bad
        return requests, bad

    def _newest(self, name: Series, kept: _Kept) -> int | None:
        since_us = kept.end_us - _DAY_US
        if kept.newest_us >= since_us + ROLLED_US:
            return kept.newest_us
        return self._store.newest(name, since_us, kept.end_us + MINUTE_US)

    def _read(self, name: Series, lengths: Sequence[int], end_us: int) -> Moved:
        """Answer from the store alone."""
        counts = tuple(self._store.sums(name, end_us - length, end_us) for length in lengths)
        return Moved(counts, self._store.newest(name, end_us - _DAY_US, end_us + MINUTE_US))


def _united(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges [from, to) that cover the same and do not overlap, in order."""
    united: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if united and begin <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((begin, end))
    return united
