"""How fast the canary's tests are: over thousands of rollouts at once, and one stored state at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

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
from bench.table import Effort, Row, Sample

ALPHA = 0.01


def speed(seed: int) -> dict[str, float]:
    """Updates a second of the tests over many rollouts at once, and microseconds of one stored state."""
    rng = np.random.default_rng(seed)
    width, repeats = 20_000, 20
    canary, baseline = rng.binomial(100, 0.002, width), rng.binomial(900, 0.002, width)
    main, late = mixture.begin(len(ratio.HARM_RATIOS), width)
    began = time.process_time()
    for look in range(1, repeats + 1):
        log_e = ratio.log_e(canary, canary + baseline, 0.1, ratio.HARM_RATIOS, 1.0)
        main, late = mixture.advance(main, late, look, log_e)
        mixture.log_value(main, late, look, ratio.HARM_LOG_WEIGHTS)
    ratio_rate = width * repeats / (time.process_time() - began)

    some = 5_000
    slow, usual = (
        rng.multinomial(100, simulate.duration_law(), some),
        rng.multinomial(900, simulate.duration_law(), some),
    )
    main, late = mixture.begin(histogram.TILT_COUNT, some)
    # Foretold once for many blocks, as a simulation does; `update_us` below foretells for each.
    foretold = histogram.foretell(usual)
    mixed = foretold.log_mixed(0.1)
    began = time.process_time()
    for look in range(1, 6):
        log_e = histogram.log_e(slow, usual, 0.1, foretold, mixed)
        main, late = mixture.advance(main, late, look, log_e)
        mixture.log_value(main, late, look, histogram.LOG_WEIGHTS)
    histogram_rate = some * 5 / (time.process_time() - began)
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
        marks = [time.process_time()]
        state = update(state, block)
        marks.append(time.process_time())
        decide(state)
        marks.append(time.process_time())
        state = from_json(to_json(state))
        marks.append(time.process_time())
        for name, begin, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += 1e6 * (end - begin) / looks
    return {**spent, "state_bytes": float(len(canonical(to_json(state))))}


def rows(effort: Effort) -> Iterator[Row]:
    found = [speed(seed) for seed in range(effort.of(5, quick=2))]
    samples = {name: Sample(tuple(one[name] for one in found)) for name in found[0]}
    for name, what in (
        ("ratio_updates_per_s", "ratio updates a second, one core"),
        ("histogram_updates_per_s", "histogram updates a second, one core, tilts foretold once for many blocks"),
    ):
        yield Row(
            what=what,
            ours=f"{samples[name].median / 1e6:.2f} M",
            goal="≥ 0.5 M",
            reached=samples[name].median >= 500_000,
        )
    fold, judge, codec = (samples[name].told(0) for name in ("update_us", "decide_us", "codec_us"))
    yield Row(
        what="one stored state of two metrics: fold a block, decide, store and read",
        ours=f"{fold}, {judge}, {codec} µs",
        note=f"{samples['state_bytes'].median:,.0f} bytes",
    )
