"""Traces worth opening: of each arm of a change in flight a few that failed and the slowest, and no more of them than that.

Counting never needs a trace's name, so a body is read a second time, whole, only when it holds a candidate: a failed span a
second after the last one that was kept, or one slower than the slowest ten. The more was seen, the rarer that is.

Kept of a trace: its IDs, the name of the span, when and how long, and attributes of a short list that holds nothing of
people: no addresses, no query, no user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airboss.watch.telemetry.columns import Detail
from airboss.watch.telemetry.exposures import ExposureTable
from airboss.watch.telemetry.model import Ints
from airboss.watch.telemetry.ports import ExemplarRow, Series
from airboss.watch.telemetry.subjects import Flags

MOST_OF_A_KIND: Final = 10
"""Failed ones kept of an arm, and as many slow ones."""
FAILED_EVERY_US: Final = 1_000_000
MOST_READ_AGAIN: Final = 10
"""Bodies a second that are read a second time."""


class _Candidate(NamedTuple):
    series: int
    row: int
    why: str
    duration_us: int
    end_us: int


@dataclass(slots=True)
class _Held:
    """What is kept of one arm of a change: by kind, slots in the order they were filled."""

    attempt: int
    failed: list[ExemplarRow] = field(default_factory=list)
    slow: list[ExemplarRow] = field(default_factory=list)
    next_failed: int = 0


class Exemplars:
    """The exemplars of one boot. Slots are written over, so the store holds no more of them either."""

    def __init__(self, series_of: Callable[[int], Series]) -> None:
        self._series_of = series_of
        self._held: dict[tuple[str, str], _Held] = {}
        self._floor: NDArray[np.float64] = np.zeros(64)
        self._due: Ints = np.zeros(64, np.int64)
        self._candidates: list[_Candidate] = []
        self._dirty: dict[tuple[str, str, str, int], ExemplarRow] = {}
        self._second = 0
        self._left = MOST_READ_AGAIN

    def keep_only(self, changes: frozenset[str]) -> None:
        """Forget changes that are no longer in flight; what is stored of them stays."""
        self._held = {key: held for key, held in self._held.items() if key[0] in changes}

    def forget(self, series: Sequence[int]) -> None:
        """Numbers of series that are free now begin anew with whoever gets them next."""
        known = [number for number in series if number < len(self._floor)]
        self._floor[known] = 0.0
        self._due[known] = 0

    def look(self, table: ExposureTable, force: Ints, arm: Ints, row: Ints, took: tuple[Flags, Ints, Ints]) -> None:
        """Note candidates among exposed spans; `took` are (bad, duration in µs, end in µs), one per exposed span."""
        bad, duration_us, end_us = took
        series = table.series[force, arm]
        self._make_room(int(series.max()))
        failed = np.flatnonzero(bad & (end_us >= self._due[series]))
        if len(failed) > 1:  # the newest of each arm will do
            _, last = np.unique(series[failed][::-1], return_index=True)
            failed = failed[::-1][last]
        slow = np.flatnonzero(duration_us > self._floor[series])
        if len(slow) > MOST_OF_A_KIND:
            slow = self._slowest(series, slow, duration_us)
        for why, found in (("failed", failed), ("slow", slow)):
            self._candidates += [
                _Candidate(int(series[at]), int(row[at]), why, int(duration_us[at]), int(end_us[at]))
                for at in found.tolist()
            ]

    def settle(self, details: Callable[[Sequence[int]], Mapping[int, Detail]] | None, now_us: int) -> None:
        """Keep what was noted since the last call, if the body may be read again now. `details` gives it by row."""
        candidates, self._candidates = self._candidates, []
        if not candidates or details is None:
            return
        if now_us // 1_000_000 != self._second:
            self._second, self._left = now_us // 1_000_000, MOST_READ_AGAIN
        wanted = [one for one in candidates if self._wants(one)]
        if not wanted or not self._left:
            return
        self._left -= 1
        told = details(sorted({one.row for one in wanted}))
        for one in sorted(wanted, key=lambda one: -one.duration_us):
            if one.row in told and told[one.row].trace_id and self._wants(one):
                self._keep(one, told[one.row])

    def take(self) -> list[ExemplarRow]:
        """Return what changed since the last call."""
        taken, self._dirty = list(self._dirty.values()), {}
        return taken

    def restore(self, rows: Sequence[ExemplarRow]) -> None:
        """What was taken could not be written: it goes with the next flush, unless its slot was written over."""
        for row in rows:
            self._dirty.setdefault((row.change_id, row.arm, row.why, row.slot), row)

    def _make_room(self, series: int) -> None:
        while series >= len(self._floor):
            self._floor = np.concatenate([self._floor, np.zeros_like(self._floor)])
            self._due = np.concatenate([self._due, np.zeros_like(self._due)])

    def _slowest(self, series: Ints, slow: Ints, duration_us: Ints) -> Ints:
        """Return the slowest few of each series among `slow`."""
        order = slow[np.lexsort((-duration_us[slow], series[slow]))]
        _, first = np.unique(series[order], return_index=True)
        starts = np.zeros(len(order), np.int64)
        starts[first] = first
        return order[np.arange(len(order)) - np.maximum.accumulate(starts) < MOST_OF_A_KIND]

    def _of(self, series: Series) -> _Held:
        held = self._held.get((series.change_id, series.arm))
        if held is None or held.attempt != series.attempt:
            held = self._held[series.change_id, series.arm] = _Held(series.attempt)
        return held

    def _wants(self, one: _Candidate) -> bool:
        if one.why == "failed":
            return bool(one.end_us >= self._due[one.series])
        kept = self._of(self._series_of(one.series)).slow
        if len(kept) == MOST_OF_A_KIND:
            self._floor[one.series] = min(row.duration_us for row in kept)
        return one.duration_us > self._floor[one.series] or len(kept) < MOST_OF_A_KIND

    def _keep(self, one: _Candidate, told: Detail) -> None:
        series = self._series_of(one.series)
        held = self._of(series)
        if one.why == "failed":
            kept, slot = held.failed, held.next_failed
            held.next_failed = (slot + 1) % MOST_OF_A_KIND
            self._due[one.series] = one.end_us + FAILED_EVERY_US
        else:
            if any(row.trace_id == told.trace_id and row.span_id == told.span_id for row in held.slow):
                return
            kept = held.slow
            slot = (
                len(kept) if len(kept) < MOST_OF_A_KIND else min(range(len(kept)), key=lambda at: kept[at].duration_us)
            )
        row = ExemplarRow(
            change_id=series.change_id,
            arm=series.arm,
            why=one.why,
            slot=slot,
            service=series.service,
            environment=series.environment,
            attempt=series.attempt,
            step=series.step,
            trace_id=told.trace_id,
            span_id=told.span_id,
            name=told.name,
            end_us=one.end_us,
            duration_us=one.duration_us,
            attributes=told.attributes,
        )
        if slot < len(kept):
            kept[slot] = row
        else:
            kept.append(row)
        if one.why == "slow" and len(kept) == MOST_OF_A_KIND:
            self._floor[one.series] = min(row.duration_us for row in kept)
        self._dirty[row.change_id, row.arm, row.why, row.slot] = row
