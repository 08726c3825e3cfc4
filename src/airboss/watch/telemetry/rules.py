"""Pure rules: duration bins, and which buckets are blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airboss.watch.telemetry.model import NUM_BINS, Ints
from airboss.watch.telemetry.ports import Boot

BINS_PER_OCTAVE: Final = 8


def bin_index(micros: NDArray[np.float64]) -> Ints:
    """Return the duration bin of each value: clip(floor(8·log2(max(µs, 1))), 0, 287)."""
    scaled = np.log2(np.maximum(micros, 1.0))
    scaled *= BINS_PER_OCTAVE
    return np.minimum(scaled.astype(np.int64), NUM_BINS - 1)


def bin_lower_us(index: int) -> float:
    """Return where bin `index` starts, in microseconds; bin 0 also holds everything below 1 µs."""
    return 2.0 ** (index / BINS_PER_OCTAVE) if index else 0.0


def quantile_us(hist: Ints, share: float) -> float | None:
    """Return the `share`-quantile as the geometric middle of its bin, None for an empty histogram (± 4.4 %)."""
    total = int(hist.sum())
    if not total:
        return None
    index = int(np.searchsorted(np.cumsum(hist), share * total))
    return float(2.0 ** ((min(index, NUM_BINS - 1) + 0.5) / BINS_PER_OCTAVE))


class Fate(Enum):
    """What becomes of a bucket."""

    WHOLE = "whole"
    BROKEN = "broken"
    """An ingester started or died in it, or none was there."""
    OPEN = "open"
    """Not sealed yet; look again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """When a bucket is final, and when an ingester counts as dead. Microseconds."""

    lateness_us: int
    dead_after_us: int
    flush_us: int


def fate(start_us: int, end_us: int, boots: Sequence[Boot], *, now_us: int, sealing: Sealing) -> Fate:
    """Say whether the bucket [start, end) is whole: at least one ingester lived through it to its sealing, and none
    started in it or died meanwhile.

    A boot has written the final value of a bucket once its last flush was taken at or after the sealing. Between its last
    flush and its death an ingester may have counted what is lost, so it dies somewhere in [last flush, + 2 flush times].
    """
    sealed_us = end_us + sealing.lateness_us
    if now_us < sealed_us:
        return Fate.OPEN
    lived, pending = False, False
    for boot in boots:
        if boot.started_us >= sealed_us:
            continue
        if start_us < boot.started_us < end_us:
            return Fate.BROKEN
        if boot.last_flush_us >= sealed_us:
            lived = lived or boot.started_us <= start_us
        elif boot.ended or now_us - boot.last_flush_us > sealing.dead_after_us:
            if boot.last_flush_us + 2 * sealing.flush_us > start_us:
                return Fate.BROKEN
        else:
            pending = True
    if pending:
        return Fate.OPEN
    # Who lived then has told so when it started: nobody can appear who did.
    return Fate.WHOLE if lived else Fate.BROKEN


def grid(start_us: int, end_us: int, width_us: int) -> Iterator[int]:
    """Yield the starts of whole buckets inside [start, end)."""
    first = -(-start_us // width_us) * width_us
    yield from range(first, end_us - width_us + 1, width_us)


def alive_us(boots: Sequence[Boot], start_us: int, end_us: int) -> int:
    """Return how much of [start, end) at least one ingester answered for."""
    total, reached = 0, start_us
    for boot in sorted(boots, key=lambda boot: boot.started_us):
        begin, end = max(boot.started_us, reached), min(boot.last_flush_us, end_us)
        if end > begin:
            total += end - begin
            reached = end
    return total
