"""How fast the canary tests are, and how they do beside peers on the very same streams.

Three tables in one run, then one line of JSON: updates a second (vectorised over rollouts, and one stored state at a
time), false alarms and mean delay of the sequential tests beside a z-test at every look, the same with Bonferroni over
the looks, and Mann–Whitney on every interval. `--runs`, `--looks`, `--seed` say how much. Ratios between columns mean
something on any machine; seconds do not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import ndtr

from airboss.kernel.canonical import canonical
from airboss.watch.analysis import (
    ArmCounts,
    Block,
    Kind,
    Metric,
    StepContext,
    decide,
    from_json,
    histogram,
    histogram_of,
    mixture,
    new_step,
    ratio,
    simulate,
    start,
    to_json,
    update,
)

ALPHA = 0.01
Stream = Callable[[np.random.Generator], Iterator[tuple[np.ndarray, np.ndarray, float]]]


def z_looks(stream: Iterator, units: int, runs: int, level: float) -> np.ndarray:
    """Return the look at which the pooled two-sample z-test on all counts so far rejects, one-sided, or 0."""
    canary, baseline = np.zeros(runs), np.zeros(runs)
    n = m = 0.0
    rejected = np.zeros(runs, dtype=np.int64)
    for look, (bad, others, share) in enumerate(stream, start=1):
        canary += bad
        baseline += others
        n += units * share
        m += units * (1.0 - share)
        pooled = (canary + baseline) / (n + m)
        spread = np.sqrt(np.maximum(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m), 1e-300))
        p = ndtr(-(canary / n - baseline / m) / spread)
        rejected[(rejected == 0) & (p < level)] = look
    return rejected


def mann_whitney_looks(streams: Iterator, runs: int, level: float) -> np.ndarray:
    """Return the look at which Mann–Whitney on one interval's durations rejects, one-sided, or 0."""
    rejected = np.zeros(runs, dtype=np.int64)
    for look, (slow, usual) in enumerate(streams, start=1):
        n, m = slow.sum(axis=1), usual.sum(axis=1)
        below = np.cumsum(usual, axis=1) - usual
        u = (slow * (below + 0.5 * usual)).sum(axis=1)
        both = slow + usual
        ties = (both.astype(float) ** 3 - both).sum(axis=1)
        total = n + m
        variance = n * m / 12.0 * ((total + 1) - ties / (total * (total - 1)))
        p = ndtr(-(u - n * m / 2.0) / np.sqrt(variance))
        rejected[(rejected == 0) & (p < level)] = look
    return rejected


def histogram_looks(streams: Iterator, share: float, runs: int, level: float) -> np.ndarray:
    """Return the look at which our histogram test rejects, or 0."""
    main, late = mixture.begin(histogram.TILT_COUNT, runs)
    rejected = np.zeros(runs, dtype=np.int64)
    past: np.ndarray | int = 0
    for look, (slow, usual) in enumerate(streams, start=1):
        past = past + 0 * usual
        log_e = histogram.log_e(slow, usual, share, histogram.foretell(past))
        main, late = mixture.advance(main, late, look, log_e)
        past = past + usual
        value = mixture.log_value(main, late, look, histogram.LOG_WEIGHTS)
        rejected[(rejected == 0) & (value >= -np.log(level))] = look
    return rejected


def durations(rng: np.random.Generator, runs: int, looks: int, canary: int, baseline: int, scale: float) -> Iterator:
    """Yield histograms of both arms, lognormal, the canary's `scale` times slower."""
    usual, slow = simulate.duration_law(), simulate.duration_law(scale)
    for _ in range(looks):
        yield rng.multinomial(canary, slow, size=runs), rng.multinomial(baseline, usual, size=runs)


def summary(found: np.ndarray, canary_per_look: float) -> dict[str, float | None]:
    hit = found > 0
    mean = float((found[hit] * canary_per_look).mean()) if hit.any() else None
    return {"rejected": float(hit.mean()), "mean_canary_units": mean}


