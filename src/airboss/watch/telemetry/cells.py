"""The open cells of one boot: names to numbers within limits, and cells to the rows of a flush."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airboss.watch.telemetry.model import (
    GROUP_FIELDS,
    NUM_BINS,
    NUM_GROUPS,
    OTHER,
    SIGNALS,
    Ints,
    TelemetrySettings,
)
from airboss.watch.telemetry.planes import Plane
from airboss.watch.telemetry.ports import BucketRow, CoverageRow, Flush, Series, SubjectChunk

MINUTE_US: Final = 60_000_000
DETAIL_SIZE: Final = 3 * NUM_BINS + NUM_GROUPS * len(GROUP_FIELDS)
"""Of an arm's cell: hist, first_hist, subjects_hist, groups."""
GROUPS_AT: Final = 3 * NUM_BINS

# Columns of the counts of arms (plain cells have the first two).
REQUESTS, BAD, FIRST_SEEN, FIRST_BAD, SUBJECTS, SUBJECTS_BAD, SATURATED = range(7)
# Columns of the counts of minutes; the first four are annotation classes, better ones greater.
NONE, UNKNOWN_ID, STALE, CURRENT, TOTAL, LATE, FAR, REFUSED = range(8)

_US: Final = timedelta(microseconds=1)


class CellKey(NamedTuple):
    """Which bucket of which series."""

    series: int
    start_us: int


class PodKey(NamedTuple):
    """Which pod in which bucket of which series."""

    series: int
    start_us: int
    pod: int


class MinuteKey(NamedTuple):
    """Which minute of which place and signal."""

    place: int
    signal: int
    start_us: int


