"""1,200 burn rates: 150 services, each by the four rules with a long and a short window, over three days of telemetry.

Ours moves sums on (`watch.telemetry.running`): every question is asked ten seconds after the last one, when each receiver
has written a bucket more and every window has lost one. Beside it, in the same rounds: the same question added up anew in
the store by a reader that knows nothing yet, and what the goal was set by, running sums in arrays (numpy) that are
never brought up to date and judge nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from airboss.kernel.clock import to_micros
from airboss.testing.telemetry import ListedExposures
from airboss.watch.slo import RULES_30D, Answer, Indicator, IndicatorKind, Objective, Objectives, Slo
from airboss.watch.telemetry import (
    NUM_BINS,
    BucketRow,
    BucketStore,
    Flush,
    Series,
    TelemetryReader,
    TelemetrySettings,
    open_bucket_store,
)
from bench.table import Effort, Row, Sample, interleaved, median_us, named, over

SERVICES = 150
_PLAIN_US, _ROLLED_US = 10_000_000, 300_000_000
WINDOWS = tuple(window for rule in RULES_30D for window in (rule.long, rule.short))


def filled(store: BucketStore, now_us: int) -> int:
    """Write what a receiver would have left: buckets of ten seconds with their durations for six
    hours (a server keeps them for two days), of five minutes without for three days. Return its source.
    """
    source = store.begin("sole", now_us - 73 * 3_600_000_000)
    fine_us = now_us - 21_600_000_000
    for number in range(SERVICES):
        starts = [
            *((at, _ROLLED_US) for at in range(now_us - 72 * 3_600_000_000, fine_us, _ROLLED_US)),
            *((at, _PLAIN_US) for at in range(fine_us, now_us, _PLAIN_US)),
        ]
        rows = [bucket(number, at, width) for at, width in starts]
        store.flush(Flush(source=source, sequence=number + 1, at_us=now_us, buckets=rows, coverage=[], subjects=[]))
    return source


def bucket(number: int, at_us: int, width_us: int = _PLAIN_US) -> BucketRow:
    hist = np.zeros(NUM_BINS, np.int64)
    hist[120:140] = 50
    return BucketRow(
        series=Series(service=f"shop-{number}", environment="production"),
        width_us=width_us,
        start_us=at_us,
        requests=width_us // 10_000,
        bad=1,
        newest_us=at_us + width_us - 1,
        detail=hist if width_us == _PLAIN_US else None,
    )


def in_memory(services: int) -> tuple[np.ndarray, np.ndarray]:
    """Return running sums of requests and bad ones, services × (buckets of ten seconds of three days + 1)."""
    buckets = 72 * 360
    requests = np.full((services, buckets), 1_000).cumsum(axis=1)
    bad = np.random.default_rng(1).integers(0, 3, (services, buckets)).cumsum(axis=1)
    nothing = np.zeros((services, 1), np.int64)
    return np.hstack([nothing, requests]), np.hstack([nothing, bad])


def rows(effort: Effort) -> Iterator[Row]:
    begin = datetime.fromtimestamp(int(time.time()) // 10 * 10, UTC)  # noqa: TID251
    slos = [
        Slo(
            name=f"availability-{number}",
            service=f"shop-{number}",
            indicator=None,
            indicator_ref="errors",
            window=timedelta(days=30),
            objectives=(Objective(name="served", target=0.99, limit_us=None),),
        )
        for number in range(SERVICES)
    ]
    indicators = [
        Indicator(name="errors", kind=IndicatorKind.STATUS, service=slo.service, environment=None) for slo in slos
    ]
    requests, bad = in_memory(SERVICES)
    steps = np.array([window // timedelta(seconds=10) for window in WINDOWS])

    def memory(_: int) -> np.ndarray:
        last = requests.shape[1] - 1
        first = last - steps
        return (bad[:, [last]] - bad[:, first]) / (requests[:, [last]] - requests[:, first]) / 0.01

    asked = [(slo, indicator, "production", RULES_30D) for slo, indicator in zip(slos, indicators, strict=True)]

    def judged(objectives: Objectives, now: datetime) -> float:
        began = time.perf_counter_ns()
        said = objectives.burns_of(asked, now=now)
        spent_us = (time.perf_counter_ns() - began) / 1000
        assert all(one.burn_long is not None and one.answer is Answer.PASS for rules in said for one in rules)
        return spent_us

    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = open_bucket_store(f"sqlite:///{Path(folder).resolve() / 'telemetry.db'}")
        store.create()
        source = filled(store, to_micros(begin))
        kept = Objectives(TelemetryReader(store, ListedExposures(), TelemetrySettings()))
        judged(kept, begin)
        now = begin

        def moved() -> float:
            nonlocal now
            at_us = to_micros(now)
            now += timedelta(seconds=10)
            rows = [bucket(number, at_us) for number in range(SERVICES)]
            sequence = at_us // _PLAIN_US
            at_us = to_micros(now)
            store.flush(Flush(source=source, sequence=sequence, at_us=at_us, buckets=rows, coverage=[], subjects=[]))
            return judged(kept, now)

        def anew() -> float:
            return judged(Objectives(TelemetryReader(store, ListedExposures(), TelemetrySettings())), now)

        def one() -> float:
            return median_us(lambda _: kept.burns(*asked[0][:3], now=now, rules=RULES_30D), 20)

        found = interleaved(
            {"moved": moved, "anew": anew, "one": one, "memory": lambda: median_us(memory, 50)},
            effort.of(7, quick=3),
        )
        store.close()
    milliseconds = Sample(tuple(value / 1000 for value in found["moved"].values))
    yield Row(
        what=f"{SERVICES * len(WINDOWS):,} burn rates with their verdicts, ten seconds after the last ones",
        ours=milliseconds.told(1, "ms"),
        peer=f"{named('numpy')}, sums in memory that nobody brings up to date, no verdicts: {found['memory'].told(0, 'µs')}",
        ratio=over(found["moved"], found["memory"]).told(0, "× the time"),
        goal="≤ 50 µs",
        reached=found["moved"].median <= 50,
        note=f"added up anew in the store {Sample(tuple(value / 1000 for value in found['anew'].values)).told(0)} ms, "
        f"{over(found['anew'], found['moved']).told(1)} times as long; one objective's eight windows and four verdicts, which is "
        f"what a gate asks, {Sample(tuple(value / 1000 for value in found['one'].values)).told(2)} ms",
    )
