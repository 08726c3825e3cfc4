"""The exposures in force, laid out so that a whole request is matched against them with one search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airboss.kernel.clock import to_micros
from airboss.watch.telemetry.model import ARMS, ActiveExposure, Ints
from airboss.watch.telemetry.ports import Series
from airboss.watch.telemetry.subjects import scope_of

_TIME_BITS: Final = 44
"""Of a search key: 2^44 µs are 203 days."""
_BEFORE_US: Final = 100 * 86_400_000_000
_FOREVER: Final = 1 << 62


class ExposureTable:
    """Rows sorted by (change, service, environment) and start; row i has `end_us`, arms' series, and the scopes in which
    its subjects are counted once.
    """

    def __init__(
        self,
        rows: Sequence[ActiveExposure],
        *,
        now_us: int,
        place_of: Callable[[str, str], int],
        change_number: Callable[[str], int],
        series_number: Callable[[Series], int],
    ) -> None:
        self._base_us = now_us - _BEFORE_US
        names = sorted({row.change_id for row in rows})
        self.changes: dict[bytes, int] = {name.encode(): number for number, name in enumerate(names)}
        self.names = names
        keyed = sorted(
            ((self.changes[row.change_id.encode()], place_of(row.service, row.environment), row) for row in rows),
            key=lambda entry: (entry[0], entry[1], entry[2].start, entry[2].attempt, entry[2].step),
        )
        pairs = {pair: number for number, pair in enumerate(sorted({(c, p) for c, p, _ in keyed}))}
        places = max((place for _, place, _ in keyed), default=-1) + 1
        self._pair = np.full((len(names) + 1, places + 1), -1, np.int64)
        for (change, place), number in pairs.items():
            self._pair[change, place] = number
        self._row_pair: Ints = np.array([pairs[c, p] for c, p, _ in keyed], np.int64)
        starts = np.array([to_micros(row.start) for _, _, row in keyed], np.int64)
        self._keys = self._key(self._row_pair, starts)
        self.end_us: Ints = np.array(
            [_FOREVER if row.end is None else to_micros(row.end) for _, _, row in keyed], np.int64
        )
        self.series: Ints = np.array(
            [[series_number(arm_series(row, arm)) for arm in ARMS] for _, _, row in keyed], np.int64
        ).reshape(-1, 2)
        self.late_series: Ints = np.array([series_number(late_series(row)) for _, _, row in keyed], np.int64)
        self.change_number: Ints = np.array([change_number(row.change_id) for _, _, row in keyed], np.int64)
        scopes = [scopes_of(row) for _, _, row in keyed]
        self.scopes: NDArray[np.uint64] = np.array(scopes, np.uint64).reshape(-1, 3)

    def match(self, changes: Ints, places: Ints, end_us: Ints) -> Ints:
        """Return for each (change, place, time) the row that was in force, −1 for none. `changes` may hold −1."""
        if not len(self._keys):
            return np.full(len(changes), -1, np.int64)
        pair = self._pair[changes, np.minimum(places, self._pair.shape[1] - 1)]
        row = np.searchsorted(self._keys, self._key(pair, end_us), side="right") - 1
        fits = (pair >= 0) & (row >= 0) & (self._row_pair[row] == pair) & (end_us < self.end_us[row])
        return np.where(fits, row, -1)

    def current(self, change_id: str, place: int, at_us: int) -> bool:
        """Whether a change is in flight at a place at a time."""
        number = self.changes.get(change_id.encode("utf-8", "replace"))
        if number is None:
            return False
        one = np.array([number]), np.array([place]), np.array([at_us])
        return bool(self.match(*one)[0] >= 0)

    def _key(self, pair: Ints, at_us: Ints) -> Ints:
        return (pair << _TIME_BITS) | np.clip(at_us - self._base_us, 0, (1 << _TIME_BITS) - 1)


def arm_series(row: ActiveExposure, arm: str) -> Series:
    """Return the series of one arm of the step a row belongs to."""
    return Series(
        service=row.service,
        environment=row.environment,
        change_id=row.change_id,
        attempt=row.attempt,
        step=row.step,
        arm=arm,
    )


def late_series(row: ActiveExposure) -> Series:
    """Return the series that counts what came too late for its bucket."""
    return Series(service=row.service, environment=row.environment, change_id=row.change_id, arm="late")


def scopes_of(row: ActiveExposure) -> tuple[int, int, int]:
    """Return the scopes of: seen in this attempt, bad in this attempt, seen in this step."""
    attempt = (row.change_id, row.service, row.environment, row.attempt)
    return scope_of(*attempt, "seen"), scope_of(*attempt, "bad"), scope_of(*attempt, "step", row.step)
