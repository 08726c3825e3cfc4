"""The group-exchangeability e-value: deploys whose pods differ from one another.

The baseline is cut into G − 1 groups of the canary's size (by pod). With x_g = 2·sqrt(count_g + 3/8) (Anscombe's
variance-stabilising root):

  e(λ) = exp(λ·x_canary) / mean_g exp(λ·x_g)

If the G counts are exchangeable given the past, then E[e | past] = 1: the numerator is one of the G values, each as
likely as the other. That covers clustering and overdispersion inside a block and shocks common to all pods. It does
not cover an effect that stays with one pod from block to block.

Plain ratio tests false-alarm at .28 to 1.0 under gamma noise of CV .5 between pods; this one holds its level and
loses next to nothing, so it is the default for a deploy that brings its pod groups.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from airboss.watch.analysis.bins import Floats
from airboss.watch.analysis.mixture import log_sum

LAMBDAS: Final[Floats] = np.geomspace(0.05, 3.0, 8)
LOG_WEIGHTS: Final[Floats] = np.full(8, -np.log(8.0))
SIZE_TOLERANCE: Final = 0.2
"""Groups count as equal when their requests agree within this share of their mean."""


def log_e(counts: ArrayLike) -> Floats:
    """Return log e, shape (…, 8), of event counts (…, G) whose first entry is the canary."""
    x = 2.0 * np.sqrt(np.asarray(counts, dtype=np.float64) + 0.375)
    scaled = LAMBDAS[:, None] * x[..., None, :]
    return np.asarray(scaled[..., 0] - (log_sum(scaled) - np.log(x.shape[-1])))


def comparable(requests: ArrayLike) -> bool:
    """Return whether the groups' requests (G,) agree within 20 % of their mean, which exchangeability needs."""
    sizes = np.asarray(requests, dtype=np.float64)
    mean = float(sizes.mean())
    return mean > 0.0 and bool(np.abs(sizes - mean).max() <= SIZE_TOLERANCE * mean)
