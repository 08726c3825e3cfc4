"""Proof by simulation: false alarms, delays, false certification and planned against measured sample sizes.

`calibrate` runs the rollouts' own tests on simulated worlds and reports every figure with its runs, its goal and whether
that is reached and, for error rates, exact Clopper–Pearson limits (99 %). The default run ends within minutes on one core;
`full` is the acceptance list (1,000 looks × 20,000 runs). Nothing here reads a clock or unseeded chance: same arguments,
same report.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Final

import numpy as np

from airboss.kernel.canonical import Json
from airboss.kernel.errors import Invalid
from airboss.watch.analysis import harmless, planner, ratio, simulate, trials
from airboss.watch.analysis.bins import BIN_COUNT, BINS_PER_DOUBLING, Counts, Floats, bins_of_margin
from airboss.watch.analysis.model import Kind, Metric, StepContext
from airboss.watch.analysis.rows import Row, beside_row, delay_row, error_row, plan_row
from airboss.watch.analysis.simulate import Crowd, Generator, Look

ALPHA: Final = 0.01
BETA: Final = 0.01
HEALTHY: Final = 500
"""Looks of 100 canary requests before a late harm begins."""
_CHUNK: Final = 1000

Looker = Callable[[Generator, int], Counts]
"""Runs some processes and returns the look of rejection of each, 0 for none."""
Progress = Callable[[str], None]


SECTIONS: Final = ("false_alarms", "false_certification", "detection", "late_change", "planned")


def calibrate(
    seed: int = 1,
    runs: int = 2000,
    looks: int = 400,
    *,
    full: bool = False,
    only: Collection[str] = SECTIONS,
    progress: Progress | None = None,
) -> dict[str, Json]:
    """Return the report: {seed, runs, looks, alpha, beta, false_alarms, false_certification, detection, late_change, planned,
    missed, ok}, the sections as rows (`rows`); those that are not in `only` are empty.

    `missed` names the rows whose goal is not reached. `ok`: no error rate's lower limit lies above its level (a proven
    violation) and, when `full`, no goal is missed. `progress` is told what is begun. Every row has chance of its own, from
    `seed` and its name, so that it is the same whichever others are asked for. Raises Invalid for an unknown section.
    """
    if unknown := sorted(set(only) - set(SECTIONS)):
        raise Invalid(f"there is no section {unknown[0]}", code="calibration-section", way_out=", ".join(SECTIONS))
    if full:
        runs, looks = 20_000, 1_000
    some = min(runs, 2000)
    makers: dict[str, Callable[[], list[Row]]] = {
        "false_alarms": lambda: false_alarms(seed, runs, looks, ALPHA, strict=full),
        "false_certification": lambda: false_certification(seed, 2 * runs if full else runs, looks, BETA, strict=full),
        "detection": lambda: detection(seed, some, ALPHA),
        "late_change": lambda: late_change(seed, some, ALPHA),
        "planned": lambda: planned(seed, some, BETA),
    }
    found: dict[str, list[Row]] = {}
    for name, make in makers.items():
        if progress is not None and name in only:
            progress(name.replace("_", " "))
        found[name] = make() if name in only else []
    missed = [row for rows in found.values() for row in rows if row["reached"] is False]
    levels = [*found["false_alarms"], *found["false_certification"]]
    return {
        "format": 2,
        "seed": seed,
        "runs": runs,
        "looks": looks,
        "full": full,
        "alpha": ALPHA,
        "beta": BETA,
        **{name: [*rows] for name, rows in found.items()},
        "missed": [row.get("world") or row["claim"] for row in missed],
        "ok": not (missed if full else [row for row in missed if row in levels]),
    }


def false_alarms(seed: int, runs: int, looks: int, alpha: float, *, strict: bool = False) -> list[Row]:
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

    def row(name: str, part: int, looker: Looker, *, claimed: bool = True) -> Row:
        return error_row(name, _hits(_chance(seed, name), part, looker), part, alpha, claimed=claimed, strict=strict)

    few = max(runs // 4, 50)
    return [
        row("errors, iid, 0.1 %", runs, counted(0.001, shock=False)),
        row("errors, iid, 1 %", runs, counted(0.01, shock=False)),
        row("errors, common shock, 0.1 %", runs, counted(0.001, shock=True)),
        row("errors, common shock, 1 %", runs, counted(0.01, shock=True)),
        row("ramp 1→10→50 %, 3,000 sticky users, CV 4, 5 always failing", runs, crowded(4.0, simulate.sticky_subjects)),
        row("ramp 1→10→50 %, 3,000 sticky users, CV 2, 5 always failing", runs, crowded(2.0, simulate.sticky_subjects)),
        row(
            "the same judged by requests (not ours: why subjects)",
            few,
            crowded(4.0, simulate.sticky_requests),
            claimed=False,
        ),
        row("durations, iid", few, durations(shock=False)),
        row("durations, common shock 1.6×", few, durations(shock=True)),
        *_false_alarms_by_pods(seed, runs, looks, alpha, strict=strict),
    ]


def _false_alarms_by_pods(seed: int, runs: int, looks: int, alpha: float, *, strict: bool) -> list[Row]:
    def errors(chosen: int = 1, sizes: tuple[int, ...] = (100,) * 10) -> Looker:
        return lambda chance, part: trials.pod_looks(chance, part, looks, alpha, chosen=chosen, sizes=sizes)

    def durations(*, by_pods: bool) -> Looker:
        return lambda chance, part: trials.pod_duration_looks(chance, part, max(looks // 4, 10), alpha, by_pods=by_pods)

    def row(name: str, part: int, looker: Looker, *, claimed: bool = True) -> Row:
        return error_row(name, _hits(_chance(seed, name), part, looker), part, alpha, claimed=claimed, strict=strict)

    few = max(runs // 4, 50)
    return [
        row("deploy, 10 pods, pod noise CV .5", runs, errors()),
        row("the same, 3 of 10 pods canary", few, errors(chosen=3)),
        row("the same, pods of unequal size, the canary's 15 % larger", runs, errors(sizes=(115, 85) * 5)),
        row("durations, 10 pods, pod noise 5 %", few, durations(by_pods=True)),
        row("the same, pods not told apart (why by pods)", few, durations(by_pods=False), claimed=False),
    ]


def false_certification(seed: int, runs: int, looks: int, beta: float, *, strict: bool = False) -> list[Row]:
    """Return a row for each harmful world: how often it was called harmless at some look. The truth is at the margin."""

    def over_allowance(share: float, next_share: float, *, shock: bool = False) -> Looker:
        def run(chance: Generator, part: int) -> Counts:
            return trials.excess_looks(
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
        return trials.margin_looks(chance, part, looks, beta, base=0.01, margin=0.5, truth=1.5)

    def over_quantile(chance: Generator, part: int) -> Counts:
        return trials.quantile_looks(chance, part, looks, beta, margin=0.2, harmful=True)

    def pods_over(base: float, chosen: int, *, by_pods: bool = True) -> Looker:
        def run(chance: Generator, part: int) -> Counts:
            return trials.pod_excess_looks(
                chance, part, looks, beta, base=base, allowed=0.01, chosen=chosen, harmful=True, by_pods=by_pods
            )

        return run

    def pods_over_quantile(chance: Generator, part: int) -> Counts:
        return trials.pod_quantile_looks(chance, part, looks, beta, margin=0.2, harmful=True)

    def row(name: str, part: int, looker: Looker, *, claimed: bool = True) -> Row:
        return error_row(name, _hits(_chance(seed, name), part, looker), part, beta, claimed=claimed, strict=strict)

    few = max(runs // 8, 50)
    return [
        row("allowance .5 %, at 1 %, next 10 %", runs, over_allowance(0.01, 0.10)),
        row("allowance .5 %, at 10 %, next 50 %", runs, over_allowance(0.10, 0.50)),
        row("allowance .5 %, at 50 %, next 100 %", runs, over_allowance(0.50, 1.00)),
        row("the same, base rate shocked", runs, over_allowance(0.50, 1.00, shock=True)),
        row("relative margin 50 % at 1 % errors", runs, over_margin),
        row("p95 margin 20 % (two bins)", runs, over_quantile),
        row("excess 1 % at 2 % errors, 10 pods, pod noise CV .5", few, pods_over(0.02, 1)),
        row("the same, 5 of 10 pods canary", few, pods_over(0.02, 5)),
        row("excess 1 % at 10 % errors, 10 pods, pod noise CV .5", few, pods_over(0.10, 1)),
        row("the same, pods not told apart (why by pods)", few, pods_over(0.10, 1, by_pods=False), claimed=False),
        row("p95 margin 20 % (two bins), 10 pods, pod noise 5 %", few, pods_over_quantile),
    ]


def detection(seed: int, runs: int, alpha: float) -> list[Row]:
    """Return mean canary units to a conviction beside the information bound LB_two (known rates, unknown to the null)."""

    def slower(scale: float, most: float | None) -> Row:
        usual, slow = simulate.duration_law(), simulate.duration_law(scale)
        found = simulate.latency_looks(
            _chance(seed, f"durations {scale:g}"),
            runs=part,
            looks=400,
            canary=100,
            baseline=900,
            canary_law=lambda _look: slow,
            baseline_law=lambda _look: usual,
            alpha=alpha,
        )
        return delay_row(f"durations {scale:g}× slower, 10:90", found, 100, slow_bound(scale), most=most)

    def slow_bound(scale: float) -> float:
        usual, slow = simulate.duration_law(), simulate.duration_law(scale)
        pooled = 0.1 * slow + 0.9 * usual
        return -math.log(alpha) / (_kl(slow, pooled) + 9.0 * _kl(usual, pooled))

    def by_pods(rate: float, harm: float, plain: Row) -> Row:
        name = f"errors {100 * rate:g} → {100 * rate * harm:g} %, 10 pods, the test by pods"
        found = trials.pod_looks(_chance(seed, name), runs, 4000, alpha, rate=rate, harm=harm, spread=0.0)
        return beside_row(delay_row(name, found, 100, _bound(rate, harm, 0.1, alpha)), plain, 1.3)

    part = max(runs // 4, 40)
    low = _errors(seed, runs, alpha, 0.001, 5.0, most=1.5)
    high = _errors(seed, runs, alpha, 0.01, 2.0, most=1.7)
    slow = slower(1.10, 1.9)
    named = "durations 1.1× slower, 10 pods, the test by pods"
    pods_slow = trials.pod_duration_looks(_chance(seed, named), part, 400, alpha, slower=1.10, spread=0.0)
    return [
        low,
        high,
        by_pods(0.001, 5.0, low),
        by_pods(0.01, 2.0, high),
        _errors(seed, runs, alpha, 0.001, 5.0, baseline=100),
        slow,
        beside_row(delay_row(named, pods_slow, 100, slow_bound(1.10)), slow, 1.3),
        slower(1.25, None),
    ]


def late_change(seed: int, runs: int, alpha: float) -> list[Row]:
    """Return mean canary units from the beginning of a harm that comes after 50,000 healthy ones to its conviction."""
    return [
        _errors(seed, runs, alpha, 0.001, 5.0, most=2.7, healthy=HEALTHY),
        _errors(seed, runs, alpha, 0.01, 2.0, healthy=HEALTHY),
    ]


def _errors(
    seed: int,
    runs: int,
    alpha: float,
    rate: float,
    harm: float,
    *,
    baseline: int = 900,
    most: float | None = None,
    healthy: int = 0,
) -> Row:
    name = f"errors {100 * rate:g} → {100 * rate * harm:g} %, {'10:90' if baseline == 900 else '1:1'}"
    if healthy:
        name += f", after {100 * healthy:,} healthy canary requests"
    stream = simulate.binomial_stream(
        _chance(seed, name), runs=runs, looks=4000, canary=100, baseline=baseline, rate=rate, harm=harm, healthy=healthy
    )
    found = simulate.harm_looks(stream, runs, alpha)
    bound = _bound(rate, harm, 100 / (100 + baseline), alpha)
    return delay_row(name, found, 100, bound, most=most, healthy=healthy)


def planned(seed: int, runs: int, beta: float) -> list[Row]:
    """Return planned and measured mean canary units to certify a harmless canary."""
    rows: list[Row] = []
    for share, next_share in ((0.01, 0.10), (0.10, 0.50), (0.50, 1.00)):
        allowed = 0.005 / next_share
        need = planner.excess_need(0.002, allowed, share, beta)
        assert need is not None
        unit = max(need // 40, 1)
        name = f"excess below {100 * allowed:.2g} % at {share:.0%}, base .2 %"
        found = trials.excess_looks(
            _chance(seed, name),
            runs,
            1200,
            beta,
            base=0.002,
            allowed=allowed,
            share=share,
            units=unit / share,
            harmful=False,
        )
        rows.append(plan_row(name, need, found, unit))
    need = planner.margin_need(0.01, 0.5, 0.5, beta)
    assert need is not None
    name = "relative margin 50 % at 1 % errors, 1:1"
    found = trials.margin_looks(
        _chance(seed, name), runs, 1200, beta, base=0.01, margin=0.5, truth=1.0, canary=need // 40
    )
    rows.append(plan_row(name, need, found, need // 40))
    metric = Metric(name="latency", kind=Kind.LATENCY, margin=0.2)
    step = StepContext(index=2, share_canary=0.5, next_share=1.0, allowance=0.0, is_last_before_full=True)
    history = np.zeros(BIN_COUNT, dtype=np.int64)
    history[simulate.SUPPORT] = np.rint(1e6 * simulate.duration_law())
    need = planner.latency_need(metric, step, beta, history)
    assert need is not None
    name = "p95 margin 20 % (two bins), 1:1"
    found = trials.quantile_looks(_chance(seed, name), runs, 1200, beta, margin=0.2, harmful=False, canary=need // 40)
    rows.append(plan_row(name, need, found, need // 40))
    return [*rows, *_planned_by_pods(seed, runs, beta)]


def _planned_by_pods(seed: int, runs: int, beta: float) -> list[Row]:
    """Return the same of the tests by pods, of pods that do not differ: what a verdict says is still needed."""
    cost = -math.log(beta) - float(harmless.LOG_WEIGHTS[0])
    rows = []
    for chosen in (1, 5):
        need = math.ceil(cost / harmless.excess_information(0.02, 0.01, chosen / 10))
        unit = max(need // (40 * chosen), 1)
        name = f"excess 1 % at 2 % errors, {chosen} of 10 pods"
        found = trials.pod_excess_looks(
            _chance(seed, name),
            runs,
            1200,
            beta,
            base=0.02,
            allowed=0.01,
            chosen=chosen,
            harmful=False,
            spread=0.0,
            requests=unit,
        )
        rows.append(plan_row(name, need, found, unit * chosen))
    need = math.ceil(cost / harmless.tail_information(0.05, _tail(0.2), 0.1))
    unit = need // 40
    name = "p95 margin 20 % (two bins), 1 of 10 pods"
    found = trials.pod_quantile_looks(
        _chance(seed, name), runs, 1200, beta, margin=0.2, harmful=False, spread=0.01, requests=unit
    )
    rows.append(plan_row(name, need, found, unit))
    return rows


def two_arm_information(base: float, canary: float, share: float) -> float:
    """Return KL(p1‖pm) + (m/n)·KL(p0‖pm), pm = f·p1 + (1−f)·p0: the most a canary unit can tell when neither is known."""
    pooled = share * canary + (1.0 - share) * base
    odds = (1.0 - share) / share
    return ratio.bernoulli_kl(canary, pooled) + odds * ratio.bernoulli_kl(base, pooled)


def _bound(rate: float, harm: float, share: float, alpha: float) -> float:
    return -math.log(alpha) / two_arm_information(rate, rate * harm, share)


def _hits(rng: Generator, runs: int, looker: Looker) -> int:
    return sum(int((looker(rng, min(_CHUNK, runs - begin)) > 0).sum()) for begin in range(0, runs, _CHUNK))


def _kl(p: Floats, q: Floats) -> float:
    used = p > 0.0
    return float((p[used] * np.log(p[used] / q[used])).sum())


def _tail(margin: float) -> float:
    """Return how the share of simulated values beyond the p95 falls when the threshold is raised by a margin."""
    return trials.tail_of(bins_of_margin(margin) / BINS_PER_DOUBLING)


def _chance(seed: int, name: str) -> Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
