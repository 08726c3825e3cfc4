"""Single trials of the tests in simulated worlds: at which look does each of many runs decide? Used by `calibrate`.

Every function returns the look of the decision of each run, int64 of shape (runs,), 0 for none. Worlds come from `simulate`
or are drawn here; the tests are the very functions the rollouts use.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri

from airboss.watch.analysis import excess, groups, harmless, histogram, ratio, simulate
from airboss.watch.analysis.bins import BINS_PER_DOUBLING, Counts, Floats, bins_of_margin
from airboss.watch.analysis.simulate import Generator, first_look, harm_values, harmless_values


def excess_looks(
    rng: Generator,
    runs: int,
    looks: int,
    beta: float,
    *,
    base: float,
    allowed: float,
    share: float,
    units: float,
    harmful: bool,
    shock: bool = False,
) -> Counts:
    """Return the look at which the allowance test certifies; a harmful canary exceeds the baseline by all it may.

    `units` arrive at both arms together in a look; `shock` trebles the base rate in every other ten looks.
    """

    def log_es() -> Iterator[Floats]:
        past_bad, past_seen = np.zeros(runs), np.zeros(runs)
        for look in range(1, looks + 1):
            rate = base * (3.0 if shock and (look // 10) % 2 else 1.0)
            seen = rng.poisson(units * share, runs)
            bad = rng.binomial(seen, rate + allowed if harmful else rate)
            others = rng.poisson(units * (1.0 - share), runs)
            others_bad = rng.binomial(others, rate)
            bets = excess.bets_for(past_bad, past_seen, share=share, excess=allowed)
            yield excess.log_e(bad, seen, others_bad, share=share, excess=allowed, bets=bets)
            past_bad += others_bad
            past_seen += others

    return first_look(harmless_values(log_es(), excess.LOG_WEIGHTS, runs), runs, beta)


def margin_looks(
    rng: Generator, runs: int, looks: int, beta: float, *, base: float, margin: float, truth: float, canary: int = 200
) -> Counts:
    """Return the look at which the relative test certifies at a 1:1 split when the true ratio is `truth`."""

    def log_es() -> Iterator[Floats]:
        for _ in range(looks):
            bad = rng.binomial(canary, base * truth, runs)
            both = bad + rng.binomial(canary, base, runs)
            yield ratio.log_e(bad, both, 0.5, ratio.SAFE_RATIOS, 1.0 + margin)

    return first_look(harmless_values(log_es(), ratio.SAFE_LOG_WEIGHTS, runs), runs, beta)


def quantile_looks(
    rng: Generator, runs: int, looks: int, beta: float, *, margin: float, harmful: bool, canary: int = 100
) -> Counts:
    """Return the look at which the p95 margin is certified at 1:1; a harmful canary is slower by exactly the margin."""
    shift = bins_of_margin(margin)
    over = 0.05
    usual = simulate.duration_law()
    above = np.cumsum(usual[::-1])[::-1]
    threshold = int(np.argmax(above <= over))
    over, beyond = float(above[threshold]), float(above[threshold if harmful else threshold + shift])
    tail = np.concatenate(([float(above[threshold + shift]) / over], ratio.TAIL_RATIOS))

    def log_es() -> Iterator[Floats]:
        for _ in range(looks):
            slow = rng.binomial(canary, beyond, runs)
            both = slow + rng.binomial(canary, over, runs)
            yield ratio.log_e(slow, both, 0.5, tail, 1.0)

    return first_look(harmless_values(log_es(), ratio.TAIL_LOG_WEIGHTS, runs), runs, beta)


def pod_looks(
    rng: Generator,
    runs: int,
    looks: int,
    alpha: float,
    *,
    rate: float = 0.1,
    harm: float = 1.0,
    spread: float = 0.5,
    chosen: int = 1,
    sizes: tuple[int, ...] = (100,) * 10,
) -> Counts:
    """Return the look at which the test by pods rejects: `sizes` requests a look, of which the first `chosen` pods' are
    the canary's and fail `harm` times as often; each pod's rate varies with a coefficient of variation `spread`.
    """
    requests = np.broadcast_to(np.array(sizes), (runs, len(sizes)))
    mean = rate * np.array(sizes, dtype=np.float64)
    mean[:chosen] *= harm

    def log_es() -> Iterator[Floats]:
        for _ in range(looks):
            bad = rng.poisson(mean * _noise(rng, spread, requests.shape))
            yield groups.log_e(groups.scores(bad, requests), chosen)

    return first_look(harm_values(log_es(), groups.LOG_WEIGHTS, runs), runs, alpha)


def pod_duration_looks(
    rng: Generator,
    runs: int,
    looks: int,
    alpha: float,
    *,
    slower: float = 1.0,
    spread: float = 0.05,
    pods: int = 10,
    values: int = 100,
    by_pods: bool = True,
) -> Counts:
    """Return the look at which the latency harm test rejects: one of `pods` pods is the canary and `slower` times as slow.

    Each pod answers `values` requests a look, and is slower or faster than usual by a lognormal factor of its own in every
    look, of standard deviation `spread`. `by_pods`: the test by pods, else the plain one on the same counts.
    """
    weights = groups.LATENCY_LOG_WEIGHTS if by_pods else histogram.LOG_WEIGHTS
    requests = np.full((runs, pods), values)
    stream = simulate.pod_durations(rng, runs=runs, looks=looks, pods=pods, values=values, spread=spread, slower=slower)

    def log_es() -> Iterator[Floats]:
        past = np.zeros((runs, len(simulate.duration_law())), dtype=np.int64)
        foretold = histogram.foretell(past)
        for look, hist in enumerate(stream, start=1):
            if look <= 10 or look % 10 == 0:
                foretold = histogram.foretell(past)
            usual = hist[:, 1:].sum(axis=1)
            if by_pods:
                yield groups.latency_log_e(hist, requests, 1, foretold)
            else:
                yield histogram.log_e(hist[:, 0], usual, 1.0 / pods, foretold)
            past += usual

    return first_look(harm_values(log_es(), weights, runs), runs, alpha)


def pod_excess_looks(
    rng: Generator,
    runs: int,
    looks: int,
    beta: float,
    *,
    base: float,
    allowed: float,
    harmful: bool,
    spread: float = 0.5,
    pods: int = 10,
    chosen: int = 1,
    requests: int = 100,
    by_pods: bool = True,
) -> Counts:
    """Return the look at which the allowance test certifies `chosen` of `pods` pods, whose rates vary as in `pod_looks`.

    A harmful canary fails in `allowed` of its requests besides. `by_pods`: the test by pods, else the plain one.
    """
    weights = harmless.LOG_WEIGHTS if by_pods else excess.LOG_WEIGHTS
    sizes = np.full((runs, pods), requests)
    share = chosen / pods

    def log_es() -> Iterator[Floats]:
        past_bad, past_seen = np.zeros(runs), 0.0
        for _ in range(looks):
            rate = base * _noise(rng, spread, sizes.shape)
            rate[:, :chosen] += allowed if harmful else 0.0
            bad = rng.binomial(sizes, np.minimum(rate, 1.0))
            mine, others = bad[:, :chosen].sum(axis=1), bad[:, chosen:].sum(axis=1)
            if by_pods:
                bets = harmless.bets_for(past_bad, past_seen, allowed)
                yield harmless.excess_log_e(bad, sizes, chosen, allowed, bets)
            else:
                bets = excess.bets_for(past_bad, past_seen, share=share, excess=allowed)
                yield excess.log_e(mine, chosen * requests, others, share=share, excess=allowed, bets=bets)
            past_bad += others
            past_seen += (pods - chosen) * requests

    return first_look(harmless_values(log_es(), weights, runs), runs, beta)


def pod_quantile_looks(
    rng: Generator,
    runs: int,
    looks: int,
    beta: float,
    *,
    margin: float,
    harmful: bool,
    spread: float = 0.05,
    pods: int = 10,
    requests: int = 100,
) -> Counts:
    """Return the look at which the p95 margin of one of `pods` pods is certified by pods, which differ as in
    `pod_duration_looks`; a harmful canary is slower by exactly the margin.
    """
    doublings = bins_of_margin(margin) / BINS_PER_DOUBLING
    shift = doublings * np.log(2.0) / simulate.SIGMA
    at = float(ndtri(0.95))
    bets = harmless.tail_bets_for(np.full(runs, tail_of(doublings)))
    sizes = np.full((runs, pods), requests)
    places: Floats = np.full(pods, at)
    places[0] += 0.0 if harmful else shift

    def log_es() -> Iterator[Floats]:
        for _ in range(looks):
            beyond = rng.binomial(sizes, ndtr(rng.normal(0.0, spread / simulate.SIGMA, sizes.shape) - places))
            yield harmless.tail_log_e(beyond, sizes, 1, bets)

    return first_look(harmless_values(log_es(), harmless.LOG_WEIGHTS, runs), runs, beta)


def _noise(rng: Generator, spread: float, shape: tuple[int, ...]) -> Floats:
    """Return what pods' rates are multiplied by: gamma noise of mean 1 and coefficient of variation `spread`."""
    return rng.gamma(spread**-2, spread**2, shape) if spread > 0.0 else np.ones(shape)


def tail_of(doublings: float) -> float:
    """Return P(X > 2^doublings·τ)/P(X > τ) of the simulated durations, τ being their p95."""
    return float(ndtr(-float(ndtri(0.95)) - doublings * np.log(2.0) / simulate.SIGMA)) / 0.05
