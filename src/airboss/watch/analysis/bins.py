"""The one histogram grid of the house: bins of equal ratio, eight to a doubling.

index = clip(floor(8·log2(max(duration in µs, 1))), 0, 287), so a bin is 2^(1/8) − 1 ≈ 9.05 % wide, bin 0 begins at
1 µs and the last one at 2^(287/8) µs ≈ 17.5 hours. Fixed edges make histograms of any two moments, arms or servers
addable, and a ratio of durations a whole number of bins.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

BIN_COUNT: Final = 288
BINS_PER_DOUBLING: Final = 8
BIN_WIDTH: Final = 2.0 ** (1.0 / BINS_PER_DOUBLING) - 1.0
"""Relative width of one bin: the smallest latency margin that can be certified."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def bin_of(duration_us: ArrayLike) -> Counts:
    """Return the bin index (same shape) of durations in microseconds."""
    duration = np.maximum(np.asarray(duration_us, dtype=np.float64), 1.0)
    index = np.floor(BINS_PER_DOUBLING * np.log2(duration))
    clipped: Counts = np.clip(index, 0, BIN_COUNT - 1).astype(np.int64)
    return clipped


def edge_us(index: ArrayLike) -> Floats:
    """Return the lower edge in microseconds of a bin (an index beyond the last is allowed and means its upper edge)."""
    return np.asarray(2.0 ** (np.asarray(index, dtype=np.float64) / BINS_PER_DOUBLING))


def histogram_of(duration_us: ArrayLike) -> Counts:
    """Return the counts, shape (288,), of durations in microseconds."""
    return np.bincount(bin_of(duration_us).ravel(), minlength=BIN_COUNT).astype(np.int64)


def bins_of_margin(margin: float) -> int:
    """Return how many whole bins a relative margin d spans: floor(8·log2(1 + d)), rounded down so no claim grows."""
    return math.floor(BINS_PER_DOUBLING * math.log2(1.0 + margin) + 1e-9)


def quantile_bin(counts: Counts, quantile: float) -> int:
    """Return the first edge index j with at most a share 1 − quantile of the counts in bins ≥ j.

    Raises ValueError for an empty histogram.
    """
    total = int(counts.sum())
    if total == 0:
        raise ValueError("an empty histogram has no quantiles")
    above = total - np.concatenate(([0], np.cumsum(counts)))  # above[j] = counts in bins >= j
    return int(np.argmax(above <= (1.0 - quantile) * total + 1e-9))


def quantile_us(counts: Counts, quantile: float) -> float | None:
    """Return the quantile in microseconds, interpolated geometrically inside its bin; None for an empty histogram."""
    total = int(counts.sum())
    if total == 0:
        return None
    cumulative = np.cumsum(counts)
    wanted = quantile * total
    index = int(np.searchsorted(cumulative, wanted, side="left"))
    index = min(index, len(counts) - 1)
    before = float(cumulative[index - 1]) if index else 0.0
    inside = float(counts[index])
    part = (wanted - before) / inside if inside else 0.0
    return float(edge_us(index + min(max(part, 0.0), 1.0)))
