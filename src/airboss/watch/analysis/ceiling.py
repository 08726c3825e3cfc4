"""One-arm test that the canary's rate lies below an absolute ceiling, for certifying with few or no errors.

H0: rate ≥ c. With x bad of n units and the alternative q < c:

  e(q) = (q/c)^x · ((1−q)/(1−c))^(n−x)

Each unit's factor is linear in its outcome with a negative slope, so for units of unlike rates p_i whose mean is ≥ c,
E = Π(1 + slope·(p_i − c)) ≤ (1 + slope·(mean − c))^n ≤ 1 by AM–GM. Both c and q may depend on earlier blocks.

It serves a metric with a ceiling of its own ("below 1 % is fine whatever the baseline does"). The allowance of a step
is judged by `excess.py`. The leading alternative is the past baseline rate, because a harmless canary behaves as the
baseline does and no alternative grows faster in that case.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from airboss.watch.analysis.bins import Floats
from airboss.watch.analysis.ratio import bernoulli_kl

HIGHEST: Final = 0.5
"""No ceiling above this: a gate that lets every second request fail is none."""

_FRACTIONS: Final[Floats] = np.array([0.5, 0.2, 0.05])
LOG_WEIGHTS: Final[Floats] = np.log(np.array([0.8, 0.08, 0.06, 0.06]))


def log_e(bad: ArrayLike, seen: ArrayLike, *, past_bad: ArrayLike, past_seen: ArrayLike, ceiling: float) -> Floats:
    """Return log e, shape (…, 4), for `bad` of `seen` units; the leading alternative is the past baseline's rate."""
    foretold = (np.asarray(past_bad, dtype=np.float64) + 0.5) / (np.asarray(past_seen, dtype=np.float64) + 250.0)
    foretold = np.minimum(foretold, 0.8 * ceiling)[..., None]
    fixed = np.broadcast_to(_FRACTIONS * ceiling, (*foretold.shape[:-1], len(_FRACTIONS)))
    q = np.concatenate((foretold, fixed), axis=-1)
    x = np.asarray(bad, dtype=np.float64)[..., None]
    n = np.asarray(seen, dtype=np.float64)[..., None]
    return np.asarray(x * np.log(q / ceiling) + (n - x) * (np.log1p(-q) - np.log1p(-ceiling)))


def information(rate: float, ceiling: float) -> float:
    """Return the expected log e-value gained for each canary unit of a true rate below the ceiling: kl(rate ‖ c)."""
    return bernoulli_kl(rate, ceiling)
