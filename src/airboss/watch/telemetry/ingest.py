"""Columns to counters: everything the receiver decides, without network, database or clock of its own.

One instance belongs to one thread. The same spans in the same order give the same counters, however they are cut into
requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airboss.kernel.clock import to_micros
from airboss.watch.telemetry.arms import ArmCounter, Exposed, Spans
from airboss.watch.telemetry.cells import (
    BAD,
    CURRENT,
    FAR,
    LATE,
    MINUTE_US,
    NONE,
    REFUSED,
    REQUESTS,
    STALE,
    TOTAL,
    UNKNOWN_ID,
    CellKey,
    Cells,
    MinuteKey,
)
from airboss.watch.telemetry.columns import SUBJECT_LETTERS, Columns, Origin
from airboss.watch.telemetry.exemplars import Exemplars
from airboss.watch.telemetry.exposures import ExposureTable
from airboss.watch.telemetry.model import (
    NUM_BINS,
    OTHER,
    SIGNALS,
    ActiveExposure,
    Ints,
    RampedFlag,
    Signal,
    TelemetrySettings,
)
from airboss.watch.telemetry.ports import Flush, SubjectChunk
from airboss.watch.telemetry.rules import bin_index
from airboss.watch.telemetry.subjects import Flags, SubjectSet
from airboss.watch.telemetry.tracks import Track, Tracks, spread

_US: Final = timedelta(microseconds=1)
ANY_SERVICE: Final = "*"
"""A sender bound to this may write for every service: a collector's token."""

