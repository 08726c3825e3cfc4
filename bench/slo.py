"""1,200 burn rates: 150 services, each by the four rules with a long and a short window, over three days of telemetry.

Ours reads the store that the ingest process writes, an SQLite file, so it needs no memory of its own and sees what another
process counted a second ago. The peer is what the goal was set by: running sums in this process's memory (numpy), which
somebody would have to keep up to date.
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
from bench.table import Effort, Row, interleaved, median_us, named, over

SERVICES = 150
_PLAIN_US, _ROLLED_US = 10_000_000, 300_000_000
WINDOWS = tuple(window for rule in RULES_30D for window in (rule.long, rule.short))


def filled(store: BucketStore, now_us: int) -> None:
    """Write what a receiver would have left: buckets of ten seconds with their durations for six
    hours (a server keeps them for two days), of five minutes without for three days."""
    hist = np.zeros(NUM_BINS, np.int64)
    hist[120:140] = 50
    source = store.begin("sole", now_us - 73 * 3_600_000_000)
    fine_us = now_us - 21_600_000_000
    for number in range(SERVICES):
        series = Series(service=f"shop-{number}", environment="production")
        starts = [
            *((at, _ROLLED_US) for at in range(now_us - 72 * 3_600_000_000, fine_us, _ROLLED_US)),
            *((at, _PLAIN_US) for at in range(fine_us, now_us, _PLAIN_US)),
        ]
        rows = [
            BucketRow(
                series=series,
                width_us=width,
                start_us=at,
                requests=width // 10_000,
                bad=1,
                newest_us=at + width - 1,
                detail=hist if width == _PLAIN_US else None,
            )
            for at, width in starts
        ]
        store.flush(Flush(source=source, sequence=number + 1, at_us=now_us, buckets=rows, coverage=[], subjects=[]))


def in_memory(services: int) -> tuple[np.ndarray, np.ndarray]:
    """Return running sums of requests and bad ones, services × (buckets of ten seconds of three days + 1)."""
    buckets = 72 * 360
    requests = np.full((services, buckets), 1_000).cumsum(axis=1)
    bad = np.random.default_rng(1).integers(0, 3, (services, buckets)).cumsum(axis=1)
    nothing = np.zeros((services, 1), np.int64)
    return np.hstack([nothing, requests]), np.hstack([nothing, bad])


def rows(effort: Effort) -> Iterator[Row]:
    now = datetime.fromtimestamp(int(time.time()) // 10 * 10, UTC)  # noqa: TID251
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

    with tempfile.TemporaryDirectory(dir=".") as folder:
        store = open_bucket_store(f"sqlite:///{Path(folder).resolve() / 'telemetry.db'}")
        store.create()
        filled(store, to_micros(now))
        objectives = Objectives(TelemetryReader(store, ListedExposures(), TelemetrySettings()))

        def stored(_: int) -> None:
            for slo, indicator in zip(slos, indicators, strict=True):
                said = objectives.burns(slo, indicator, "production", now=now, rules=RULES_30D)
                assert all(answer.burn_long is not None and answer.answer is Answer.PASS for answer in said), said[
                    0
                ].sentence

        found = interleaved(
            {"ours": lambda: median_us(stored, 1), "memory": lambda: median_us(memory, 50)}, effort.of(7, quick=3)
        )
        store.close()
    ours = found["ours"]
    milliseconds, (low, high) = ours.median / 1000, (value / 1000 for value in ours.half)
    yield Row(
        what=f"{SERVICES * len(WINDOWS):,} burn rates with their verdicts, from the store",
        ours=f"{milliseconds:,.0f} ({low:,.0f}–{high:,.0f}) ms",
        peer=f"{named('numpy')}, sums kept in memory, no verdicts: {found['memory'].told(0, 'µs')}",
        ratio=over(ours, found["memory"]).told(0, "× the time"),
        goal="≤ 50 µs",
        reached=ours.median <= 50,
        note=f"{ours.median / SERVICES / 1000:.1f} ms for one objective's eight windows and four verdicts, which is what a gate asks",
    )
