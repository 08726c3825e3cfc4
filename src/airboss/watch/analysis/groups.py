"""The pod-exchangeability e-value: deploys whose pods differ from one another.

Of P pods of equal size K run the canary. Each pod g has a score x_g; for a set S of K pods let x_S be the sum of its
scores. Then

  e(λ) = exp(λ·x_canary) / mean_S exp(λ·x_S),    the mean over all sets S of K of the P pods.

If the P pods are exchangeable given the past, each set is as likely the canary's as any other, so E[e | past] = 1: the
numerator is one of the values the mean is taken over. That covers clustering and overdispersion inside a block and shocks
common to all pods. It does not cover an effect that stays with one pod from block to block.

The mean over all sets needs no list of them: it is the elementary symmetric polynomial of degree K of exp(λ·x_g), divided
by the number of sets, which a recurrence gives in P·K steps. One canary pod is the case K = 1; with 5 of 10 pods all 252
splits are compared, where groups of the canary's size would be two.

*Errors.* x = 2·sqrt(bad·n̄/n + 3/8), Anscombe's variance-stabilising root of the count, scaled from the pod's n requests
to the mean n̄, so that pods a little larger than others do not look worse for ever.
*Latency.* x = n̄/n·Σ_j hist_j·log ψ_j for each tilt ψ foretold from the past baseline (`histogram.py`).

Plain tests false-alarm at .28 to 1.0 under gamma noise of CV .5 between pods; this one holds its level and loses next to
nothing, so it is the default for a deploy whose telemetry tells pods apart. Source: notes on the method; the symmetric
polynomial and the latency score are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from airboss.watch.analysis import histogram
from airboss.watch.analysis.bins import Counts, Floats
from airboss.watch.analysis.mixture import NEVER, log_sum

LAMBDAS: Final[Floats] = np.geomspace(0.05, 3.0, 8)
LOG_WEIGHTS: Final[Floats] = np.full(8, -np.log(8.0))

STRENGTHS: Final[Floats] = np.array([1.0, 0.5, 0.2])
"""λ of the latency score: 1 is the likelihood ratio of pods that do not differ, less is for pods that do."""
LATENCY_LOG_WEIGHTS: Final[Floats] = np.concatenate([histogram.LOG_WEIGHTS - np.log(len(STRENGTHS))] * len(STRENGTHS))

SIZE_TOLERANCE: Final = 0.2
"""Pods count as equal when their requests lie within this share of their mean, and chance (three deviations)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pods:
    """A block's pods, the canary's `chosen` first: `requests`, `bad` of shape (P,), `hist` (P, 288) if all told it."""

    chosen: int
    requests: Counts
    bad: Counts
    hist: Counts | None


def scores(bad: ArrayLike, requests: ArrayLike) -> Floats:
    """Return the error scores (…, P) of pods with `bad` of `requests` (…, P)."""
    sizes = np.asarray(requests, dtype=np.float64)
    scaled = np.asarray(bad, dtype=np.float64) * sizes.mean(axis=-1, keepdims=True) / np.maximum(sizes, 1.0)
    return np.asarray(2.0 * np.sqrt(scaled + 0.375))


def log_e(x: ArrayLike, chosen: int = 1) -> Floats:
    """Return log e, shape (…, 8), of scores (…, P) whose first `chosen` are the canary's."""
    return compared(LAMBDAS[:, None] * np.asarray(x, dtype=np.float64)[..., None, :], chosen)


def latency_log_e(hist: ArrayLike, requests: ArrayLike, chosen: int, foretold: histogram.Foretold) -> Floats:
    """Return log e, shape (…, 3·T), of pods' histograms (…, P, B) and `requests` (…, P) against log ψ (…, T, C)."""
    sizes = np.asarray(requests, dtype=np.float64)
    even = sizes.mean(axis=-1, keepdims=True) / np.maximum(sizes, 1.0)
    counts = histogram.in_cells(hist, foretold.starts[..., None, :]) * even[..., None]
    x = foretold.log_tilts @ np.swapaxes(counts, -1, -2)  # (…, T, P)
    return np.concatenate([compared(strength * x, chosen) for strength in STRENGTHS], axis=-1)


def comparable(requests: ArrayLike) -> bool:
    """Return whether pods' requests (P,) agree: within 20 % of their mean and what chance adds to that.

    A question about how much came, never about how it went, so that leaving a block out cannot favour an outcome.
    """
    sizes = np.asarray(requests, dtype=np.float64)
    mean = float(sizes.mean())
    allowed = SIZE_TOLERANCE * mean + 3.0 * np.sqrt(mean)
    return mean > 0.0 and bool(np.abs(sizes - mean).max() <= allowed)


def compared(y: Floats, chosen: int) -> Floats:
    """Return Σ_{g<K} y_g − log mean_S exp Σ_{g∈S} y_g over all sets of K = `chosen`, shape (…), of y (…, P)."""
    pods = y.shape[-1]
    centred = y - y.mean(axis=-1, keepdims=True)  # changes nothing, and keeps the exponents small
    mine = centred[..., :chosen].sum(axis=-1)
    # Choosing K to run the canary is choosing P − K not to: the smaller number costs less.
    terms, size = (centred, chosen) if 2 * chosen <= pods else (-centred, pods - chosen)
    if size == 1:
        return np.asarray(mine - (log_sum(terms) - np.log(pods)))
    sums = np.full((*y.shape[:-1], size + 1), NEVER)
    sums[..., 0] = 0.0
    for pod in range(pods):
        sums[..., 1:] = np.logaddexp(sums[..., 1:], sums[..., :-1] + terms[..., pod, None])
    sets = gammaln(pods + 1) - gammaln(size + 1) - gammaln(pods - size + 1)
    return np.asarray(mine - (sums[..., -1] - sets))
