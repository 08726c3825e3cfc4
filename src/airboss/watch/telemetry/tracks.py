"""The tracks of a deploy: which processes run the change, and which are what it is compared with.

A process says by its resource which change put it there (`airboss.change.id`, `deployment.id`). While a deploy is in force,
those that name it are its canary, and every other process of the same service and environment is its baseline; except
one that another deploy in force put there: its harm is not to be taken for the baseline's.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from airboss.kernel.clock import to_micros
from airboss.watch.telemetry.columns import Origin
from airboss.watch.telemetry.exposures import ExposureTable
from airboss.watch.telemetry.model import NUM_GROUPS, ActiveExposure, Ints

NO_POD: Final = -1


class Track(NamedTuple):
    """What one process is to one deploy: the number of the change in the table, the arm, and the pod's number."""

    change: int
    arm: int
    pod: int


class Pods:
    """Numbers from 0 to 99 for the pods of one arm, each its own while there are no more than a hundred.

    A pod gets the number its name hashes to, or the next free one, so receivers mostly agree on it.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._taken: set[int] = set()

    def number(self, instance: str) -> int:
        """Return the number of a pod, `NO_POD` of one without a name."""
        if not instance:
            return NO_POD
        known = self._numbers.get(instance)
        if known is not None:
            return known
        wanted = zlib.crc32(instance.encode("utf-8", "replace")) % NUM_GROUPS
        if len(self._taken) == NUM_GROUPS:
            return wanted
        while wanted in self._taken:
            wanted = (wanted + 1) % NUM_GROUPS
        self._taken.add(wanted)
        self._numbers[instance] = wanted
        return wanted


class Tracks:
    """The deploys in force by place, and the pods seen of each."""

    def __init__(self) -> None:
        self._at: dict[int, list[int]] = {}
        self._open: dict[int, set[int]] = {}
        self._stages: dict[tuple[int, int], tuple[int, int]] = {}
        self._names: list[str] = []
        self._pods: dict[tuple[str, int, int, tuple[int, int]], Pods] = {}

    def update(self, table: ExposureTable, rows: Sequence[tuple[int, ActiveExposure]], *, ended_after_us: int) -> None:
        """Replace the deploys in force: pairs of place and row. Those that ended before are no longer looked for."""
        self._at, self._open, self._stages, self._names = {}, {}, {}, table.names
        for place, row in sorted(rows, key=lambda pair: pair[1].start):
            if row.end is not None and to_micros(row.end) < ended_after_us:
                continue
            change = table.changes[row.change_id.encode()]
            here = self._at.setdefault(place, [])
            if change not in here:
                here.append(change)
            self._stages[place, change] = (row.attempt, row.step)
            if row.end is None:
                self._open.setdefault(place, set()).add(change)
        kept = {(self._names[change], place, stage) for (place, change), stage in self._stages.items()}
        self._pods = {key: pods for key, pods in self._pods.items() if (key[0], key[1], key[3]) in kept}

    def of(self, origin: Origin, place: int) -> tuple[Track, ...]:
        """Return what a process is to each deploy in force at its place."""
        here = self._at.get(place)
        if not here:
            return ()
        canary_of = {change for change in here if self._names[change] in origin.change_ids}
        found = []
        for change in here:
            arm = 0 if change in canary_of else 1
            if arm == 1 and canary_of & self._open.get(place, set()):
                continue
            key = (self._names[change], place, arm, self._stages[place, change])
            pods = self._pods.get(key)
            if pods is None:
                pods = self._pods[key] = Pods()
            found.append(Track(change, arm, pods.number(origin.instance)))
        return tuple(found)


def spread(tracks: Sequence[tuple[Track, ...]], resource: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return (row, change, arm, pod) of every track of every root span: `tracks` by resource, `resource` by span."""
    parts = []
    for rank in range(max(map(len, tracks))):
        nothing = Track(-1, 1, NO_POD)
        table = np.array([of[rank] if rank < len(of) else nothing for of in tracks], np.int64)
        rows = np.flatnonzero(table[resource, 0] >= 0)
        parts.append(np.column_stack([rows, table[resource[rows]]]))
    row, change, arm, pod = np.concatenate(parts).T
    return row, change, arm, pod
