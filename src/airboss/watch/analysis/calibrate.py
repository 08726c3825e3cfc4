"""Proof by simulation: false alarms, delays, false certification and planned against measured sample sizes.

`calibrate` runs the rollouts' own tests on simulated worlds and reports every figure with its runs and, for error
rates, exact Clopper–Pearson limits (99 %). The default run ends within minutes on one core; `full` is the acceptance
list (1,000 looks × 20,000 runs). Nothing here reads a clock or unseeded chance: same arguments, same report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from scipy.special import betaincinv

from airboss.kernel.canonical import Json
from airboss.watch.analysis import excess, groups, mixture, planner, ratio, simulate
from airboss.watch.analysis.bins import BIN_COUNT, Counts, Floats, bins_of_margin
from airboss.watch.analysis.model import Kind, Metric, StepContext
from airboss.watch.analysis.simulate import Crowd, Generator, Look

ALPHA: Final = 0.01
BETA: Final = 0.01
_CHUNK: Final = 1000

Looker = Callable[[Generator, int], Counts]
"""Runs some processes and returns the look of rejection of each, 0 for none."""


def clopper_pearson(hits: int, runs: int, confidence: float = 0.99) -> tuple[float, float]:
    """Return exact one-sided lower and upper limits, each at `confidence`, of a probability seen `hits` in `runs` times."""
    low = float(betaincinv(hits, runs - hits + 1, 1.0 - confidence)) if hits else 0.0
    high = float(betaincinv(hits + 1, runs - hits, confidence)) if hits < runs else 1.0
    return low, high


def calibrate(seed: int = 1, runs: int = 2000, looks: int = 400, *, full: bool = False) -> dict[str, Json]:
    """Return the report: {seed, runs, looks, alpha, beta, false_alarms, false_certification, detection, planned, ok}.

    `ok` means that no error rate's lower limit lies above its level (a proven violation) and, when `full`, that every
    upper limit lies below 1.2 times the level.
    """
    if full:
        runs, looks = 20_000, 1_000
    rng = np.random.default_rng(seed)
    alarms = false_alarms(rng, runs, looks, ALPHA)
    certified = false_certification(rng, runs, looks, BETA)
    held = [row for row in (*alarms, *certified) if row["claimed"]]
    proven = all(_number(row["low"]) <= _number(row["level"]) for row in held)
    tight = all(_number(row["high"]) <= 1.2 * _number(row["level"]) for row in held)
    return {
        "format": 1,
        "seed": seed,
        "runs": runs,
        "looks": looks,
        "full": full,
        "alpha": ALPHA,
        "beta": BETA,
        "false_alarms": alarms,
        "false_certification": certified,
        "detection": detection(rng, min(runs, 2000), ALPHA),
        "planned": planned(rng, min(runs, 2000), BETA),
        "ok": proven and (tight or not full),
    }


def false_alarms(rng: Generator, runs: int, looks: int, alpha: float) -> list[dict[str, Json]]:
    """Return a row for each null world: how often a test that should stay silent rejected at some look."""

    def counted(rate: float, *, shock: bool) -> Looker:
        def run(chance: Generator, part: int) -> Counts:
            stream = simulate.binomial_stream(
                chance, runs=part, looks=looks, canary=100, baseline=900, rate=rate, shock=shock
            )
            return simulate.harm_looks(stream, part, alpha)

        return run

    def crowded(spread: float, world: Callable[[Generator, Crowd, Floats, int], Iterator[Look]]) -> Looker:
        def run(chance: Generator, part: int) -> Counts:
            stream = world(chance, Crowd(spread=spread), simulate.ramp_shares(looks), part)
            return simulate.harm_looks(stream, part, alpha)

        return run

    def durations(*, shock: bool) -> Looker:
        laws = [simulate.duration_law(scale) for scale in (1.0, 1.6)]

        def law(look: int) -> Floats:
            return laws[(look // 20) % 2 if shock else 0]

        def run(chance: Generator, part: int) -> Counts:
            return simulate.latency_looks(
                chance,
                runs=part,
                looks=max(looks // 4, 10),
                canary=50,
                baseline=450,
                canary_law=law,
                baseline_law=law,
                alpha=alpha,
            )

        return run

    def pods(chosen: int = 1, sizes: tuple[int, ...] = (100,) * 10) -> Looker:
        return lambda chance, part: pod_looks(chance, part, looks, alpha, chosen=chosen, sizes=sizes)

    few = max(runs // 4, 50)
    return [
        _error_row("errors, iid, 0.1 %", rng, runs, alpha, counted(0.001, shock=False)),
        _error_row("errors, iid, 1 %", rng, runs, alpha, counted(0.01, shock=False)),
        _error_row("errors, common shock, 0.1 %", rng, runs, alpha, counted(0.001, shock=True)),
        _error_row("errors, common shock, 1 %", rng, runs, alpha, counted(0.01, shock=True)),
        _error_row(
            "ramp 1→10→50 %, 3,000 sticky users, CV 4, 5 always failing",
            rng,
            runs,
            alpha,
            crowded(4.0, simulate.sticky_subjects),
        ),
        _error_row(
            "ramp 1→10→50 %, 3,000 sticky users, CV 2, 5 always failing",
            rng,
            runs,
            alpha,
            crowded(2.0, simulate.sticky_subjects),
        ),
        _error_row(
            "the same judged by requests (not ours: why subjects)",
            rng,
            few,
            alpha,
            crowded(4.0, simulate.sticky_requests),
            claimed=False,
        ),
        _error_row("deploy, 10 pods, pod noise CV .5", rng, runs, alpha, pods()),
        _error_row("the same, 3 of 10 pods canary", rng, few, alpha, pods(chosen=3)),
        _error_row(
            "the same, pods of unequal size, the canary's 15 % larger", rng, few, alpha, pods(sizes=(115, 85) * 5)
        ),
        _error_row("durations, iid", rng, few, alpha, durations(shock=False)),
        _error_row("durations, common shock 1.6×", rng, few, alpha, durations(shock=True)),
    ]


def false_certification(rng: Generator, runs: int, looks: int, beta: float) -> list[dict[str, Json]]:
    """Return a row for each harmful world: how often it was called harmless at some look. The truth is at the margin."""

    def over_allowance(share: float, next_share: float, *, shock: bool = False) -> Looker:
        def run(chance: Generator, part: int) -> Counts:
            return excess_looks(
                chance,
                part,
                looks,
                beta,
                base=0.002,
                allowed=0.005 / next_share,
                share=share,
                units=400,
                harmful=True,
                shock=shock,
            )

        return run

    def over_margin(chance: Generator, part: int) -> Counts:
        return margin_looks(chance, part, looks, beta, base=0.01, margin=0.5, truth=1.5)

    def over_quantile(chance: Generator, part: int) -> Counts:
        return quantile_looks(chance, part, looks, beta, margin=0.2, harmful=True)

    return [
        _error_row("allowance .5 %, at 1 %, next 10 %", rng, runs, beta, over_allowance(0.01, 0.10)),
        _error_row("allowance .5 %, at 10 %, next 50 %", rng, runs, beta, over_allowance(0.10, 0.50)),
        _error_row("allowance .5 %, at 50 %, next 100 %", rng, runs, beta, over_allowance(0.50, 1.00)),
        _error_row("the same, base rate shocked", rng, runs, beta, over_allowance(0.50, 1.00, shock=True)),
        _error_row("relative margin 50 % at 1 % errors", rng, runs, beta, over_margin),
        _error_row("p95 margin 20 % (two bins)", rng, runs, beta, over_quantile),
    ]


def detection(rng: Generator, runs: int, alpha: float) -> list[dict[str, Json]]:
    """Return mean canary units to a conviction beside the information bound LB_two (known rates, unknown to the null)."""

    def errors(name: str, rate: float, harm: float, *, baseline: int) -> dict[str, Json]:
        stream = simulate.binomial_stream(
            rng, runs=runs, looks=4000, canary=100, baseline=baseline, rate=rate, harm=harm
        )
        found = simulate.harm_looks(stream, runs, alpha)
        share = 100 / (100 + baseline)
        bound = -math.log(alpha) / two_arm_information(rate, rate * harm, share)
        return _delay_row(name, found, 100, bound)

    def slower(scale: float, part: int) -> dict[str, Json]:
        usual, slow = simulate.duration_law(), simulate.duration_law(scale)
        found = simulate.latency_looks(
            rng,
            runs=part,
            looks=400,
            canary=100,
            baseline=900,
            canary_law=lambda _look: slow,
            baseline_law=lambda _look: usual,
            alpha=alpha,
        )
        pooled = 0.1 * slow + 0.9 * usual
        gain = _kl(slow, pooled) + 9.0 * _kl(usual, pooled)
        return _delay_row(f"durations {scale:g}× slower, 10:90", found, 100, -math.log(alpha) / gain)

    def by_pods(name: str, rate: float, harm: float) -> dict[str, Json]:
        found = pod_looks(rng, few, 4000, alpha, rate=rate, harm=harm, spread=0.0)
        return _delay_row(name, found, 100, -math.log(alpha) / two_arm_information(rate, rate * harm, 0.1))

    few = max(runs // 8, 40)
    return [
        by_pods("errors .1 → .5 %, 10 pods, the test by pods", 0.001, 5.0),
        by_pods("errors 1 → 2 %, 10 pods, the test by pods", 0.01, 2.0),
        errors("errors .1 → .5 %, 10:90", 0.001, 5.0, baseline=900),
        errors("errors 1 → 2 %, 10:90", 0.01, 2.0, baseline=900),
        errors("errors .1 → .5 %, 1:1", 0.001, 5.0, baseline=100),
        slower(1.10, few),
        slower(1.25, few),
    ]


def planned(rng: Generator, runs: int, beta: float) -> list[dict[str, Json]]:
    """Return planned and measured mean canary units to certify a harmless canary."""
    rows: list[dict[str, Json]] = []
    for share, next_share in ((0.01, 0.10), (0.10, 0.50), (0.50, 1.00)):
        allowed = 0.005 / next_share
        need = planner.excess_need(0.002, allowed, share, beta)
        assert need is not None
        unit = max(need // 40, 1)
        found = excess_looks(
            rng, runs, 1200, beta, base=0.002, allowed=allowed, share=share, units=unit / share, harmful=False
        )
        rows.append(_plan_row(f"excess below {100 * allowed:.2g} % at {share:.0%}, base .2 %", need, found, unit))
    need = planner.margin_need(0.01, 0.5, 0.5, beta)
    assert need is not None
    found = margin_looks(rng, runs, 1200, beta, base=0.01, margin=0.5, truth=1.0, canary=need // 40)
    rows.append(_plan_row("relative margin 50 % at 1 % errors, 1:1", need, found, need // 40))
    metric = Metric(name="latency", kind=Kind.LATENCY, margin=0.2)
    step = StepContext(index=2, share_canary=0.5, next_share=1.0, allowance=0.0, is_last_before_full=True)
    history = np.zeros(BIN_COUNT, dtype=np.int64)
    history[simulate.SUPPORT] = np.rint(1e6 * simulate.duration_law())
    need = planner.latency_need(metric, step, beta, history)
    assert need is not None
    found = quantile_looks(rng, runs, 1200, beta, margin=0.2, harmful=False, canary=need // 40)
    rows.append(_plan_row("p95 margin 20 % (two bins), 1:1", need, found, need // 40))
    return rows


def _kl(p: Floats, q: Floats) -> float:
    used = p > 0.0
    return float((p[used] * np.log(p[used] / q[used])).sum())


def two_arm_information(base: float, canary: float, share: float) -> float:
    """Return KL(p1‖pm) + (m/n)·KL(p0‖pm), pm = f·p1 + (1−f)·p0: the most a canary unit can tell when neither is known."""
    pooled = share * canary + (1.0 - share) * base
    odds = (1.0 - share) / share
    return ratio.bernoulli_kl(canary, pooled) + odds * ratio.bernoulli_kl(base, pooled)


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
    process = np.zeros((runs, len(excess.LOG_WEIGHTS)))
    past_bad, past_seen = np.zeros(runs), np.zeros(runs)
    certified = np.zeros(runs, dtype=np.int64)
    for look in range(1, looks + 1):
        rate = base * (3.0 if shock and (look // 10) % 2 else 1.0)
        seen = rng.poisson(units * share, runs)
        bad = rng.binomial(seen, rate + allowed if harmful else rate)
        others = rng.poisson(units * (1.0 - share), runs)
        others_bad = rng.binomial(others, rate)
        bets = excess.bets_for(past_bad, past_seen, share=share, excess=allowed)
        process += excess.log_e(bad, seen, others_bad, share=share, excess=allowed, bets=bets)
        past_bad += others_bad
        past_seen += others
        value = mixture.log_sum(process + excess.LOG_WEIGHTS)
        certified[(certified == 0) & (value >= -np.log(beta))] = look
        if certified.all():
            break
    return certified


def margin_looks(
    rng: Generator, runs: int, looks: int, beta: float, *, base: float, margin: float, truth: float, canary: int = 200
) -> Counts:
    """Return the look at which the relative test certifies at a 1:1 split when the true ratio is `truth`."""
    process = np.zeros((runs, len(ratio.SAFE_RATIOS)))
    certified = np.zeros(runs, dtype=np.int64)
    for look in range(1, looks + 1):
        bad = rng.binomial(canary, base * truth, runs)
        both = bad + rng.binomial(canary, base, runs)
        process += ratio.log_e(bad, both, 0.5, ratio.SAFE_RATIOS, 1.0 + margin)
        value = mixture.log_sum(process + ratio.SAFE_LOG_WEIGHTS)
        certified[(certified == 0) & (value >= -np.log(beta))] = look
        if certified.all():
            break
    return certified


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
    process = np.zeros((runs, len(ratio.TAIL_LOG_WEIGHTS)))
    certified = np.zeros(runs, dtype=np.int64)
    for look in range(1, looks + 1):
        slow = rng.binomial(canary, beyond, runs)
        both = slow + rng.binomial(canary, over, runs)
        process += ratio.log_e(slow, both, 0.5, tail, 1.0)
        value = mixture.log_sum(process + ratio.TAIL_LOG_WEIGHTS)
        certified[(certified == 0) & (value >= -np.log(beta))] = look
        if certified.all():
            break
    return certified


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
    main, late = mixture.begin(len(groups.LAMBDAS), runs)
    rejected = np.zeros(runs, dtype=np.int64)
    requests = np.broadcast_to(np.array(sizes), (runs, len(sizes)))
    mean = rate * np.array(sizes, dtype=np.float64)
    mean[:chosen] *= harm
    for look in range(1, looks + 1):
        noise = rng.gamma(spread**-2, spread**2, requests.shape) if spread > 0.0 else np.ones(requests.shape)
        scores = groups.scores(rng.poisson(mean * noise), requests)
        main, late = mixture.advance(main, late, look, groups.log_e(scores, chosen))
        value = mixture.log_value(main, late, look, groups.LOG_WEIGHTS)
        rejected[(rejected == 0) & (value >= -np.log(alpha))] = look
        if rejected.all():
            break
    return rejected


def _error_row(
    name: str, rng: Generator, runs: int, level: float, looker: Looker, *, claimed: bool = True
) -> dict[str, Json]:
    hits = 0
    for begin in range(0, runs, _CHUNK):
        hits += int((looker(rng, min(_CHUNK, runs - begin)) > 0).sum())
    low, high = clopper_pearson(hits, runs)
    return {
        "world": name,
        "runs": runs,
        "errors": hits,
        "rate": hits / runs,
        "low": low,
        "high": high,
        "level": level,
        "claimed": claimed,
    }


def _delay_row(name: str, found: Counts, canary_per_look: int, bound: float) -> dict[str, Json]:
    detected = found > 0
    delay = found[detected] * canary_per_look
    mean = float(delay.mean()) if len(delay) else None
    return {
        "world": name,
        "runs": len(found),
        "detected": float(detected.mean()),
        "mean_canary_units": mean,
        "median_canary_units": float(np.median(delay)) if len(delay) else None,
        "bound": bound,
        "times_bound": None if mean is None else mean / bound,
    }


def _plan_row(name: str, need: int, found: Counts, unit: int) -> dict[str, Json]:
    measured = float(found[found > 0].mean() * unit)
    return {"claim": name, "planned": need, "measured_mean": measured, "certified": float((found > 0).mean())}


def _number(value: Json) -> float:
    assert isinstance(value, int | float)
    return float(value)
