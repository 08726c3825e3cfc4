"""The e-values have expectation one under their null: by exact summation, not by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from airboss.watch.analysis import ceiling, excess, groups, harmless, histogram, mixture, ratio

shares = st.floats(0.01, 0.95)
nulls = st.floats(1.0, 3.0)
rates = st.floats(0.0, 0.6)


def bernoulli_expectation(weights: list[tuple[float, float]]) -> float:
    return math.fsum(p * math.exp(log_e) for p, log_e in weights)


@given(k=st.integers(0, 60), share=shares, null=nulls)
def test_ratio_has_mean_one_given_the_pooled_events(k, share, null):
    """c | k ~ Bin(k, th0·f/(th0·f+1−f)) makes every alternative's e-value average to exactly one."""
    c = np.arange(k + 1)
    e = np.exp(ratio.log_e(c, np.full(k + 1, k), np.full(k + 1, share), ratio.HARM_RATIOS * null, null))
    odds = null * share / (null * share + 1.0 - share)
    means = binom.pmf(c, k, odds) @ e
    assert np.allclose(means, 1.0, rtol=1e-8)


@given(k=st.integers(0, 60), share=shares, less=st.floats(0.05, 1.0))
def test_ratio_is_conservative_inside_the_null(k, share, less):
    """A canary with fewer errors than the null allows never raises the expectation above one."""
    c = np.arange(k + 1)
    e = np.exp(ratio.log_e(c, np.full(k + 1, k), np.full(k + 1, share), ratio.HARM_RATIOS, 1.0))
    odds = less * share / (less * share + 1.0 - share)
    assert (binom.pmf(c, k, odds) @ e <= 1.0 + 1e-9).all()


@given(n=st.integers(1, 25), m=st.integers(1, 25), p=st.floats(0.001, 0.5), null=st.floats(1.0, 2.0))
def test_ratio_holds_for_bernoulli_requests_of_both_arms(n, m, p, null):
    """With fixed numbers of requests the expectation stays at most one (the product bound)."""
    c, b = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    weights = binom.pmf(c, n, min(null * p, 1.0)) * binom.pmf(b, m, p)
    if null * p > 1.0:
        return
    log_e = ratio.log_e(c, c + b, np.full(c.shape, n / (n + m)), ratio.HARM_RATIOS * null, null)
    assert ((weights[..., None] * np.exp(log_e)).sum(axis=(0, 1)) <= 1.0 + 1e-9).all()


@given(p=st.floats(0.0, 0.5), share=shares, margin=st.floats(0.05, 1.0))
def test_a_subject_of_any_rate_gives_mean_one_at_the_margin(p, share, margin):
    """Non-inferiority: one subject with its own bad-rate, arm drawn with share f, has expectation exactly one."""
    null = 1.0 + margin
    canary = np.exp(ratio.log_e(1, 1, share, ratio.SAFE_RATIOS, null))
    baseline = np.exp(ratio.log_e(0, 1, share, ratio.SAFE_RATIOS, null))
    mean = 1.0 + share * null * p * (canary - 1.0) + (1.0 - share) * p * (baseline - 1.0)
    assert np.allclose(mean, 1.0, atol=1e-9)


@given(p=st.floats(0.0, 0.2), share=shares, margin=st.floats(0.05, 1.0), worse=st.floats(1.0, 2.0))
def test_a_subject_beyond_the_margin_never_gains(p, share, margin, worse):
    """Non-inferiority inside its null: a canary worse than the margin has an expectation of at most one, by every bet."""
    null = 1.0 + margin
    canary, baseline = (np.exp(ratio.log_e(arm, 1, share, ratio.SAFE_RATIOS, null)) for arm in (1, 0))
    mean = 1.0 + share * worse * null * p * (canary - 1.0) + (1.0 - share) * p * (baseline - 1.0)
    assert (mean <= 1.0 + 1e-9).all()


@given(p=rates, share=shares, allowed=st.floats(0.001, 0.4), past=st.integers(0, 5000), worse=st.floats(0.0, 1.0))
def test_a_subject_of_any_rate_gives_mean_one_at_the_allowed_excess(p, share, allowed, past, worse):
    """The allowance test has expectation exactly one for p_canary = p + δ, whatever p, f and the bets are; beyond, less."""
    bets = excess.bets_for(past // 100, past, share=share, excess=allowed)

    def e(c: int, n: int, b: int) -> np.ndarray:
        return np.exp(excess.log_e(c, n, b, share=share, excess=allowed, bets=bets))

    def mean(canary: float) -> np.ndarray:
        usual = p * e(0, 0, 1) + (1.0 - p) * e(0, 0, 0)
        return share * (canary * e(1, 1, 0) + (1.0 - canary) * e(0, 1, 0)) + (1.0 - share) * usual

    assert np.allclose(mean(p + allowed), 1.0, atol=1e-9)
    assert (mean(p + allowed + worse * (1.0 - p - allowed)) <= 1.0 + 1e-9).all()


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=6), st.floats(0.005, 0.4))
def test_ceiling_holds_for_unlike_people(rates_of, limit):
    """People of unlike rates whose mean is at the ceiling or above give an expectation of at most one."""
    mean = sum(rates_of) / len(rates_of)
    people = [min(rate + max(limit - mean, 0.0), 1.0) for rate in rates_of]
    if sum(people) / len(people) < limit:
        return
    total = np.ones(len(ceiling.LOG_WEIGHTS))
    for p in people:
        bad, good = (np.exp(ceiling.log_e(x, 1, past_bad=2, past_seen=1000, ceiling=limit)) for x in (1, 0))
        total = total * (p * bad + (1.0 - p) * good)
    assert (total <= 1.0 + 1e-9).all()


