"""Harm allowance: a test that the canary's rate exceeds the baseline's by less than δ, the baseline being unknown.

H0: p_canary ≥ p_baseline + δ. A step need certify only what the next exposure can hurt, so δ = allowance / next share.
Per unit let S = (δ − x)/f for a canary unit and x/(1−f) for a baseline unit, x being 1 for bad; E[S] = δ − p_c + p_b ≤ 0
under H0. Betting λ = f·μ on it, 0 < μ < 1/(1−δ), gives e = Π(1 + λS), which needs only the counts (n canary units of
which c bad, b bad baseline units):

  log e(μ) = (n−c)·log(1 + μδ) + c·log(1 − μ(1−δ)) + b·log(1 + μ·f/(1−f))

Validity: when arms are draws with share f each unit's factor has expectation 1 + λ(δ − p_c + p_b), and by AM–GM the
product is ≤ 1 for units of unlike rates whose mean excess is ≥ δ. For a deploy with f = n/(n+m) given,
E = (1 + μ(δ−p_c))^n (1 + μ·p_b·n/m)^m ≤ exp(nμ(δ − p_c + p_b)) ≤ 1. The baseline may move as it likes and a shock
common to both arms cancels; a ceiling drawn from the *estimated* past baseline does neither (measured: false
certification .016 at β = .01 and a 1:1 split, and more units needed). Source: betting e-values, Waudby-Smith & Ramdas,
arXiv 2010.09686; the two-arm form is ours.

The bets: the leading μ maximises the growth expected of a harmless canary at the past baseline's rate, the others are
fixed parts of the largest allowed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from airboss.watch.analysis.bins import Floats

_PARTS: Final[Floats] = np.array([0.9, 0.6, 0.3])
_SEARCH: Final[Floats] = np.concatenate((np.linspace(0.02, 0.9, 45), np.linspace(0.91, 0.995, 18)))
LOG_WEIGHTS: Final[Floats] = np.log(np.array([0.8, 0.08, 0.06, 0.06]))


def log_e(
    bad_canary: ArrayLike, seen_canary: ArrayLike, bad_baseline: ArrayLike, *, share: float, excess: float, bets: Floats
) -> Floats:
    """Return log e, shape (…, 4), of counts (…) for bets μ of shape (…, 4) (`bets_for`)."""
    c = np.asarray(bad_canary, dtype=np.float64)[..., None]
    n = np.asarray(seen_canary, dtype=np.float64)[..., None]
    b = np.asarray(bad_baseline, dtype=np.float64)[..., None]
    good, lost, other = _gains(bets, share, excess)
    return np.asarray((n - c) * good + c * lost + b * other)


def bets_for(past_bad: ArrayLike, past_seen: ArrayLike, *, share: float, excess: float) -> Floats:
    """Return the bets μ, shape (…, 4), foretold from the past baseline's counts (…)."""
    rate = (np.asarray(past_bad, dtype=np.float64) + 0.5) / (np.asarray(past_seen, dtype=np.float64) + 250.0)
    best = _best(rate, share, excess)[..., None]
    largest = 1.0 / (1.0 - excess)
    fixed = np.broadcast_to(_PARTS * largest, (*best.shape[:-1], len(_PARTS)))
    return np.concatenate((best, fixed), axis=-1)


def information(rate: float, excess: float, share: float) -> float:
    """Return the log e-value a canary unit gains on average by the best bet when both arms have `rate`."""
    return float(_growth(np.asarray(rate), share, excess).max())


def _best(rate: Floats, share: float, excess: float) -> Floats:
    choice = np.argmax(_growth(rate, share, excess), axis=-1)
    return np.asarray((_SEARCH / (1.0 - excess))[choice])


def _growth(rate: Floats, share: float, excess: float) -> Floats:
    """Return the expected gain for one canary unit, shape (…, 63), of each searched bet at equal rates (…)."""
    good, lost, other = _gains(_SEARCH / (1.0 - excess), share, excess)
    p = rate[..., None]
    return np.asarray((1.0 - p) * good + p * (lost + (1.0 - share) / share * other))


def _gains(bets: Floats, share: float, excess: float) -> tuple[Floats, Floats, Floats]:
    """Return the log factors of a good canary unit, a bad canary unit, a bad baseline unit."""
    return np.log1p(bets * excess), np.log1p(-bets * (1.0 - excess)), np.log1p(bets * share / (1.0 - share))
