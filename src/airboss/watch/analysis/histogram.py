"""Latency harm: an e-value over whole histograms, with alternatives tilted from the past baseline.

Cells j with canary counts c_j and both arms' counts k_j; f = share of the canary. For any positive tilt ψ:

  log e(ψ) = Σ_j [ c_j·log ψ_j − k_j·log(f·ψ_j + 1 − f) ]

Validity: a canary value in cell j carries ψ/(fψ+1−f), a baseline value 1/(fψ+1−f). When both arms share one law,
f·E[canary factor] + (1−f)·E[baseline factor] = 1, so the product is ≤ 1 in expectation by weighted AM–GM (and exactly
1 when each value's arm is an independent draw with share f). Any ψ, any law, moving as it likes: a shock common to
both arms cancels. Every ψ here is non-decreasing in j, so a canary that is *faster* can only lose: the test is of one
side, "no slower than the baseline".

Cells are runs of bins between quantiles of the past baseline: 18 of them tell as much about a slowing as 288 bins do, to
within a few percent, and cost a twentieth. Tilts are foretold from the baseline's past histogram (smoothed, in
doubling-eighths): shifts of the whole law (everything s times slower), of the tail beyond q80 or q93 alone, and an
excess beyond one boundary. Each is the shifted law over the past one, made monotone and scaled to Σ_j q_j·ψ_j = 1. Source:
notes on the method; the AM–GM argument and the cells are ours.

Cells and tilts may be foretold for one block or for many (`foretell`): each use needs only that they come from blocks
before it. What then remains of a block is two small products, so thousands of rollouts are folded at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airboss.watch.analysis.bins import BINS_PER_DOUBLING, Counts, Floats

WARM_UP: Final = 100
"""Past baseline values needed before tilts mean anything; until then every e-value is 1."""

_LEVELS: Final[Floats] = np.array(
    [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.73, 0.80, 0.86, 0.90, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995]
)
"""Where cells end, as quantiles of the past baseline."""
CELL_COUNT: Final = len(_LEVELS) + 1

_SCALES: Final[Floats] = np.array([1.05, 1.1, 1.2, 1.4, 1.8, 2.5, 4.0])
_SCALE_WEIGHTS: Final = (0.12, 0.12, 0.1, 0.08, 0.06, 0.04, 0.03)
_TAILS: Final[tuple[tuple[float, Floats], ...]] = (
    (0.80, np.array([1.25, 1.7, 3.0])),
    (0.93, np.array([1.5, 3.0])),
)
_EXCEEDANCES: Final = ((0.95, 2.0), (0.95, 5.0), (0.99, 3.0), (0.99, 10.0))

_TAIL_COUNT: Final = sum(len(scales) for _, scales in _TAILS)
TILT_COUNT: Final = len(_SCALES) + _TAIL_COUNT + len(_EXCEEDANCES)
LOG_WEIGHTS: Final[Floats] = np.log(np.array((*_SCALE_WEIGHTS, *(0.05,) * _TAIL_COUNT, *(0.05,) * len(_EXCEEDANCES))))
Ints = NDArray[np.int64]

_LOWEST: Final = 0.02
_HIGHEST: Final = 50.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foretold:
    """What the past baseline says of the next blocks: where cells begin, (…, C), and log ψ of each cell, (…, T, C)."""

    starts: Ints
    log_tilts: Floats

    def log_mixed(self, share: ArrayLike) -> Floats:
        """Return log(f·ψ + 1 − f), shape (…, T, C), at share f (…)."""
        f = np.asarray(share, dtype=np.float64)[..., None, None]
        return np.log(f * np.exp(self.log_tilts) + 1.0 - f)


def log_e(
    canary: ArrayLike, baseline: ArrayLike, share: ArrayLike, foretold: Foretold, log_mixed: Floats | None = None
) -> Floats:
    """Return log e, shape (…, T), of counts (…, B) at share f (…).

    `log_mixed` may be handed in by who folds many blocks at one share with the same `foretold`.
    """
    mixed = foretold.log_mixed(share) if log_mixed is None else log_mixed
    c = in_cells(canary, foretold.starts)
    k = c + in_cells(baseline, foretold.starts)
    return np.asarray((foretold.log_tilts @ c[..., None])[..., 0] - (mixed @ k[..., None])[..., 0])


def in_cells(counts: ArrayLike, starts: Ints) -> Floats:
    """Return counts (…, B) summed over the cells that begin at `starts` (…, C), as floats (…, C)."""
    given = np.asarray(counts)
    width = given.shape[-1]
    rows = np.ascontiguousarray(given).reshape(-1, width)
    wide = np.broadcast_to(starts, (*given.shape[:-1], starts.shape[-1])).reshape(len(rows), -1)
    places = wide + width * np.arange(len(rows))[:, None]
    # One pass over all rows: the last cell of a row ends where the first one of the next row begins, which is bin 0.
    sums = np.add.reduceat(rows.ravel(), places.ravel())
    return sums.reshape(*given.shape[:-1], -1).astype(np.float64)


def foretell(past_baseline: Counts) -> Foretold:
    """Return cells and log ψ foretold from past baseline counts (…, B); log ψ = 0 (e = 1) below the warm-up."""
    counts = np.asarray(past_baseline, dtype=np.float64)
    total = counts.sum(axis=-1, keepdims=True)
    law = _smooth(counts, total)
    below = np.concatenate((np.zeros((*law.shape[:-1], 1)), np.cumsum(law, axis=-1)), axis=-1)  # below[j]: bins < j
    edges = _edges(below)
    shapes = [_mass(below, edges, _SCALES, None)]
    shapes += [_mass(below, edges, scales, _place(edges, quantile)) for quantile, scales in _TAILS]
    usual = _mass(below, edges, np.ones(1), None)
    ratios = np.maximum.accumulate(np.concatenate(shapes, axis=-2) / usual, axis=-1)
    cells = np.arange(CELL_COUNT)
    jumps = [np.where(cells >= _cell(quantile), factor, 1.0) for quantile, factor in _EXCEEDANCES]
    everywhere = np.broadcast_to(np.stack(jumps), (*law.shape[:-1], len(jumps), CELL_COUNT))
    ratios = np.concatenate((ratios, everywhere), axis=-2)
    tilts = np.log(np.clip(ratios / (ratios * usual).sum(axis=-1, keepdims=True), _LOWEST, _HIGHEST))
    return Foretold(starts=edges[..., :-1], log_tilts=np.where(total[..., None] >= WARM_UP, tilts, 0.0))


def _cell(quantile: float) -> int:
    """Return the first cell beyond a quantile."""
    return int(np.searchsorted(_LEVELS, quantile)) + 1


def _place(edges: Ints, quantile: float) -> Ints:
    return edges[..., _cell(quantile), None, None]


def _edges(below: Floats) -> Ints:
    """Return the cells' edges (…, C + 1) as bin numbers, rising by at least one each, from the shares below bins."""
    width = below.shape[-1] - 1
    inner = (below[..., None, :] < _LEVELS[:, None] - 1e-12).sum(axis=-1)
    order = np.arange(1, CELL_COUNT)
    rising = np.maximum.accumulate(inner - order, axis=-1) + order
    kept = np.minimum(rising, width - CELL_COUNT + order)
    first, last = np.zeros_like(kept[..., :1]), np.full_like(kept[..., :1], width)
    return np.concatenate((first, np.maximum(kept, order), last), axis=-1)