_LONGEST_US: Final = float(2**52)
_SLACK_US: Final = 60_000_000
"""A change's subjects are kept for longer than its last bucket, lest a clock set back a little opens it again."""
_MOST_UNKNOWN: Final = 10_000
_CACHED_ORIGINS: Final = 10_000
_NOT_HEX: Final = 255
_HEX: Final = np.full(256, _NOT_HEX, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What the sender is told: items not counted, and why. Late items are told, but are not rejected."""

    rejected: int
    message: str


class _Placed(NamedTuple):
    """What a resource is: its place, the best annotation class it gives by itself, and what it is to deploys in force."""

    place: int
    best: int
    tracks: tuple[Track, ...]


class Ingest:
    """The counters of one boot of one ingester."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._cells = Cells(settings)
        self._subjects = SubjectSet(settings.subjects_per_change)
        self._loaded: set[str] = set()
        self._known: set[str] = set()
        self._asked: set[str] = set()
        self._unknown: set[str] = set()
        self._origins: dict[Origin, _Placed] = {}
        self._exemplars = Exemplars(self._cells.series)
        self._arms = ArmCounter(self._cells, self._subjects, self._exemplars)
        self._tracks = Tracks()
        self._flags: dict[tuple[int, str], dict[str, RampedFlag]] = {}
        self._ramps = self._deploys = self._new_table((), 0)

    # -- what is going on elsewhere

    def unloaded(self, rows: Iterable[ActiveExposure], *, now_us: int) -> frozenset[str]:
        """Return changes whose subjects must be loaded (`load_subjects`) before `update` may make them count."""
        return self._countable(rows, now_us) - self._loaded

    def _countable(self, rows: Iterable[ActiveExposure], now_us: int) -> frozenset[str]:
        """Return changes of which a bucket is, or may come to be, open. Of the others every span is late, so nobody is
        told apart any more, and their subjects need no room: they are most of what this process holds.
        """
        sealed_us = now_us - self._cells.change_us - self._cells.lateness_us - _SLACK_US
        return frozenset(row.change_id for row in rows if row.end is None or to_micros(row.end) > sealed_us)

    def load_subjects(self, change_id: str, chunks: Iterable[SubjectChunk]) -> None:
        """Take over the subjects an earlier boot, or another ingester, has counted."""
        number = self._cells.change_number(change_id)
        for chunk in chunks:
            marks = np.frombuffer(chunk.marks, "<u8").astype(np.uint64)
            self._subjects.add(marks, np.full(len(marks), number, np.int64))
        self._loaded.add(change_id)

    def update(self, rows: Sequence[ActiveExposure], *, known: frozenset[str], now_us: int) -> None:
        """Replace the exposures in force. `known` are those of `unknown_changes` that exist."""
        assert not self.unloaded(rows, now_us=now_us), "subjects are loaded before a change is counted"
        for gone in self._loaded - self._countable(rows, now_us):
            self._subjects.drop(self._cells.change_number(gone))
            self._loaded.discard(gone)
        told = frozenset(row.change_id for row in rows)
        self._exemplars.keep_only(told)
        self._exemplars.forget(self._cells.keep_only(told))
        self._known |= known
        self._asked |= self._unknown
        self._unknown.clear()
        if len(self._known) > _MOST_UNKNOWN or len(self._asked) > _MOST_UNKNOWN:
            self._known.clear()
            self._asked.clear()
        self._origins.clear()
        ramps = [row for row in rows if row.design == "ramp"]
        self._ramps = self._new_table(ramps, now_us)
        self._flags = {}
        for row in ramps:
            if row.flag is not None:
                answered = (self._cells.reserve(row.service, row.environment), row.flag.key)
                self._flags.setdefault(answered, {})[row.change_id] = row.flag
        deploys = [row for row in rows if row.design == "deploy"]
        self._deploys = self._new_table(deploys, now_us)
        places = [(self._cells.reserve(row.service, row.environment), row) for row in deploys]
        self._tracks.update(self._deploys, places, ended_after_us=now_us - self._settings.far_off // _US)

    def unknown_changes(self) -> frozenset[str]:
        """Return change IDs met in telemetry that are neither in flight nor asked about yet."""
        return frozenset(self._unknown)

    @property
    def is_full(self) -> bool:
        """Too much is waiting to be written: take nothing more in."""
        return len(self._cells) > self._settings.max_open_cells

    def take(self, *, source: int, at_us: int) -> Flush:
        """Return what moved since the last flush, as whole values. Follow with `confirm` or `restore`."""
        return replace(self._cells.take(source=source, at_us=at_us), exemplars=self._exemplars.take())

    def confirm(self, flush: Flush) -> None:
        """A flush is stored: forget what is sealed by it."""
        self._cells.confirm(flush)

    def restore(self, flush: Flush) -> None:
        """A flush may not be stored: everything in it goes into the next one."""
        self._cells.restore(flush)
        self._exemplars.restore(flush.exemplars)

    # -- taking in

    def accept(self, columns: Columns, *, signal: Signal, sender_service: str, received_us: int) -> Receipt:
        """Count one decoded request. Spans of other services than the sender's are refused."""
        now_us = max(received_us, self._cells.floor_us)
        minute_us = now_us // MINUTE_US * MINUTE_US
        number = SIGNALS.index(signal)
        placed = [self._place_of_origin(origin, now_us) for origin in columns.origins]
        allowed = [sender_service in (ANY_SERVICE, origin.service) for origin in columns.origins]
        refused = sum(items for items, ours in zip(columns.items, allowed, strict=True) if not ours)
        if refused:
            # Counted on the sender's own account: a stranger's name must not open a row.
            slot = self._cells.minutes.slots([MinuteKey(self._cells.place(sender_service, OTHER), number, minute_us)])
            self._cells.minutes.counts[slot, REFUSED] += refused
        if signal == "traces":
            far, late = self._accept_spans(columns, placed, allowed, now_us=now_us, minute_us=minute_us)
        else:
            far = late = 0
            self._accept_items(columns, placed, allowed, number, minute_us)
        self._exemplars.settle(columns.details, now_us)
        return _receipt(refused, far, late, sender_service)

    def _accept_items(
        self, columns: Columns, placed: list[_Placed], allowed: list[bool], signal: int, minute_us: int
    ) -> None:
        for (place, best, _), items, ours in zip(placed, columns.items, allowed, strict=True):
            if ours and items:
                slot = self._cells.minutes.slots([MinuteKey(place, signal, minute_us)])
                self._cells.minutes.counts[slot, best] += items
                self._cells.minutes.counts[slot, TOTAL] += items

    def _accept_spans(
        self, columns: Columns, placed: list[_Placed], allowed: list[bool], *, now_us: int, minute_us: int
    ) -> tuple[int, int]:
        """Count root spans; return how many were far off and how many late."""
        if not columns.resource:
            return 0, 0
        resource = np.array(columns.resource, np.int64)
        start_ns, end_ns = np.array(columns.start_ns, np.uint64), np.array(columns.end_ns, np.uint64)
        end_us = (end_ns // np.uint64(1000)).astype(np.int64)
        duration_us = np.where(end_ns > start_ns, end_ns - start_ns, np.uint64(0)) / 1000.0
        ours = np.array(allowed, np.bool_)[resource]
        far = (end_us < now_us - self._settings.far_off // _US) | (end_us > now_us + self._settings.future // _US)
        bucket_us = end_us // self._cells.plain_us * self._cells.plain_us
        late = bucket_us + self._cells.plain_us + self._cells.lateness_us <= now_us
        sane = ours & ~far
        spans = Spans(
            place=np.array([of.place for of in placed], np.int64)[resource],
            end_us=end_us,
            duration_us=np.minimum(duration_us, _LONGEST_US).astype(np.int64),
            bins=bin_index(duration_us),
            bad=np.array(columns.bad, np.bool_),
            sane=sane,
            counted=sane & ~late,
        )
        best = np.array([of.best for of in placed], np.int64)[resource]
        best[columns.malformed] = np.maximum(best[columns.malformed], UNKNOWN_ID)
        if columns.evaluations and self._flags:
            self._expose_evaluated(columns, spans.place)
        if columns.exposed:
            self._accept_exposures(columns, spans, best, now_us)
        if any(of.tracks for of in placed):
            self._accept_tracks(placed, spans, resource, now_us)
        self._add_plain(spans, bucket_us)
        self._add_coverage(spans, best, ours & far, sane & late, now_us, minute_us)
        return int((ours & far).sum()), int((sane & late).sum())

    def _add_plain(self, spans: Spans, bucket_us: Ints) -> None:
        rows = np.flatnonzero(spans.counted)
        if not len(rows):
            return
        first_us = int(bucket_us[rows].min())
        codes = (spans.place[rows] << 20) | ((bucket_us[rows] - first_us) // self._cells.plain_us)
        unique, inverse = np.unique(codes, return_inverse=True)
        keys = [
            CellKey(self._cells.plain_series(code >> 20), first_us + (code & 0xFFFFF) * self._cells.plain_us)
            for code in unique.tolist()
        ]
        slots = self._cells.plain.slots(keys)[inverse]
        plane = self._cells.plain
        np.add.at(plane.counts.reshape(-1), slots * 2 + REQUESTS, 1)
        bad = spans.bad[rows]
        np.add.at(plane.counts.reshape(-1), slots[bad] * 2 + BAD, 1)
        np.add.at(plane.detail.reshape(-1), slots * NUM_BINS + spans.bins[rows], 1)
        np.maximum.at(plane.tops.reshape(-1), slots, spans.end_us[rows])

    def _add_coverage(self, spans: Spans, best: Ints, far: Flags, late: Flags, now_us: int, minute_us: int) -> None:
        rows = np.flatnonzero(spans.sane | far)
        if not len(rows):
            return
        unique, inverse = np.unique(spans.place[rows], return_inverse=True)
        slots = self._cells.minutes.slots([MinuteKey(place, 0, minute_us) for place in unique.tolist()])[inverse]
        plane = self._cells.minutes
        counts = plane.counts.reshape(-1)
        np.add.at(counts, slots * 8 + best[rows], 1)
        np.add.at(counts, slots * 8 + TOTAL, 1)
        np.add.at(counts, slots[late[rows]] * 8 + LATE, 1)
        np.add.at(counts, slots[far[rows]] * 8 + FAR, 1)
        sane = spans.sane[rows]
        delay_us = np.maximum(now_us - spans.end_us[rows][sane], 0)
        np.add.at(plane.detail.reshape(-1), slots[sane] * NUM_BINS + bin_index(delay_us.astype(np.float64)), 1)
        np.maximum.at(plane.tops.reshape(-1), slots[sane] * 2, spans.end_us[rows][sane])
        np.maximum.at(plane.tops.reshape(-1), slots[sane] * 2 + 1, delay_us)

    # -- arms

    def _expose_evaluated(self, columns: Columns, places: Ints) -> None:
        """Give root spans the elements that follow from what their flags answered."""
        for row, evaluation in columns.evaluations:
            for change_id, flag in self._flags.get((int(places[row]), evaluation.flag), {}).items():
                if evaluation.variant in flag.canary_variants:
                    arm = 0
                elif evaluation.variant == flag.baseline_variant:
                    arm = 1
                else:
                    continue
                columns.expose_subject(row, change_id, arm, evaluation.key)

    def _accept_exposures(self, columns: Columns, spans: Spans, best: Ints, now_us: int) -> None:
        """Count every exposure element whose change was in flight here when its span ended; raise `best` by what was
        found.
        """
        row = np.array(columns.exposed, np.int64)
        number = self._ramps.changes.get
        change = np.array([number(name, -1) for name in columns.changes], np.int64)
        if (change < 0).any():
            classes = {name: self._class_of_absent(name.decode("utf-8", "replace")) for name in set(columns.changes)}
            absent = np.array([classes[name] for name in columns.changes], np.int64)
            np.maximum.at(best, row[change < 0], absent[change < 0])
        subject, is_hex = _subjects(columns.subjects)
        fit = is_hex & (change >= 0) & _first_of_pair(row, change)
        np.maximum.at(best, row[~fit & (change >= 0)], UNKNOWN_ID)
        force = self._ramps.match(change, spans.place[row], spans.end_us[row])
        np.maximum.at(best, row[fit], np.where(force[fit] >= 0, CURRENT, STALE))
        exposed = Exposed(
            row=row,
            force=force,
            arm=np.array(columns.arms, np.int64),
            group=np.array(columns.groups, np.int64),
            subject=subject,
        )
        self._arms.add(self._ramps, spans, exposed.only(fit & (force >= 0) & spans.sane[row]), now_us)

    def _accept_tracks(self, placed: Sequence[_Placed], spans: Spans, resource: Ints, now_us: int) -> None:
        """Count every span of a place where a deploy was in force when it ended, in the arm its process is of."""
        row, change, arm, pod = spread([of.tracks for of in placed], resource)
        force = self._deploys.match(change, spans.place[row], spans.end_us[row])
        exposed = Exposed(row=row, force=force, arm=arm, group=pod, subject=None)
        self._arms.add(self._deploys, spans, exposed.only((force >= 0) & spans.sane[row]), now_us)

    def _place_of_origin(self, origin: Origin, now_us: int) -> _Placed:
        known = self._origins.get(origin)
        if known is None:
            place = self._cells.place(origin.service, origin.environment)
            best = NONE
            for change_id in origin.change_ids:
                in_flight = any(table.current(change_id, place, now_us) for table in (self._ramps, self._deploys))
                best = max(best, CURRENT if in_flight else self._class_of_absent(change_id))
            if len(self._origins) >= _CACHED_ORIGINS:
                self._origins.clear()
            known = self._origins[origin] = _Placed(place, best, self._tracks.of(origin, place))
        return known

    def _class_of_absent(self, change_id: str) -> int:
        name = change_id.encode("utf-8", "replace")
        if change_id in self._known or name in self._ramps.changes or name in self._deploys.changes:
            return STALE
        if change_id not in self._asked and len(self._unknown) < _MOST_UNKNOWN:
            self._unknown.add(change_id)
        return UNKNOWN_ID

    def _new_table(self, rows: Sequence[ActiveExposure], now_us: int) -> ExposureTable:
        return ExposureTable(
            rows,
            now_us=now_us,
            place_of=self._cells.reserve,
            change_number=self._cells.change_number,
            series_number=self._cells.series_number,
        )


def _subjects(letters: list[bytes]) -> tuple[NDArray[np.uint64], Flags]:
    """Return subjects as numbers, and which of them were lower-case hex."""
    digits = _HEX[np.frombuffer(b"".join(letters), np.uint8)].reshape(-1, SUBJECT_LETTERS)
    packed = (digits[:, 0::2] << 4) | (digits[:, 1::2] & 0xF)
    return np.ascontiguousarray(packed).view(">u8").reshape(-1).astype(np.uint64), (digits != _NOT_HEX).all(axis=1)


def _first_of_pair(row: Ints, change: Ints) -> Flags:
    """Say which elements are the first of their span for their change; a second one is a mistake."""
    if np.all(row[1:] > row[:-1]):
        return np.ones(len(row), np.bool_)
    _, first = np.unique((row << 20) | (change + 1), return_index=True)
    keep = np.zeros(len(row), np.bool_)
    keep[first] = True
    return keep


def _receipt(refused: int, far: int, late: int, service: str) -> Receipt:
    told = []
    if refused:
        told.append(f"{refused} items refused: this token may only write telemetry of service.name {service!r}")
    if far:
        told.append(f"{far} spans refused: they end more than the allowed time from now; check the sender's clock")
    if late:
        told.append(f"{late} spans came after their bucket was sealed and were counted as late only")
    return Receipt(rejected=refused + far, message="; ".join(told))
