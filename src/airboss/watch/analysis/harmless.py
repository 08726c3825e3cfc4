"""Harmlessness by pods: deploys whose pods differ from one another (`groups.py` is the same for harm).

Of P pods of equal size K run the canary. What is tested is that they are worse by *at least* the margin:

*Errors.* H0: the canary's pods fail as the others do and in δ of all requests besides. Give each of the n_g requests of a
baseline pod an extra failure by a coin of chance δ: then, at the margin, all pods are exchangeable, and

  e(λ) = exp(−λ·y_canary) / mean_S exp(−λ·y_S),    y_g = bad_g, and the extra failures for the baseline's pods

has expectation 1, S ranging over all sets of K pods (`groups.py`). The coins need not be thrown: e is convex in each
exp(−λ·extra_g), so by Jensen their mean may be put in their place and e only shrinks,

  E exp(−λ·extra_g) = (1 − δ(1 − e^−λ))^n_g,

which keeps the expectation at most 1 and the verdict a function of the counts.
*Latency.* H0: the canary's values lie beyond (1+d)·τ as often as the baseline's beyond τ. At the margin the counts, of
the canary's pods beyond the one and of the others beyond the other, are exchangeable as they are: no coins.

A canary that is worse than the margin has greater counts, and e falls with them. Counts are scaled from a pod's requests to
the mean, as for harm. What plain tests do where pods differ: false certification of .14 at β = .01 under gamma noise of CV
.5 between pods at 10 % errors (`calibrate`). The forms are ours.

The bets: the leading λ maximises the growth expected of a harmless canary at the past baseline's rate, the others are
those of the harm test, for pods that differ.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from airboss.watch.analysis.bins import Floats
from airboss.watch.analysis.groups import LAMBDAS, compared

LOG_WEIGHTS: Final[Floats] = np.log(np.concatenate(([0.5], np.full(len(LAMBDAS), 0.5 / len(LAMBDAS)))))
"""The leading bet first."""
_OF_TEN_PODS: Final = 0.9
_SEARCH: Final[Floats] = np.geomspace(0.02, 5.0, 60)


def excess_log_e(bad: ArrayLike, requests: ArrayLike, chosen: int, excess: float, bets: Floats) -> Floats:
    """Return log e, shape (…, 9), of pods with `bad` of `requests` (…, P), the first `chosen` the canary's, that those
    exceed the others by less than `excess`; for bets λ of shape (…, 9) (`bets_for`).
    """
    scaled, even = _scaled(bad, requests)
    extra = even * np.log1p(excess * np.expm1(-bets))[..., None]  # log of the coins' mean, for n̄ requests
    y = -bets[..., None] * scaled[..., None, :]
    y[..., chosen:] += extra
    return compared(y, chosen)


def tail_log_e(beyond: ArrayLike, requests: ArrayLike, chosen: int, bets: Floats) -> Floats:
    """Return log e, shape (…, 9), of pods' values beyond a threshold (…, P): the raised one for the canary's pods."""
    scaled, _ = _scaled(beyond, requests)
    return compared(-bets[..., None] * scaled[..., None, :], chosen)


def bets_for(past_bad: ArrayLike, past_seen: ArrayLike, excess: float) -> Floats:
    """Return the bets λ, shape (…, 9), for an excess, foretold from the past baseline's counts (…)."""
    rate = (np.asarray(past_bad, dtype=np.float64) + 0.5) / (np.asarray(past_seen, dtype=np.float64) + 250.0)
    return _with_grid(_SEARCH[np.argmax(_excess_growth(rate, excess), axis=-1)])


def tail_bets_for(tail: ArrayLike) -> Floats:
    """Return the bets λ, shape (…, 9), for a quantile margin whose share of values beyond falls by `tail` (…)."""
    return _with_grid(np.clip(-np.log(np.asarray(tail, dtype=np.float64)), _SEARCH[0], _SEARCH[-1]))


def excess_information(rate: float, excess: float, share: float) -> float:
    """Return the log e-value a canary request gains on average by the best bet, pods alike, of equal rate and many.

    A known baseline would give the growth of one arm. Of P pods the sums over sets of K have the variance
    K·(1−f)·P/(P−1) times a pod's, and lie (1−f)·K·n·δ apart in the mean, so that comparing them gives (1−f)·(P−1)/P of
    that growth; ten pods are taken.
    """
    return float(_excess_growth(np.asarray(rate), excess).max()) * (1.0 - share) * _OF_TEN_PODS


def tail_information(over: float, tail: float, share: float) -> float:
    """Return the same for a quantile margin: `over` of the baseline's values lie beyond τ, `tail` of those beyond (1+d)·τ."""
    bet = -np.log(tail)
    return float(over * (-tail * bet + 1.0 - np.exp(-bet))) * (1.0 - share)


def _excess_growth(rate: Floats, excess: float) -> Floats:
    """Return −λp − log E exp(−λ·(bad + extra)) for one request, (…, 60), with bad ones as rare events at `rate` (…)."""
    p = rate[..., None]
    return np.asarray(-_SEARCH * p - p * np.expm1(-_SEARCH) - np.log1p(excess * np.expm1(-_SEARCH)))


def _with_grid(leading: ArrayLike) -> Floats:
    first = np.asarray(leading, dtype=np.float64)[..., None]
    return np.concatenate((first, np.broadcast_to(LAMBDAS, (*first.shape[:-1], len(LAMBDAS)))), axis=-1)


def _scaled(counts: ArrayLike, requests: ArrayLike) -> tuple[Floats, Floats]:
    """Return counts (…, P) scaled to the mean requests, and that mean (…, 1, 1)."""
    sizes = np.asarray(requests, dtype=np.float64)
    even = sizes.mean(axis=-1, keepdims=True)
    return np.asarray(counts, dtype=np.float64) * even / np.maximum(sizes, 1.0), even[..., None]