class Cells:
    """Open buckets, and what has to be written of them."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self.lateness_us = settings.lateness // _US
        self.plain_us = settings.plain_width // _US
        self.change_us = settings.change_width // _US
        self._places: dict[tuple[str, str], int] = {}
        self._place_names: list[tuple[str, str]] = []
        self._environments: dict[str, int] = {}
        self._overflow = self._new_place(OTHER, OTHER)
        self._series: dict[Series, int] = {}
        self._series_list: list[Series] = []
        self._free_series: list[int] = []
        self._change_numbers: dict[str, int] = {}
        self._next_change = 0
        self._unsent: list[tuple[Ints, NDArray[np.uint64], NDArray[np.uint64]]] = []
        self._sequence = 0
        self.floor_us = 0
        """No point is taken in as if received before this: what a flush has sealed stays sealed."""
        self.plain: Plane[CellKey] = Plane(counts=2, tops=1, detail=NUM_BINS)
        self.arms: Plane[CellKey] = Plane(counts=7, tops=1, detail=DETAIL_SIZE)
        self.pods: Plane[PodKey] = Plane(counts=0, detail=NUM_BINS)
        """Durations of the pods of deploys, one cell for each that served a request: a cell of `arms` has no room for a
        hundred histograms, and a ramp has no pods."""
        self.late: Plane[CellKey] = Plane(counts=1)
        self.minutes: Plane[MinuteKey] = Plane(counts=8, tops=2, detail=NUM_BINS)

    def __len__(self) -> int:
        return len(self.plain) + len(self.arms) + len(self.pods) + len(self.late) + len(self.minutes)

    def remember(self, owners: Ints, scopes: NDArray[np.uint64], marks: NDArray[np.uint64]) -> None:
        """Note new subject marks for the next flush."""
        self._unsent.append((owners, scopes, marks))

    def take(self, *, source: int, at_us: int) -> Flush:
        """Return what moved since the last flush, as whole values. Follow with `confirm` or `restore`."""
        # Later than any before, also under a clock that was set back: that a flush was made can be told by its time.
        self.floor_us = max(self.floor_us + 1, at_us)
        self._sequence += 1
        buckets = [self._plain_row(key, slot) for key, slot in self.plain.dirty()]
        pods = self._pods_by_cell()
        buckets += [self._arm_row(key, slot, pods.get(key)) for key, slot in self.arms.dirty()]
        buckets += [
            BucketRow(
                series=self._series_list[key.series],
                width_us=self.change_us,
                start_us=key.start_us,
                requests=int(self.late.counts[slot, 0]),
                bad=0,
            )
            for key, slot in self.late.dirty()
        ]
        unsent, self._unsent = self._unsent, []
        return Flush(
            source=source,
            sequence=self._sequence,
            at_us=self.floor_us,
            buckets=buckets,
            coverage=[self._minute_row(key, slot) for key, slot in self.minutes.dirty()],
            subjects=self._chunks(unsent),
        )

    def confirm(self, flush: Flush) -> None:
        """A flush is stored: forget what is sealed by it."""
        at_us = flush.at_us
        self.plain.release(lambda key: key.start_us + self.plain_us + self.lateness_us <= at_us)
        self.arms.release(lambda key: key.start_us + self.change_us + self.lateness_us <= at_us)
        self.pods.release(lambda key: key.start_us + self.change_us + self.lateness_us <= at_us)
        horizon_us = at_us - self._settings.far_off // _US - MINUTE_US
        self.late.release(lambda key: key.start_us < horizon_us)
        self.minutes.release(lambda key: key.start_us + MINUTE_US <= at_us)

    def restore(self, flush: Flush) -> None:
        """A flush may not be stored: everything in it goes into the next one."""
        for row in flush.buckets:
            key = CellKey(self._series[row.series], row.start_us)
            for plane in (self.plain, self.arms, self.late):
                plane.soil([key])
        self.minutes.soil(
            [
                MinuteKey(self.place(row.service, row.environment), SIGNALS.index(row.signal), row.start_us)
                for row in flush.coverage
            ]
        )
        for chunk in flush.subjects:
            marks = np.frombuffer(chunk.marks, "<u8").astype(np.uint64)
            owner = np.full(len(marks), self.change_number(chunk.change_id), np.int64)
            self._unsent.append((owner, np.full(len(marks), chunk.scope, np.uint64), marks))

    def _chunks(self, unsent: list[tuple[Ints, NDArray[np.uint64], NDArray[np.uint64]]]) -> list[SubjectChunk]:
        if not unsent:
            return []
        owners, scopes, marks = (np.concatenate(parts) for parts in zip(*unsent, strict=True))
        names = {number: name for name, number in self._change_numbers.items()}
        chunks = []
        for scope in np.unique(scopes):
            ours = scopes == scope
            data = marks[ours].astype("<u8").tobytes()
            chunks.append(SubjectChunk(change_id=names[int(owners[ours][0])], scope=int(scope), marks=data))
        return chunks

    def _plain_row(self, key: CellKey, slot: int) -> BucketRow:
        counts = self.plain.counts[slot].tolist()
        return BucketRow(
            series=self._series_list[key.series],
            width_us=self.plain_us,
            start_us=key.start_us,
            requests=counts[REQUESTS],
            bad=counts[BAD],
            newest_us=int(self.plain.tops[slot, 0]),
            detail=self.plain.detail[slot].copy(),
        )

    def _pods_by_cell(self) -> dict[CellKey, Ints]:
        """Return the durations by pod of every open bucket that has any, and mark them clean: a row is a whole value, so
        it brings all pods of its bucket, whichever of them moved.
        """
        for _ in self.pods.dirty():
            pass
        held = sorted(self.pods.items())
        if not held:
            return {}
        cells = [CellKey(key.series, key.start_us) for key, _ in held]
        found = self.pods.detail[[slot for _, slot in held]]
        place, bins = np.nonzero(found)
        pods = np.array([key.pod for key, _ in held], np.int64)
        pairs = np.column_stack([pods[place] * NUM_BINS + bins, found[place, bins]])
        firsts = [number for number, cell in enumerate(cells) if number == 0 or cell != cells[number - 1]]
        parts = np.split(pairs, np.searchsorted(place, firsts[1:]))
        return {cells[first]: part for first, part in zip(firsts, parts, strict=True)}

    def _arm_row(self, key: CellKey, slot: int, pods: Ints | None) -> BucketRow:
        counts = self.arms.counts[slot].tolist()
        return BucketRow(
            series=self._series_list[key.series],
            width_us=self.change_us,
            start_us=key.start_us,
            requests=counts[REQUESTS],
            bad=counts[BAD],
            first_seen=counts[FIRST_SEEN],
            first_bad=counts[FIRST_BAD],
            subjects=counts[SUBJECTS],
            subjects_bad=counts[SUBJECTS_BAD],
            saturated=bool(counts[SATURATED]),
            newest_us=int(self.arms.tops[slot, 0]),
            detail=self.arms.detail[slot].copy(),
            pods=pods,
        )

    def _minute_row(self, key: MinuteKey, slot: int) -> CoverageRow:
        counts = self.minutes.counts[slot].tolist()
        service, environment = self._place_names[key.place]
        return CoverageRow(
            start_us=key.start_us,
            service=service,
            environment=environment,
            signal=SIGNALS[key.signal],
            total=counts[TOTAL],
            current=counts[CURRENT],
            stale=counts[STALE],
            unknown=counts[UNKNOWN_ID],
            late=counts[LATE],
            far_off=counts[FAR],
            refused=counts[REFUSED],
            newest_us=int(self.minutes.tops[slot, 0]),
            max_delay_us=int(self.minutes.tops[slot, 1]),
            delay_hist=self.minutes.detail[slot].copy(),
        )

    def place(self, service: str, environment: str) -> int:
        """Return the number of a place; past the limits that of `other`."""
        found = self._places.get((service, environment))
        if found is not None:
            return found
        if len(self._places) >= self._settings.max_services:
            return self._overflow
        if self._environments.get(service, 0) >= self._settings.max_environments_per_service:
            rest = self._places.get((service, OTHER))
            return self._new_place(service, OTHER) if rest is None else rest
        return self._new_place(service, environment)

    def reserve(self, service: str, environment: str) -> int:
        """Return the number of a place that is never counted under `other`: one where a change is in flight.

        What many services send must not be taken for the traffic of one.
        """
        found = self._places.get((service, environment))
        return self._new_place(service, environment) if found is None else found

    def _new_place(self, service: str, environment: str) -> int:
        number = self._places[service, environment] = len(self._place_names)
        self._place_names.append((service, environment))
        self._environments[service] = self._environments.get(service, 0) + 1
        return number

    def plain_series(self, place: int) -> int:
        service, environment = self._place_names[place]
        return self.series_number(Series(service=service, environment=environment))

    def series_number(self, series: Series) -> int:
        number = self._series.get(series)
        if number is not None:
            return number
        if self._free_series:
            number = self._free_series.pop()
            self._series_list[number] = series
        else:
            number = len(self._series_list)
            self._series_list.append(series)
        self._series[series] = number
        return number

    def series(self, number: int) -> Series:
        """Return the series of a number."""
        return self._series_list[number]

    def change_number(self, change_id: str) -> int:
        """Return the number a change's subjects are owned by. It is never another's, not even when it is forgotten."""
        number = self._change_numbers.get(change_id)
        if number is None:
            number = self._change_numbers[change_id] = self._next_change
            self._next_change += 1
        return number

    def keep_only(self, changes: frozenset[str]) -> list[int]:
        """Forget what other changes are called here, but those of which something is still open or to be written. Return the
        numbers of series that are free now, and may be another's next.
        """
        gone = self._change_numbers.keys() - changes
        if not gone:
            return []
        numbers = {key.series for plane in (self.arms, self.pods, self.late) for key in plane.held()}
        in_use = {self._series_list[number].change_id for number in numbers}
        unsent = {int(owner) for owners, _, _ in self._unsent for owner in np.unique(owners)}
        gone = {name for name in gone - in_use if self._change_numbers[name] not in unsent}
        for name in gone:
            del self._change_numbers[name]
        freed = [number for series, number in self._series.items() if series.change_id in gone]
        for number in freed:
            del self._series[self._series_list[number]]
        self._free_series += freed
        return freed
