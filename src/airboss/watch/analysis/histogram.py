"""Latency harm: an e-value over whole histograms, with alternatives tilted from the past baseline.

Bins j with canary counts c_j and both arms' counts k_j; f = share of the canary. For any positive tilt ψ:

  log e(ψ) = Σ_j [ c_j·log ψ_j − k_j·log(f·ψ_j + 1 − f) ]

Validity: a canary value in bin j carries ψ/(fψ+1−f), a baseline value 1/(fψ+1−f). When both arms share one law,
f·E[canary factor] + (1−f)·E[baseline factor] = 1, so the product is ≤ 1 in expectation by weighted AM–GM (and exactly
1 when each value's arm is an independent draw with share f). Any ψ, any law, moving as it likes: a shock common to
both arms cancels. Every ψ here is non-decreasing in j, so a canary that is *faster* can only lose: the test is of one
side, "no slower than the baseline".

Tilts are foretold from the baseline's past histogram q (smoothed, in doubling-eighths): shifts of the whole law
(everything s times slower), of the tail beyond q80 or q93 alone, and an excess beyond one boundary. Each is
ψ = q_shifted/q, made monotone and scaled to Σ_j q_j·ψ_j = 1. Source: notes on the method; the AM–GM argument is ours.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airboss.watch.analysis.bins import BINS_PER_DOUBLING, Counts, Floats

WARM_UP: Final = 100
"""Past baseline values needed before tilts mean anything; until then every e-value is 1."""

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
Flags = NDArray[np.bool_]

_LOWEST: Final = 0.02
_HIGHEST: Final = 50.0


def log_e(canary: ArrayLike, baseline: ArrayLike, share: ArrayLike, log_tilts: Floats) -> Floats:
    """Return log e, shape (…, T), of counts (…, B) at share f (…) against log ψ of shape (…, T, B)."""
    c = np.asarray(canary, dtype=np.float64)
    k = c + np.asarray(baseline, dtype=np.float64)
    f = np.asarray(share, dtype=np.float64)[..., None, None]
    mixed = np.log(f * np.exp(log_tilts) + 1.0 - f)
    return np.asarray((log_tilts @ c[..., None])[..., 0] - (mixed @ k[..., None])[..., 0])


def log_tilts(past_baseline: Counts) -> Floats:
    """Return log ψ, shape (…, T, B), foretold from past baseline counts (…, B); zeros (e = 1) below the warm-up."""
    counts = np.asarray(past_baseline, dtype=np.float64)
    total = counts.sum(axis=-1, keepdims=True)
    law = _smooth(counts, total)
    above = 1.0 - np.cumsum(law, axis=-1) + law  # share in bins >= j
    shapes = [_shifted(law, _SCALES)]
    for quantile, scales in _TAILS:
        tail = np.where(above <= 1.0 - quantile, law, 0.0)
        shapes.append((law - tail)[..., None, :] + _shifted(tail, scales))
    ratios = np.concatenate(shapes, axis=-2) / law[..., None, :]
    ratios = _monotone(ratios, _core(counts, law)[..., None, :])
    jumps = [np.where(above <= 1.0 - quantile, factor, 1.0) for quantile, factor in _EXCEEDANCES]
    ratios = np.concatenate((ratios, np.stack(jumps, axis=-2)), axis=-2)
    weight = (ratios * law[..., None, :]).sum(axis=-1, keepdims=True)
    # A law of one or two bins, shifted out of sight, leaves nothing to bet on: that alternative then bets nothing.
    ratios = np.where(weight > 0.0, ratios / np.where(weight > 0.0, weight, 1.0), 1.0)
    tilts = np.log(np.clip(ratios, _LOWEST, _HIGHEST))
    return np.asarray(np.where(total[..., None] >= WARM_UP, tilts, 0.0))


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


def _shifted(law: Floats, scales: Floats) -> Floats:
    """Return the laws (…, S, B) of scale·X for a law (…, B): shifts by 8·log2(scale) bins, fractions shared linearly."""
    bins = BINS_PER_DOUBLING * np.log2(scales)[:, None]
    whole = np.floor(bins).astype(np.int64)
    part = bins - whole
    source = np.arange(law.shape[-1]) - whole + 1  # into the law with one empty bin before it
    padded = np.concatenate((np.zeros((*law.shape[:-1], 1)), law), axis=-1)
    moved = (1.0 - part) * padded[..., np.maximum(source, 0)] + part * padded[..., np.maximum(source - 1, 0)]
    return np.asarray(moved)


def _core(counts: Floats, law: Floats) -> Flags:
    """Return where the law is well known (…, B): between its 0.5 % point and the last bins worth some ten values."""
    total = counts.sum(axis=-1, keepdims=True)
    below = np.cumsum(law, axis=-1)
    above = 1.0 - below + law
    return np.asarray((below >= 0.005) & (above >= np.minimum(0.25, 5.0 / np.maximum(total, 1.0))))


def _monotone(ratios: Floats, core: Flags) -> Floats:
    """Return ratios made non-decreasing, with the ends of the core carried outwards."""
    rising = np.maximum.accumulate(np.where(core, ratios, 0.0), axis=-1)
    falling = np.minimum.accumulate(np.where(core, ratios, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    # Outside the core one of the two is 0 or infinite: take the other, which carries the nearest core value on.
    both = 0.5 * (rising + falling)
    both = np.where(np.isfinite(falling), both, rising)
    return np.asarray(np.where((rising > 0.0) | ~np.isfinite(falling), both, falling))
