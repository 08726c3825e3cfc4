"""The contract of the bucket store, on each real database, and what the reader makes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from tests.watch.telemetry.line import Line
from tests.watch.telemetry.otlp import CHANGE, Span, exposure

from airboss.kernel.clock import to_micros
from airboss.kernel.errors import Refused, Unavailable
from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import (
    NUM_BINS,
    BucketRow,
    CoverageRow,
    Flush,
    Series,
    SqlBucketStore,
    SubjectChunk,
    TelemetrySettings,
    open_bucket_store,
)

SECOND = 1_000_000
DAY = 86_400 * SECOND
CART = Series(service="cart", environment="production")
CANARY = Series(service="cart", environment="production", change_id=CHANGE, attempt=1, step=1, arm="canary")


def bucket(series: Series = CART, start_us: int = 0, **more: object) -> BucketRow:
    width = 2 if series.change_id else 10
    size = 3 * NUM_BINS + 600 if series.change_id else NUM_BINS
    usual = {
        "width_us": width * SECOND,
        "requests": 3,
        "bad": 1,
        "newest_us": start_us + 5,
        "detail": np.arange(size) % 3,
    }
    return BucketRow(series=series, start_us=start_us, **(usual | more))  # type: ignore[arg-type]


def flush(source: int, *rows: BucketRow, at_us: int = SECOND, sequence: int = 1, **more: object) -> Flush:
    usual = {"coverage": (), "subjects": ()}
    return Flush(source=source, sequence=sequence, at_us=at_us, buckets=rows, **(usual | more))  # type: ignore[arg-type]


def test_rows_come_back_as_written(buckets: SqlBucketStore) -> None:
    """Every number, flag and bin of a bucket survives, and series are told apart."""
    source = buckets.begin("ing_a", 0)
    full = bucket(CANARY, first_seen=2, first_bad=1, subjects=2, subjects_bad=1, saturated=True,
                  pods=np.array([[5, 2], [99 * NUM_BINS + 287, 1]]))  # fmt: skip
    buckets.flush(flush(source, full, bucket(start_us=10 * SECOND)))
    ((told, back),) = buckets.buckets([CANARY], 2 * SECOND, 0, DAY)
    assert told == source
    assert back.detail is not None
    assert back.detail.tolist() == (np.arange(3 * NUM_BINS + 600) % 3).tolist()
    assert back.pods is not None
    assert back.pods.tolist() == [[5, 2], [99 * NUM_BINS + 287, 1]]
    names = ("series", "start_us", "width_us", "requests", "bad", "first_seen", "first_bad", "subjects", "subjects_bad",
             "saturated", "newest_us")  # fmt: skip
    assert [getattr(back, name) for name in names] == [getattr(full, name) for name in names]
    assert buckets.series_of(CHANGE) == [CANARY]
    assert buckets.newest(CART, 0, 60 * SECOND) == 10 * SECOND + 5
    assert buckets.newest(CART, 11 * SECOND, 60 * SECOND) is None
    assert buckets.newest(CART, 0, 10 * SECOND) is None


def test_a_repeated_flush_changes_nothing(buckets: SqlBucketStore) -> None:
    """Whole values: written again, or grown and written again, they are what was written last."""
    source = buckets.begin("ing_a", 0)
    chunk = SubjectChunk(change_id=CHANGE, scope=9, marks=b"12345678")
    for _ in range(2):
        buckets.flush(flush(source, bucket(), subjects=(chunk,)))
    assert buckets.sums(CART, 0, DAY) == (3, 1)
    buckets.flush(flush(source, bucket(requests=5), sequence=2))
    assert buckets.sums(CART, 0, DAY) == (5, 1)
    assert [(c.scope, c.marks) for c in buckets.subjects(CHANGE)] == [(9, b"12345678")]
    assert buckets.subject_sources(CHANGE) == {source}
    assert buckets.subjects("chg_other") == []


def test_ingesters_sum(buckets: SqlBucketStore) -> None:
    """The same bucket of two sources is two rows, and sums and bins add up."""
    for name in ("ing_a", "ing_b"):
        buckets.flush(flush(buckets.begin(name, 0), bucket()))
    assert buckets.sums(CART, 0, DAY) == (6, 2)
    found = buckets.details(CART, 0, DAY)
    assert found is not None
    assert found.tolist() == (2 * (np.arange(NUM_BINS) % 3)).tolist()
    assert len(buckets.buckets([CART], 10 * SECOND, 0, DAY)) == 2


def test_boots_are_numbered_and_ended(buckets: SqlBucketStore) -> None:
    """A later boot ends the earlier ones of its ingester only; a flush moves its boot's claim and never back."""
    first, other = buckets.begin("ing_a", 5), buckets.begin("ing_b", 6)
    buckets.flush(flush(first, at_us=30))
    buckets.flush(flush(first, at_us=20, sequence=2))
    second = buckets.begin("ing_a", 40)
    told = {boot.source: boot for boot in buckets.boots(0)}
    assert (told[first].last_flush_us, told[first].ended, told[first].boot) == (30, True, 1)
    assert (told[second].started_us, told[second].ended, told[second].boot) == (40, False, 2)
    assert not told[other].ended
    assert {boot.source for boot in buckets.boots(35)} == {second, other}
    buckets.end(second)
    assert {boot.source for boot in buckets.boots(35) if boot.ended} == {second}


