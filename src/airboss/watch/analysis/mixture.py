"""Mixtures of e-processes over alternatives, with a late start, in O(grid) for a look.

With e_i(j) the e-value of block i against alternative j, weights w_j and start weights π_s:

  E_t = (1−l) Σ_j w_j Π_{i≤t} e_i(j) + l Σ_{s≤t} π_s Σ_j w_j Π_{s≤i≤t} e_i(j) + l (1 − Σ_{s≤t} π_s)

Every part is a fixed mixture of (super)martingales begun at 1, so E_t is one too, and by Ville's inequality
P(sup_t E_t ≥ 1/α) ≤ α: looking at every block costs nothing. The late part stays O(1) a look by M ← (M + π_t)·e_t,
and keeps a harm that begins after a long healthy stretch from having to pay back what the healthy blocks cost.

All arrays are logarithms. The last axis is the alternative; axes before it are independent processes, so one function
serves a single rollout (shape (J,)) and a simulation of thousands (shape (runs, J)).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import zeta

from airboss.watch.analysis.bins import Floats

LATE: Final = 0.35
"""l, the weight of the late-start part."""

NEVER: Final = -1e300
"""log 0 that JSON can carry: logaddexp(NEVER, x) = x exactly."""

_POWER: Final = 1.5
_SHIFT: Final = 150.0
_MASS: Final = float(zeta(_POWER, _SHIFT + 1.0))


def log_start_weight(look: int) -> float:
    """Return log π_s for look s = 1, 2, …: π_s = (s+150)^−1.5 / ζ(1.5, 151), which sums to one over all looks.

    Flat over the first minutes, so that a harm that begins after 500 healthy looks is found within 2.7 times the bound
    (measured by `calibrate`); a start in the first looks is what the other part is for.
    """
    return float(-_POWER * np.log(look + _SHIFT) - np.log(_MASS))


def log_unstarted(look: int) -> float:
    """Return log(1 − Σ_{s≤t} π_s), in closed form ζ(1.5, t+151)/ζ(1.5, 151) so that nothing cancels."""
    return float(np.log(zeta(_POWER, look + _SHIFT + 1.0)) - np.log(_MASS))


def begin(count: int, *batch: int) -> tuple[Floats, Floats]:
    """Return (main, late) of a mixture over `count` alternatives before any look."""
    return np.zeros((*batch, count)), np.full((*batch, count), NEVER)


def advance(main: Floats, late: Floats, look: int, log_e: Floats) -> tuple[Floats, Floats]:
    """Fold the log e-values (…, J) of look number `look` ≥ 1 into (main, late)."""
    return main + log_e, np.logaddexp(late, log_start_weight(look)) + log_e


def log_value(main: Floats, late: Floats, look: int, log_weights: Floats) -> Floats:
    """Return log E_t, shape (…), after `look` looks (0: no look yet, E = 1)."""
    if look == 0:
        return np.zeros(main.shape[:-1])
    early = log_sum(main + log_weights) + np.log1p(-LATE)
    begun = log_sum(late + log_weights) + np.log(LATE)
    return np.asarray(np.logaddexp(np.logaddexp(early, begun), np.log(LATE) + log_unstarted(look)))


def log_sum(values: ArrayLike) -> Floats:
    """Return log Σ exp(values) over the last axis."""
    array = np.asarray(values, dtype=np.float64)
    top = array.max(axis=-1)
    return np.asarray(top + np.log(np.exp(array - top[..., None]).sum(axis=-1)))
