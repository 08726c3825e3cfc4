"""Worlds to try the tests in: streams of counts for many runs at once, from a seeded generator.

Every function returns or yields arrays with the run as first axis. The tests themselves are the very functions the
rollouts use (`ratio`, `histogram`, `ceiling`, `groups`, `mixture` work on any leading axes); nothing is reimplemented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from airboss.watch.analysis import histogram, mixture, ratio
from airboss.watch.analysis.bins import BIN_COUNT, Counts, Floats, edge_us

Generator = np.random.Generator
Look = tuple[Counts, Counts, float]
"""Canary events (runs,), baseline events (runs,), share f."""

MEDIAN_US: Final = 80_000.0
SIGMA: Final = 0.8
SUPPORT: Final = slice(70, 230)
"""Bins in which the simulated durations lie; the tests do not care where a histogram begins."""


def first_look(values: Iterable[Floats], runs: int, error: float) -> Counts:
    """Return the look (from 1) at which each run's log e-value, (runs,) a look, first reaches 1/error; 0 for never. Takes no
    look more than it needs.
    """
    decided = np.zeros(runs, dtype=np.int64)
    for look, value in enumerate(values, start=1):
        decided[(decided == 0) & (value >= -np.log(error))] = look
        if decided.all():
            break
    return decided


def harm_values(log_es: Iterable[Floats], log_weights: Floats, runs: int) -> Iterator[Floats]:
    """Yield the log e-value of a harm test after each look's log e, (runs, J): a mixture with a late start."""
    main, late = mixture.begin(len(log_weights), runs)
    for look, log_e in enumerate(log_es, start=1):
        main, late = mixture.advance(main, late, look, log_e)
        yield mixture.log_value(main, late, look, log_weights)


def harmless_values(log_es: Iterable[Floats], log_weights: Floats, runs: int) -> Iterator[Floats]:
    """Yield the log e-value of a test of harmlessness after each look's log e, (runs, J): a mixture from the first look."""
    process = np.zeros((runs, len(log_weights)))
    for log_e in log_es:
        process += log_e
        yield mixture.log_sum(process + log_weights)


def harm_looks(stream: Iterable[Look], runs: int, alpha: float) -> Counts:
    """Return the look at which each run's ratio test rejects, or 0."""
    log_es = (
        ratio.log_e(canary, canary + baseline, share, ratio.HARM_RATIOS, 1.0) for canary, baseline, share in stream
    )
    return first_look(harm_values(log_es, ratio.HARM_LOG_WEIGHTS, runs), runs, alpha)