def _mass(below: Floats, edges: Ints, scales: Floats, tail: Ints | None) -> Floats:
    """Return the cells' masses (…, S, C) of the law of scale·X: bins shifted by 8·log2(scale), fractions shared linearly.

    With `tail` (a bin number) only what lies beyond it is shifted. A whisper of mass keeps every ratio finite.
    """
    shift = BINS_PER_DOUBLING * np.log2(scales)[:, None]
    at: Floats = np.asarray(edges[..., None, :] - shift, dtype=np.float64)
    moved = _share_below(below, at)
    if tail is not None:
        still, moved_from = (
            _share_below(below, edges[..., None, :].astype(np.float64)),
            _share_below(below, tail.astype(np.float64)),
        )
        moved = np.minimum(still, moved_from) + np.maximum(moved - moved_from, 0.0)
    moved[..., -1] = 1.0
    return np.diff(moved, axis=-1) + 1e-6


def _share_below(below: Floats, at: Floats) -> Floats:
    """Return the share of the law below edges `at` (…, S, C), which may lie between bins or outside."""
    width = below.shape[-1] - 1
    inside = np.clip(at, 0.0, float(width))
    whole = np.minimum(np.floor(inside).astype(np.int64), width - 1)
    part = inside - whole
    flat = np.broadcast_to(whole, (*below.shape[:-1], *at.shape[-2:])).reshape(*below.shape[:-1], -1)
    lower = np.take_along_axis(below, flat, axis=-1).reshape(*below.shape[:-1], *at.shape[-2:])
    upper = np.take_along_axis(below, flat + 1, axis=-1).reshape(*below.shape[:-1], *at.shape[-2:])
    return np.asarray(lower + part * (upper - lower))


def _smooth(counts: Floats, total: Floats) -> Floats:
    """Return a smoothed law (…, B): Gaussian kernel by Silverman's rule in bin units, and a whisper of uniform mass."""
    width = counts.shape[-1]
    places = np.arange(width, dtype=np.float64)
    safe_total = np.maximum(total, 1.0)
    mean = (counts * places).sum(axis=-1, keepdims=True) / safe_total
    spread = np.sqrt((counts * (places - mean) ** 2).sum(axis=-1, keepdims=True) / safe_total)
    bandwidth = np.clip(1.06 * spread * safe_total**-0.2, 0.7, 6.0)
    # In frequency space each process of a batch may have a bandwidth of its own; the padding keeps the ends apart.
    padded = width + 32
    turns = 2.0 * np.pi * np.fft.rfftfreq(padded)
    softened = np.fft.rfft(counts, padded, axis=-1) * np.exp(-0.5 * (turns * bandwidth) ** 2)
    law = np.maximum(np.fft.irfft(softened, padded, axis=-1)[..., :width], 0.0) + 1e-3 * safe_total / width
    return np.asarray(law / law.sum(axis=-1, keepdims=True))