def test_coverage_rows_come_back_by_source(buckets: SqlBucketStore) -> None:
    """Each source has its own minute; one service can be asked for alone."""
    minute = CoverageRow(start_us=0, service="cart", environment="production", signal="traces", total=4, current=1, stale=1,
                         unknown=1, late=1, far_off=2, refused=3, newest_us=7, max_delay_us=8,
                         delay_hist=np.arange(NUM_BINS))  # fmt: skip
    for name in ("ing_a", "ing_b"):
        buckets.flush(flush(buckets.begin(name, 0), coverage=(minute,)))
    rows = buckets.coverage(0, 1, None)
    assert [(row.total, row.refused, row.max_delay_us) for row in rows] == [(4, 3, 8)] * 2
    assert rows[0].delay_hist is not None
    assert rows[0].delay_hist.tolist() == list(range(NUM_BINS))
    assert buckets.coverage(0, 1, "checkout") == []
    assert buckets.coverage(1, 2, None) == []


def test_old_buckets_are_rolled_up_and_then_dropped(buckets: SqlBucketStore) -> None:
    """Plain buckets become 5-minute ones with the same sums, without bins; changes and coverage go after their time."""
    recent = dict.fromkeys(("change_before_us", "plain_before_us", "coverage_before_us", "exemplar_before_us"), 0)
    recent["fine_before_us"] = 700 * SECOND
    source = buckets.begin("ing_a", 0)
    rows = [bucket(start_us=number * 10 * SECOND) for number in range(90)]
    chunk = SubjectChunk(change_id=CHANGE, scope=9, marks=b"12345678")
    buckets.flush(flush(source, *rows, bucket(CANARY), subjects=(chunk,)))
    assert buckets.prune(**recent) == 120
    assert buckets.sums(CART, 0, DAY) == (270, 90)
    assert [row.start_us // SECOND for _, row in buckets.buckets([CART], 300 * SECOND, 0, DAY)] == [0, 300]
    assert len(buckets.buckets([CART], 10 * SECOND, 0, DAY)) == 30
    assert buckets.buckets([CART], 300 * SECOND, 0, DAY)[0][1].detail is None
    assert buckets.prune(**recent) == 0
    assert len(buckets.buckets([CANARY], 2 * SECOND, 0, DAY)) == 1
    buckets.prune(**dict.fromkeys(recent, DAY))
    assert buckets.sums(CART, 0, DAY) == (0, 0)
    assert buckets.buckets([CANARY], 2 * SECOND, 0, DAY) == []
    assert buckets.subjects(CHANGE) == []


def test_creating_again_keeps_what_is_there(buckets: SqlBucketStore) -> None:
    """Both processes create the store; the second finds it made."""
    buckets.flush(flush(buckets.begin("ing_a", 0), bucket()))
    buckets.create()
    assert buckets.sums(CART, 0, DAY) == (3, 1)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a later format is not touched."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    opened = open_bucket_store(url)
    opened.create()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE telemetry_meta SET format = 99")
    engine.dispose()
    with pytest.raises(Refused) as caught:
        opened.create()
    assert caught.value.code == "telemetry-store-newer"
    opened.close()


def test_a_store_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """The vendor's errors stop at the adapter."""
    opened = open_bucket_store(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    with pytest.raises(Unavailable) as caught:
        opened.create()
    assert caught.value.code == "telemetry-store-unavailable"
    opened.close()


def test_the_whole_way_on_each_database(
    buckets: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, settings: TelemetrySettings
) -> None:
    """Spans sent are read back as sealed blocks, window sums, freshness, coverage and delay."""
    line = Line(buckets, clock, exposures, settings)
    line.run(10)
    for number in range(20):
        line.send(Span(end=clock.now() - timedelta(seconds=1), bad=number < 2, exposures=(exposure(number),)))
        line.send(Span(end=clock.now() - timedelta(seconds=1), exposures=(exposure(100 + number, arm="baseline"),)))
        line.run(1)
    line.run(12)
    blocks = line.blocks()
    assert sum(block.canary.requests for block in blocks) == 20
    assert sum(block.canary.first_bad for block in blocks) == 2
    assert sum(int(block.baseline.first_hist.sum()) for block in blocks) == 20
    assert {(block.percent, block.saturated, block.late) for block in blocks} == {(10.0, False, 0)}
    day, minute = line.reader.window_counts(
        "checkout", "production", [timedelta(days=1), timedelta(minutes=1)], at=clock.now()
    )
    assert (day.total, day.bad) == (minute.total, minute.bad) == (40, 2)
    assert minute.hist is not None
    assert minute.hist.sum() == 40
    assert day.observed == timedelta(seconds=42)
    assert line.reader.freshness("checkout", "production", now=clock.now()) == clock.now() - timedelta(seconds=14)
    assert line.reader.freshness("cart", "production", now=clock.now()) is None
    (coverage,) = line.reader.coverage(now=clock.now())
    assert (coverage.total, coverage.current, coverage.none, coverage.annotated_share) == (40, 40, 0, 1.0)
    delay = line.reader.delay("checkout", now=clock.now())
    assert delay is not None
    assert (delay.count, delay.max_s) == (40, 1.0)
    assert delay.median_s == pytest.approx(1.0, rel=0.05)
    assert line.reader.delay("cart", now=clock.now()) is None


def test_plots_have_both_arms_and_say_where_nothing_is_known(
    file_store: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, settings: TelemetrySettings
) -> None:
    """A plot has one point for each width, sums of the arms, and false where no ingester lived or nothing is sealed."""
    start = clock.now()
    line = Line(file_store, clock, exposures, settings)
    line.run(4)
    line.send(
        Span(end=clock.now(), bad=True, exposures=(exposure(1),)),
        Span(end=clock.now(), exposures=(exposure(2, arm="baseline"),)),
    )
    line.run(20)
    series = line.reader.bucket_series(
        CHANGE, "checkout", "production", start=start - timedelta(seconds=4), end=clock.now(), now=clock.now(),
        width=timedelta(seconds=3),
    )  # fmt: skip
    assert series.width == timedelta(seconds=4)
    assert series.starts_us[0] == to_micros(start) - 4 * SECOND
    assert series.canary.requests.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert series.canary.bad.tolist() == series.baseline.requests.tolist() == series.canary.requests.tolist()
    assert series.canary.hist.sum() == 1
    assert series.whole.tolist() == [False, True, True, True, True, False, False]