@given(
    law=st.lists(st.floats(0.01, 1.0), min_size=3, max_size=12),
    tilt=st.lists(st.floats(-3.0, 3.0), min_size=12, max_size=12),
    n=st.integers(1, 40),
    m=st.integers(1, 40),
)
def test_histogram_product_bound(law, tilt, n, m):
    """E = E_canary[g_a]^n · E_base[g_b]^m ≤ 1 for any positive tilt and any law both arms share (weighted AM–GM)."""
    p = np.array(law) / sum(law)
    log_psi = np.array(tilt[: len(law)])[None, :]
    unit = np.eye(len(law), dtype=np.int64)
    nothing = np.zeros_like(unit)
    share = n / (n + m)
    psi = np.repeat(log_psi[None], len(law), axis=0)
    foretold = histogram.Foretold(starts=np.arange(len(law)), log_tilts=psi)
    of_canary = p @ np.exp(histogram.log_e(unit, nothing, np.full(len(law), share), foretold))[:, 0]
    of_baseline = p @ np.exp(histogram.log_e(nothing, unit, np.full(len(law), share), foretold))[:, 0]
    assert n * math.log(of_canary) + m * math.log(of_baseline) <= 1e-9
    assert math.isclose(share * of_canary + (1.0 - share) * of_baseline, 1.0, abs_tol=1e-9)


@given(st.lists(st.integers(0, 60), min_size=40, max_size=40))
def test_tilts_rise_with_duration(counts):
    """Foretold tilts never fall, so a canary that is only faster cannot be convicted; and each averages to about one."""
    past = np.zeros(288, dtype=np.int64)
    past[120:160] = counts
    tilts = histogram.foretell(past).log_tilts
    assert (np.diff(tilts, axis=-1) >= -1e-9).all()
    assert np.isfinite(tilts).all()
    assert (past.sum() >= histogram.WARM_UP) or not tilts.any()


@given(
    pods=st.lists(st.tuples(st.integers(0, 50), st.integers(50, 90)), min_size=2, max_size=7),
    chosen=st.integers(1, 6),
)
def test_pods_are_exchangeable(pods, chosen):
    """Averaged over which pods are the canary's, the e-value is exactly one for every bet, whatever the pods did."""
    chosen = min(chosen, len(pods) - 1)
    splits = [
        [pods[i] for i in (*mine, *(j for j in range(len(pods)) if j not in mine))]
        for mine in itertools.combinations(range(len(pods)), chosen)
    ]
    bad, requests = np.moveaxis(np.array(splits), -1, 0)
    assert np.allclose(np.exp(groups.log_e(groups.scores(bad, requests), chosen)).mean(axis=0), 1.0, rtol=1e-8)


REQUESTS = 2


@settings(max_examples=30, deadline=None)
@given(
    pods=st.integers(2, 4),
    chosen=st.integers(1, 3),
    rate=st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.4]),
    excess_rate=st.floats(0.01, 0.3),
    worse=st.floats(0.0, 0.2),
    noise=st.lists(st.floats(0.2, 1.0), min_size=4, max_size=4),
)
def test_a_canary_over_its_allowance_gains_nothing_by_pods(pods, chosen, rate, excess_rate, worse, noise):
    """Over all outcomes of pods of two requests and all orders of unlike pods, E ≤ 1 for a canary at the margin or beyond."""
    chosen = min(chosen, pods - 1)
    bets = harmless.bets_for(1.0, 100.0, excess_rate)
    outcomes = np.array(list(itertools.product(range(2 * REQUESTS + 1), repeat=pods)))
    sizes = np.full(outcomes.shape, REQUESTS)
    e = np.exp(harmless.excess_log_e(outcomes, sizes, chosen, excess_rate, bets))
    besides = binom.pmf(np.arange(REQUESTS + 1), REQUESTS, min(excess_rate + worse, 1.0))
    total, orders = np.zeros(len(bets)), list(itertools.permutations(noise[:pods]))
    for order in orders:
        chance = np.ones(len(outcomes))
        for pod, factor in enumerate(order):
            usual = binom.pmf(np.arange(REQUESTS + 1), REQUESTS, rate * factor)
            law = np.convolve(usual, besides if pod < chosen else np.eye(REQUESTS + 1)[0])
            chance = chance * law[outcomes[:, pod]]
        total += chance @ e / len(orders)
    assert (total <= 1.0 + 1e-9).all()


