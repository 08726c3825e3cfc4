"""Confidence sequences for display: bounds that hold at every look at once.

*Ratio of event rates.* With L(th) = Σ_i [c_i·log th − k_i·log(th·f_i + 1 − f_i)], the log likelihood of a constant ratio
th given the pooled events, each th0 on a grid is tested from below and from above by the mixtures

  E_low(th0)  = Σ_j w_j exp(L(th0·r_j) − L(th0)),    E_high(th0) = Σ_j w_j exp(L(th0/r_j) − L(th0)),    r_j in 1.12 … 40,

which is the ratio e-process of `ratio.py` (without its late start) inverted over th0. The lower bound is the first th0,
counted from below, that E_low does not reject; the upper one mirrors it. If the true ratio lay outside a bound it would
itself be rejected, so each bound holds at all looks with probability ≥ 1 − α. E_low(1) ≥ 1/α means a lower bound above
1: sentence and verdict agree. Between grid points log E is interpolated linearly, so bounds are for display; verdicts
never read them.

*Ratio of quantiles.* For a threshold τ fixed from the past and a shift of Δ bins let C_Δ count canary values above
τ·2^(Δ/8) and B baseline values above τ. If the canary's quantile is more than 2^(Δ/8) times the baseline's, events fall
to the canary with probability > f. The Beta(½,½) mixture e-value B(C+½, B+½)/B(½,½) / (f^C (1−f)^B) refutes a Δ
upwards or downwards; Δ is nested, so the largest Δ refuted from below and the smallest refuted from above bound the
ratio, each at α/2, rounded outwards to bin edges.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import betaln

from airboss.watch.analysis.bins import BINS_PER_DOUBLING, Counts, Floats
from airboss.watch.analysis.mixture import NEVER

_STEPS: Final = 36
GRID: Final[Floats] = np.geomspace(1.0 / 64.0, 64.0, 2 * _STEPS + 1)
"""Ratios at which the likelihood is kept, 12 % apart; a bound beyond either end is reported as open (None)."""

_LOG_GRID: Final[Floats] = np.log(GRID)
_OFFSETS: Final = np.array([1, 2, 3, 5, 7, 9, 12, 15, 19, 23, 27, 32])
"""The r_j in grid steps."""
_DOWN: Final = 24
_UP: Final = 40


def likelihood_gain(bad_canary: int, bad_both: int, share: float) -> Floats:
    """Return what a block adds to L, shape (73,)."""
    gain = bad_canary * _LOG_GRID - bad_both * np.log(GRID * share + 1.0 - share)
    return np.asarray(gain, dtype=np.float64)


def ratio_bounds(likelihood: Floats, alpha: float) -> tuple[float | None, float | None]:
    """Return (low, high) of the ratio from L (73,), each at confidence 1 − α; None means no bound on that side."""
    low = _first_not_rejected(likelihood, alpha)
    high = _first_not_rejected(likelihood[::-1], alpha)
    # Seen from above the grid is its own reciprocal.
    return low, None if high is None else 1.0 / high


def best_ratio(likelihood: Floats, *, any_bad: bool) -> float | None:
    """Return the most likely ratio, refined by a parabola; None while there are no events or it lies off the grid."""
    top = int(np.argmax(likelihood))
    if not any_bad or top in (0, len(GRID) - 1):
        return None
    left, middle, right = likelihood[top - 1 : top + 2]
    bend = left - 2.0 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0.0 else 0.0
    return float(np.exp(_LOG_GRID[top] + shift * (_LOG_GRID[1] - _LOG_GRID[0])))


def _first_not_rejected(likelihood: Floats, alpha: float) -> float | None:
    """Return the first ratio from the lower end whose E_low is below 1/α, interpolated; None if it is the first of all."""
    places = np.arange(len(GRID))[:, None] + _OFFSETS
    gains = likelihood[np.minimum(places, len(GRID) - 1)] - likelihood[:, None]
    # Alternatives beyond the grid are left out without giving their weight to others: weaker, never wrong.
    gains = np.where(places < len(GRID), gains, NEVER)
    log_e = np.logaddexp.reduce(gains, axis=-1) - np.log(len(_OFFSETS))
    level = -np.log(alpha)
    held = int(np.argmax(log_e < level))
    if held == 0:
        return None
    before, after = log_e[held - 1], max(float(log_e[held]), -50.0)
    part = (before - level) / (before - after)
    return float(np.exp(_LOG_GRID[held - 1] + part * (_LOG_GRID[held] - _LOG_GRID[held - 1])))


def quantile_ratio_bounds(
    canary: Counts, baseline: Counts, threshold_bin: int, share: float, alpha: float
) -> tuple[float | None, float | None]:
    """Return (low, high) of canary quantile / baseline quantile at confidence 1 − α from counts (288,) since τ was fixed."""
    shifts = np.arange(-_DOWN, _UP + 1)
    above = np.concatenate((np.cumsum(canary[::-1])[::-1], [0])).astype(np.float64)
    c = above[np.clip(threshold_bin + shifts, 0, len(canary))]
    b = float(baseline[threshold_bin:].sum())
    log_e = betaln(c + 0.5, b + 0.5) - betaln(0.5, 0.5) - c * np.log(share) - b * np.log1p(-share)
    refuted = log_e >= np.log(2.0 / alpha)
    more = c > share * (c + b)
    raised = shifts[refuted & more]
    lowered = shifts[refuted & ~more]
    low = float(2.0 ** (raised.max() / BINS_PER_DOUBLING)) if len(raised) else None
    high = float(2.0 ** (lowered.min() / BINS_PER_DOUBLING)) if len(lowered) else None
    return low, high