def compare_counts(seed: int, runs: int, looks: int) -> list[dict]:
    """Errors: ours, z-test at every look, Bonferroni over looks, on the same seeded streams."""

    def counts(rate: float, harm: float = 1.0, baseline: int = 900, *, shock: bool = False) -> Stream:
        return lambda rng: simulate.binomial_stream(
            rng, runs=runs, looks=looks, canary=100, baseline=baseline, rate=rate, harm=harm, shock=shock
        )

    crowd, shares = simulate.Crowd(), simulate.ramp_shares(looks)
    worlds: list[tuple[str, Stream, int, bool]] = [
        ("null .1 %, 10:90", counts(0.001), 1000, True),
        ("null 1 %, 10:90", counts(0.01), 1000, True),
        ("null 1 %, common shock", counts(0.01, shock=True), 1000, True),
        (
            "null ramp, sticky users, subjects",
            lambda rng: simulate.sticky_subjects(rng, crowd, shares, runs),
            1000,
            True,
        ),
        (
            "null ramp, sticky users, requests",
            lambda rng: simulate.sticky_requests(rng, crowd, shares, runs),
            1000,
            True,
        ),
        (".1 → .5 %, 10:90", counts(0.001, 5.0), 1000, False),
        ("1 → 2 %, 10:90", counts(0.01, 2.0), 1000, False),
        (".1 → .5 %, 1:1", counts(0.001, 5.0, 100), 200, False),
        ("1 → 2 %, 1:1", counts(0.01, 2.0, 100), 200, False),
    ]
    rows = []
    for name, stream, units, is_null in worlds:
        found = {
            "ours": simulate.harm_looks(stream(np.random.default_rng(seed)), runs, ALPHA),
            "z-test": z_looks(stream(np.random.default_rng(seed)), units, runs, ALPHA),
            "Bonferroni": z_looks(stream(np.random.default_rng(seed)), units, runs, ALPHA / looks),
        }
        rows.append({"world": name, "null": is_null, **{who: summary(at, 100) for who, at in found.items()}})
    return rows


def compare_durations(seed: int, runs: int, looks: int) -> list[dict]:
    """Durations: ours beside Mann–Whitney on every interval, plain and with Bonferroni over the intervals."""
    rows = []
    for name, scale, canary, baseline in (
        ("null, 1:1", 1.0, 100, 100),
        ("null, 10:90", 1.0, 100, 900),
        ("+10 %, 10:90", 1.1, 100, 900),
        ("+25 %, 10:90", 1.25, 100, 900),
        ("+10 %, 1:1", 1.1, 100, 100),
    ):

        def stream(scale: float = scale, canary: int = canary, baseline: int = baseline) -> Iterator:
            return durations(np.random.default_rng(seed), runs, looks, canary, baseline, scale)

        share = canary / (canary + baseline)
        found = {
            "ours": histogram_looks(stream(), share, runs, ALPHA),
            "Mann–Whitney": mann_whitney_looks(stream(), runs, ALPHA),
            "Mann–Whitney, Bonferroni": mann_whitney_looks(stream(), runs, ALPHA / looks),
        }
        rows.append({"world": name, "null": scale == 1.0, **{who: summary(at, canary) for who, at in found.items()}})
    return rows