@given(
    counts=st.lists(st.integers(0, 40), min_size=2, max_size=6),
    chosen=st.integers(1, 5),
    tail=st.floats(0.02, 0.9),
)
def test_pods_at_a_quantile_margin_are_exchangeable(counts, chosen, tail):
    """Averaged over which pods are the canary's, the e-value of the quantile margin is exactly one, whatever came."""
    chosen = min(chosen, len(counts) - 1)
    splits = [
        [*mine, *(j for j in range(len(counts)) if j not in mine)]
        for mine in itertools.combinations(range(len(counts)), chosen)
    ]
    beyond = np.array(counts)[np.array(splits)]
    log_e = harmless.tail_log_e(beyond, np.full(beyond.shape, 50), chosen, harmless.tail_bets_for(tail))
    assert np.allclose(np.exp(log_e).mean(axis=0), 1.0, rtol=1e-8)


@given(
    rows=st.lists(st.lists(st.integers(0, 9), min_size=40, max_size=40), min_size=2, max_size=5),
    past=st.lists(st.integers(0, 60), min_size=40, max_size=40),
    chosen=st.integers(1, 4),
)
@settings(max_examples=40)
def test_pods_latencies_are_exchangeable(rows, past, chosen):
    """The same for latency: whatever the pods' histograms are, over all choices of canary pods each bet averages to one."""
    chosen = min(chosen, len(rows) - 1)
    foretold = histogram.foretell(np.array(past))
    splits = [
        [*mine, *(j for j in range(len(rows)) if j not in mine)]
        for mine in itertools.combinations(range(len(rows)), chosen)
    ]
    hist = np.array(rows)[np.array(splits)]
    e = np.exp(groups.latency_log_e(hist, hist.sum(axis=-1), chosen, foretold))
    assert e.shape[-1] == len(groups.LATENCY_LOG_WEIGHTS)
    assert np.allclose(e.mean(axis=0), 1.0, rtol=1e-8)


@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=6),
    cut=st.integers(1, 5),
    share=shares,
)
def test_looks_may_be_merged(rows, cut, share):
    """At one exposure the evidence of two blocks is that of their sum: when one looks changes no e-value."""
    split = sum(ratio.log_e(c, c + b, share, ratio.HARM_RATIOS, 1.0) for c, b in rows)
    c, b = map(sum, zip(*rows, strict=True))
    assert np.allclose(split, ratio.log_e(c, c + b, share, ratio.HARM_RATIOS, 1.0), atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    ks=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    steps=st.lists(st.sampled_from([0.01, 0.1, 0.5]), min_size=4, max_size=4),
    stop=st.floats(0.5, 30.0),
)
def test_any_stopping_rule_keeps_the_mean_at_one(ks, steps, stop):
    """All paths of a short ramp, stopped where the mixture first reaches any level: E[E_τ] = 1 with changing shares."""
    shares_of = sorted(steps[: len(ks)])
    total = 0.0
    for path in itertools.product(*(range(k + 1) for k in ks)):
        main, late = mixture.begin(len(ratio.HARM_RATIOS))
        chance, value, stopped = 1.0, 1.0, False
        for look, (c, k, share) in enumerate(zip(path, ks, shares_of, strict=True), start=1):
            chance *= binom.pmf(c, k, share)
            if stopped:
                continue
            main, late = mixture.advance(main, late, look, ratio.log_e(c, k, share, ratio.HARM_RATIOS, 1.0))
            value = math.exp(mixture.log_value(main, late, look, ratio.HARM_LOG_WEIGHTS))
            stopped = value >= stop
        total += chance * value
    assert math.isclose(total, 1.0, rel_tol=1e-7)


def test_start_weights_are_a_law():
    """The start weights and what is left sum to one at every look, so no evidence is made from nothing."""
    begun = 0.0
    for look in range(1, 200):
        begun += math.exp(mixture.log_start_weight(look))
        assert math.isclose(begun + math.exp(mixture.log_unstarted(look)), 1.0, rel_tol=1e-9)


def test_the_alternatives_of_harm_are_those_of_the_method():
    """Twelve ratios, evenly apart on a log scale from 1.15 to 40, and eight bets between pods from .05 to 3."""
    assert (len(ratio.HARM_RATIOS), ratio.HARM_RATIOS[0], ratio.HARM_RATIOS[-1]) == (12, 1.15, 40.0)
    assert np.allclose(np.diff(np.log(ratio.HARM_RATIOS), n=2), 0.0)
    assert (len(groups.LAMBDAS), groups.LAMBDAS[0], groups.LAMBDAS[-1]) == (8, 0.05, 3.0)


def test_weights_sum_to_one():
    """Every mixture over alternatives is a law."""
    for weights in (
        ratio.HARM_LOG_WEIGHTS,
        ratio.SAFE_LOG_WEIGHTS,
        ratio.TAIL_LOG_WEIGHTS,
        ceiling.LOG_WEIGHTS,
        excess.LOG_WEIGHTS,
        groups.LOG_WEIGHTS,
        groups.LATENCY_LOG_WEIGHTS,
        harmless.LOG_WEIGHTS,
        histogram.LOG_WEIGHTS,
    ):
        assert math.isclose(float(np.exp(weights).sum()), 1.0, rel_tol=1e-9)
