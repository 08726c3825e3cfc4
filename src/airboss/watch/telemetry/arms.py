"""Counts of both arms of every change in flight: the part of the ingest that two sources of exposures share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airboss.watch.telemetry.cells import (
    BAD,
    DETAIL_SIZE,
    FIRST_BAD,
    FIRST_SEEN,
    GROUPS_AT,
    REQUESTS,
    SATURATED,
    SUBJECTS,
    SUBJECTS_BAD,
    CellKey,
    Cells,
    PodKey,
)
from airboss.watch.telemetry.exemplars import Exemplars
from airboss.watch.telemetry.exposures import ExposureTable
from airboss.watch.telemetry.model import GROUP_FIELDS, NUM_BINS, NUM_GROUPS, Ints
from airboss.watch.telemetry.subjects import Flags, Marks, SubjectSet, marks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Root spans as arrays; `counted` excludes what is refused, far off or late for its plain bucket."""

    place: Ints
    end_us: Ints
    duration_us: Ints
    bins: Ints
    bad: Flags
    sane: Flags
    counted: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """Spans that were in an arm. `row` names the span, `force` the row of the table that was in force when it ended.

    `arm` is 0 for the canary; `group` 0 to 99, −1 for none; `subject` is None where nobody is told apart.
    """

    row: Ints
    force: Ints
    arm: Ints
    group: Ints
    subject: NDArray[np.uint64] | None

    def only(self, which: Flags) -> Exposed:
        """Return some of them."""
        subject = None if self.subject is None else self.subject[which]
        return Exposed(
            row=self.row[which],
            force=self.force[which],
            arm=self.arm[which],
            group=self.group[which],
            subject=subject,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Firsts:
    """Which spans were their subject's first of an attempt, first bad one, first of a step; `full` could not be told."""

    seen: Flags
    bad: Flags
    step: Flags
    full: Flags


class ArmCounter:
    """Adds exposed spans to the open cells of their arms."""

    def __init__(self, cells: Cells, subjects: SubjectSet, exemplars: Exemplars) -> None:
        self._cells = cells
        self._subjects = subjects
        self._exemplars = exemplars

    def add(self, table: ExposureTable, spans: Spans, exposed: Exposed, now_us: int) -> None:
        """Count exposed spans; those that come after their bucket was sealed are counted as late only."""
        bucket_us = spans.end_us[exposed.row] // self._cells.change_us * self._cells.change_us
        late = bucket_us + self._cells.change_us + self._cells.lateness_us <= now_us
        if late.any():
            self._add_late(table.late_series[exposed.force[late]], bucket_us[late])
            exposed, bucket_us = exposed.only(~late), bucket_us[~late]
        if len(exposed.row):
            self._add_counts(table, spans, exposed, bucket_us)
            took = spans.bad[exposed.row], spans.duration_us[exposed.row], spans.end_us[exposed.row]
            self._exemplars.look(table, exposed.force, exposed.arm, exposed.row, took)

    def _add_late(self, series: Ints, bucket_us: Ints) -> None:
        keys = [CellKey(number, start) for number, start in zip(series.tolist(), bucket_us.tolist(), strict=True)]
        slots = self._cells.late.slots(keys)
        np.add.at(self._cells.late.counts.reshape(-1), slots, 1)

    def _add_counts(self, table: ExposureTable, spans: Spans, exposed: Exposed, bucket_us: Ints) -> None:
        first_us = int(bucket_us.min())
        codes = (table.series[exposed.force, exposed.arm] << 20) | ((bucket_us - first_us) // self._cells.change_us)
        unique, inverse = np.unique(codes, return_inverse=True)
        keys = [CellKey(code >> 20, first_us + (code & 0xFFFFF) * self._cells.change_us) for code in unique.tolist()]
        slots = self._cells.arms.slots(keys)[inverse]
        bad, bins = spans.bad[exposed.row], spans.bins[exposed.row]
        every = np.ones(len(bad), np.bool_)
        which = [(every, REQUESTS), (bad, BAD)]
        parts = [(every, 0)]
        plane = self._cells.arms
        counts, detail = plane.counts.reshape(-1), plane.detail.reshape(-1)
        if exposed.subject is not None:
            firsts = self._firsts(table, exposed.force, exposed.subject, bad)
            which += [
                (firsts.seen, FIRST_SEEN),
                (firsts.bad, FIRST_BAD),
                (firsts.step, SUBJECTS),
                (firsts.step & bad, SUBJECTS_BAD),
            ]
            parts += [(firsts.seen, 1), (firsts.step, 2)]
            counts[slots[firsts.full] * 7 + SATURATED] = 1
        grouped = slots * DETAIL_SIZE + GROUPS_AT + exposed.group * len(GROUP_FIELDS)
        named = exposed.group >= 0
        if exposed.subject is None and named.any():
            self._add_pods(keys, inverse[named], exposed.group[named], bins[named])
        for mask, column in which:
            np.add.at(counts, slots[mask] * 7 + column, 1)
            np.add.at(detail, grouped[mask & named] + column, 1)
        for mask, part in parts:
            np.add.at(detail, slots[mask] * DETAIL_SIZE + part * NUM_BINS + bins[mask], 1)
        np.maximum.at(plane.tops.reshape(-1), slots, spans.end_us[exposed.row])

    def _add_pods(self, keys: list[CellKey], cell: Ints, pod: Ints, bins: Ints) -> None:
        """Count durations by pod: of each span the number of its bucket in `keys`, its pod and its bin."""
        unique, inverse = np.unique(cell * NUM_GROUPS + pod, return_inverse=True)
        places = [(keys[code // NUM_GROUPS], code % NUM_GROUPS) for code in unique.tolist()]
        slots = self._cells.pods.slots([PodKey(key.series, key.start_us, number) for key, number in places])[inverse]
        np.add.at(self._cells.pods.detail.reshape(-1), slots * NUM_BINS + bins, 1)

    def _firsts(self, table: ExposureTable, force: Ints, subject: Marks, bad: Flags) -> _Firsts:
        scopes = table.scopes[force]
        marks = np.concatenate(
            [
                marks_of(subject, scopes[:, 0]),
                marks_of(subject, scopes[:, 2]),
                marks_of(subject[bad], scopes[bad, 1]),
            ]
        )
        owners = table.change_number[force]
        all_owners = np.concatenate([owners, owners, owners[bad]])
        new, refused = self._subjects.add(marks, all_owners)
        if new.any():
            all_scopes = np.concatenate([scopes[:, 0], scopes[:, 2], scopes[bad, 1]])
            self._cells.remember(all_owners[new], all_scopes[new], marks[new])
        count = len(force)
        first_bad = np.zeros(count, np.bool_)
        first_bad[bad] = new[2 * count :]
        full = refused[:count] | refused[count : 2 * count]
        full[bad] |= refused[2 * count :]
        return _Firsts(seen=new[:count], bad=first_bad, step=new[count : 2 * count], full=full)