def speed(seed: int) -> dict[str, float]:
    """Updates a second of the tests over many rollouts at once, and microseconds of one stored state."""
    rng = np.random.default_rng(seed)
    width, repeats = 20_000, 20
    canary, baseline = rng.binomial(100, 0.002, width), rng.binomial(900, 0.002, width)
    main, late = mixture.begin(len(ratio.HARM_RATIOS), width)
    began = time.perf_counter()
    for look in range(1, repeats + 1):
        log_e = ratio.log_e(canary, canary + baseline, 0.1, ratio.HARM_RATIOS, 1.0)
        main, late = mixture.advance(main, late, look, log_e)
        mixture.log_value(main, late, look, ratio.HARM_LOG_WEIGHTS)
    ratio_rate = width * repeats / (time.perf_counter() - began)

    some = 5_000
    slow, usual = (
        rng.multinomial(100, simulate.duration_law(), some),
        rng.multinomial(900, simulate.duration_law(), some),
    )
    main, late = mixture.begin(histogram.TILT_COUNT, some)
    # Foretold once for many blocks, as a simulation does; `update_us` below foretells for each.
    foretold = histogram.foretell(usual)
    mixed = foretold.log_mixed(0.1)
    began = time.perf_counter()
    for look in range(1, 6):
        log_e = histogram.log_e(slow, usual, 0.1, foretold, mixed)
        main, late = mixture.advance(main, late, look, log_e)
        mixture.log_value(main, late, look, histogram.LOG_WEIGHTS)
    histogram_rate = some * 5 / (time.perf_counter() - began)
    return {"ratio_updates_per_s": ratio_rate, "histogram_updates_per_s": histogram_rate, **one_state(rng)}


def one_state(rng: np.random.Generator) -> dict[str, float]:
    """Microseconds to fold a block into one state of two metrics, to decide, and to store and read it."""

    def arm(units: int) -> ArmCounts:
        bad = int(rng.binomial(units, 0.002))
        hist = histogram_of(80_000 * rng.lognormal(0.0, 0.8, units))
        return ArmCounts(
            first_seen=units, first_bad=bad, first_hist=hist, subjects=units, subjects_bad=bad, subjects_hist=hist
        )

    metrics = [Metric(name="errors", kind=Kind.RATIO), Metric(name="latency", kind=Kind.LATENCY)]
    step = StepContext(index=1, share_canary=0.1, next_share=0.5, allowance=0.005, is_last_before_full=False)
    state = new_step(start(metrics, ALPHA, ALPHA), step)
    spent = {"update_us": 0.0, "decide_us": 0.0, "codec_us": 0.0}
    looks = 300
    for look in range(looks):
        block = Block(start_us=look, end_us=look + 1, share_canary=0.1, canary=arm(100), baseline=arm(900))
        marks = [time.perf_counter()]
        state = update(state, block)
        marks.append(time.perf_counter())
        decide(state)
        marks.append(time.perf_counter())
        state = from_json(to_json(state))
        marks.append(time.perf_counter())
        for name, begin, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += 1e6 * (end - begin) / looks
    return {**spent, "state_bytes": float(len(canonical(to_json(state))))}


def show(title: str, rows: list[dict]) -> None:
    print(f"\n{title}")
    judges = [key for key in rows[0] if key not in {"world", "null"}]
    print(f"{'world':38}" + "".join(f"{judge:>28}" for judge in judges))
    for row in rows:
        cells = []
        for judge in judges:
            mean = row[judge]["mean_canary_units"]
            share = row[judge]["rejected"]
            cells.append(f"{share:.4f}" if row["null"] else f"{mean or float('nan'):,.0f} ({share:.0%})")
        print(f"{row['world']:38}" + "".join(f"{cell:>28}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pace = speed(options.seed)
    print(" · ".join(f"{name} {value:,.0f}" for name, value in pace.items()))
    counts = compare_counts(options.seed, options.runs, options.looks)
    show(f"errors, alpha {ALPHA}: share of nulls rejected, or mean canary units to rejection (share found)", counts)
    few = max(options.runs // 5, 50)
    times = compare_durations(options.seed, few, min(options.looks, 100))
    show(f"durations, alpha {ALPHA}: the same, {few} runs, {min(options.looks, 100)} looks", times)
    print(json.dumps({"speed": pace, "errors": counts, "durations": times}, ensure_ascii=False))


if __name__ == "__main__":
    main()