def binomial_stream(
    rng: Generator,
    *,
    runs: int,
    looks: int,
    canary: int,
    baseline: int,
    rate: float,
    harm: float = 1.0,
    shock: bool = False,
    healthy: int = 0,
) -> Iterator[Look]:
    """Yield iid counts; `shock` moves both arms' rate between .5 and 4 times by a slow common wave with jumps.

    The canary fails `harm` times as often from the look after `healthy` ones on.
    """
    share = canary / (canary + baseline)
    factor = np.ones(runs)
    for look in range(looks):
        if shock:
            jump = rng.random(runs) < 0.05
            factor = np.where(jump, np.exp(rng.uniform(np.log(0.5), np.log(4.0), runs)), factor)
            factor_now = factor * (1.0 + 0.3 * np.sin(look / 25.0))
        else:
            factor_now = factor
        p = np.minimum(rate * factor_now, 1.0)
        yield (
            rng.binomial(canary, np.minimum(p * (harm if look >= healthy else 1.0), 1.0)),
            rng.binomial(baseline, p),
            share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Sticky users: each keeps its own error rate (gamma, mean `rate`, coefficient of variation `spread`) and pace.

    `broken` of the users fail at every request. Paces are lognormal, some users send ten times as much as others.
    """

    users: int = 3000
    rate: float = 0.01
    spread: float = 4.0
    broken: int = 5
    requests_per_look: float = 1000.0

    def draw(self, rng: Generator, runs: int) -> tuple[Floats, Floats]:
        """Return requests a look (runs, users) and error rates (runs, users)."""
        pace = rng.lognormal(0.0, 1.0, (runs, self.users))
        pace *= self.requests_per_look / pace.sum(axis=1, keepdims=True)
        shape = 1.0 / self.spread**2
        bad = np.minimum(rng.gamma(shape, self.rate / shape, (runs, self.users)), 1.0)
        bad[:, : self.broken] = 1.0
        return pace, bad


def ramp_shares(looks: int, shares: tuple[float, ...] = (0.01, 0.10, 0.50)) -> Floats:
    """Return the exposure of each look, (looks,), for a ramp that spends equal times at each share."""
    return np.asarray(shares)[np.minimum(np.arange(looks) * len(shares) // looks, len(shares) - 1)]


def sticky_subjects(rng: Generator, crowd: Crowd, shares: Floats, runs: int) -> Iterator[Look]:
    """Yield first-bad counts of a ramp over a crowd under the null.

    A user's first bad request comes after an exponential time with hazard pace × error rate, whatever its arm; its arm
    then is canary iff its hash lies below the share in force.
    """
    looks = len(shares)
    pace, bad = crowd.draw(rng, runs)
    when = rng.exponential(1.0, pace.shape) / np.maximum(pace * bad, 1e-12)
    place = np.minimum(when, looks).astype(np.int64)
    is_canary = rng.random(pace.shape) < np.append(shares, 0.0)[place]
    run = np.arange(runs)[:, None]
    flat = run * (looks + 1) + place
    size = runs * (looks + 1)
    canary = np.bincount(flat[is_canary], minlength=size).reshape(runs, looks + 1)
    both = np.bincount(flat.ravel(), minlength=size).reshape(runs, looks + 1)
    for look in range(looks):
        yield canary[:, look], both[:, look] - canary[:, look], float(shares[look])


def sticky_requests(rng: Generator, crowd: Crowd, shares: Floats, runs: int) -> Iterator[Look]:
    """Yield *request* counts of the same crowd and ramp: what must not be judged (the level does not hold)."""
    pace, bad = crowd.draw(rng, runs)
    hashes = rng.random(pace.shape)
    events = pace * bad
    total = events.sum(axis=1)
    for share in np.unique(shares):
        exposed = np.where(hashes < share, events, 0.0).sum(axis=1)
        for _ in range(int((shares == share).sum())):
            yield rng.poisson(exposed), rng.poisson(total - exposed), float(share)


def pod_noise(rng: Generator, *, runs: int, looks: int, groups: int, mean: float, spread: float) -> Iterator[Counts]:
    """Yield counts (runs, groups) of equal pods whose rates vary by independent gamma noise in every block."""
    shape = 1.0 / spread**2
    for _ in range(looks):
        yield rng.poisson(mean * rng.gamma(shape, 1.0 / shape, (runs, groups)))


def pod_durations(
    rng: Generator, *, runs: int, looks: int, pods: int, values: int, spread: float, slower: float = 1.0
) -> Iterator[Counts]:
    """Yield histograms (runs, pods, bins of SUPPORT) of `values` durations a pod, the first pod `slower` times as slow.

    In every look each pod is faster or slower by a factor of its own, exp(spread·z), z of 15 even steps of the normal law.
    """
    factors = np.exp(spread * ndtri((np.arange(15) + 0.5) / 15))
    usual = np.stack([duration_law(factor) for factor in factors])
    slow = np.stack([duration_law(factor * slower) for factor in factors])
    for _ in range(looks):
        drawn = rng.integers(0, len(factors), (runs, pods))
        laws = usual[drawn]
        laws[:, 0] = slow[drawn[:, 0]]
        yield rng.multinomial(values, laws)


def duration_law(scale: float = 1.0) -> Floats:
    """Return the bin probabilities (bins of SUPPORT) of lognormal durations `scale` times slower than usual."""
    edges = np.log(edge_us(np.arange(BIN_COUNT + 1)))
    below = ndtr((edges - np.log(MEDIAN_US * scale)) / SIGMA)
    law = np.diff(below)[SUPPORT]
    return np.asarray(law / law.sum())


Law = Callable[[int], Floats]
"""Look number → bin probabilities."""


def latency_looks(
    rng: Generator,
    *,
    runs: int,
    looks: int,
    canary: int,
    baseline: int,
    canary_law: Law,
    baseline_law: Law,
    alpha: float,
) -> Counts:
    """Return the look at which each run's histogram test rejects, or 0. Every arm draws its own multinomial counts."""
    share = canary / (canary + baseline)

    def log_es() -> Iterator[Floats]:
        past = np.zeros((runs, len(duration_law())), dtype=np.int64)
        foretold = histogram.foretell(past)
        mixed = foretold.log_mixed(share)
        for look in range(1, looks + 1):
            slow = rng.multinomial(canary, canary_law(look), size=runs)
            usual = rng.multinomial(baseline, baseline_law(look), size=runs)
            if look <= 10 or look % 10 == 0:
                foretold = histogram.foretell(past)
                mixed = foretold.log_mixed(share)
            yield histogram.log_e(slow, usual, share, foretold, mixed)
            past += usual

    return first_look(harm_values(log_es(), histogram.LOG_WEIGHTS, runs), runs, alpha)
