"""Which buckets become blocks: by rule, once, in order, and never a broken one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.line import Line
from tests.watch.telemetry.otlp import Span, exposure

from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import Boot, SealedBlock, SqlBucketStore, TelemetrySettings
from airboss.watch.telemetry.rules import Fate, Sealing, alive_us, fate

SEALING = Sealing(lateness_us=8, dead_after_us=20, flush_us=1)


def boot(started: int, last: int, *, ended: bool = False, source: int = 1) -> Boot:
    return Boot(source=source, ingester=f"ing_{source}", boot=1, started_us=started, last_flush_us=last, ended=ended)


@pytest.mark.parametrize(
    ("boots", "now", "expected"),
    [
        ([boot(0, 120)], 109, Fate.OPEN),
        ([boot(0, 109)], 111, Fate.OPEN),
        ([boot(0, 110)], 111, Fate.WHOLE),
        ([boot(100, 110)], 111, Fate.WHOLE),
        ([boot(101, 111)], 111, Fate.BROKEN),
        ([boot(0, 105, ended=True)], 111, Fate.BROKEN),
        ([boot(0, 105)], 126, Fate.BROKEN),
        ([boot(0, 109, ended=True), boot(103, 120, source=2)], 120, Fate.BROKEN),
        ([boot(0, 97, ended=True), boot(99, 120, source=2)], 120, Fate.WHOLE),
        ([boot(0, 98, ended=True), boot(99, 120, source=2)], 120, Fate.WHOLE),
        ([boot(0, 99, ended=True), boot(99, 120, source=2)], 120, Fate.BROKEN),
        ([boot(0, 120), boot(101, 120, source=2)], 120, Fate.BROKEN),
        ([boot(0, 120), boot(105, 120, source=2)], 120, Fate.WHOLE),
        ([boot(0, 120), boot(105, 108, source=2)], 120, Fate.OPEN),
        ([boot(0, 120), boot(105, 108, source=2, ended=True)], 120, Fate.BROKEN),
        ([boot(0, 105), boot(0, 120, source=2)], 120, Fate.OPEN),
        ([boot(0, 120), boot(0, 120, source=2)], 120, Fate.WHOLE),
        ([boot(103, 120)], 120, Fate.BROKEN),
        ([boot(102, 120), boot(0, 120, source=2)], 120, Fate.WHOLE),
        ([], 109, Fate.OPEN),
        ([], 110, Fate.BROKEN),
    ],
)
def test_the_fate_of_a_bucket(boots: list[Boot], now: int, expected: Fate) -> None:
    """Whole needs one ingester that lived from its start to its sealing, and none that began in it or died before it was sealed."""
    assert fate(100, 102, boots, now_us=now, sealing=SEALING) is expected


def test_life_of_ingesters_is_a_union() -> None:
    """Time answered for by two ingesters counts once; gaps count not at all."""
    boots = [boot(0, 10), boot(5, 20), boot(30, 40), boot(32, 35)]
    assert alive_us(boots, 2, 100) == 18 + 10
    assert alive_us([], 0, 100) == 0


@pytest.fixture
def line(
    file_store: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, settings: TelemetrySettings
) -> Line:
    """An ingester that has lived for ten seconds while step 1 was in force."""
    made = Line(file_store, clock, exposures, settings)
    made.run(10)
    return made


def starts(blocks: list[SealedBlock], since: datetime) -> list[float]:
    return [(block.start - since).total_seconds() for block in blocks]


def test_a_sealed_empty_bucket_is_a_block(line: Line) -> None:
    """Silence is visible: blocks come one after the other with zeros, as soon as they are sealed and no sooner."""
    since = line.clock.now()
    line.run(9)
    assert starts(list(line.blocks(after=since)), since) == []
    line.run(1)
    (block,) = line.blocks(after=since)
    assert (block.start, block.end) == (since, since + timedelta(seconds=2))
    assert (block.canary.requests, block.baseline.requests, block.canary.hist.sum(), block.saturated) == (
        0,
        0,
        0,
        False,
    )


def test_each_block_comes_once(line: Line) -> None:
    """Going on from the end of the last one, nothing is repeated and nothing skipped."""
    since = line.clock.now()
    got: list[float] = []
    after = since
    for _ in range(30):
        line.run(1)
        for block in line.blocks(after=after):
            got.append((block.start - since).total_seconds())
            after = block.end
    assert got == [float(second) for second in range(0, 22, 2)]


def test_late_points_are_told_and_not_in_the_block(line: Line) -> None:
    """What arrives after the sealing changes no count of the block; the block says how many came."""
    end = line.clock.now() + timedelta(seconds=1)
    line.run(2)
    line.send(Span(end=end, exposures=(exposure(1),)))
    line.run(8)
    line.send(Span(end=end, bad=True, exposures=(exposure(2),)))
    line.run(1)
    (block,) = line.blocks(after=end - timedelta(seconds=1))
    assert (block.canary.requests, block.canary.bad, block.late) == (1, 0, 1)


def test_a_change_of_exposure_is_skipped_with_its_warm_up(line: Line) -> None:
    """Neither the bucket in which exposure changed nor the warm-up after it is in a block of either step."""
    since = line.clock.now()
    turn = since + timedelta(seconds=5)
    line.run(5)
    line.exposures.rows = [row(since - timedelta(minutes=1), end=turn), row(turn, step=2, percent=50.0)]
    line.run(30)
    first = starts(list(line.blocks(after=since)), since)
    second = line.blocks(step=2)
    assert first == [0.0, 2.0]
    assert starts(list(second), since)[:2] == [8.0, 10.0]
    assert second[0].percent == 50.0


def test_a_step_that_comes_back_goes_on(line: Line) -> None:
    """A step interrupted and resumed at the same number has blocks in both stretches and none between."""
    since = line.clock.now()
    at = [since + timedelta(seconds=seconds) for seconds in (6, 12)]
    line.run(12)
    line.exposures.rows = [row(since - timedelta(minutes=1), end=at[0]), row(at[1])]
    line.run(20)
    assert starts(list(line.blocks(after=since)), since)[:5] == [0.0, 2.0, 4.0, 14.0, 16.0]


def test_a_restart_leaves_a_hole_and_counts_nobody_twice(line: Line) -> None:
    """The buckets in which the ingester died and came back are no blocks; the new boot knows whom the old one saw."""
    since = line.clock.now()
    line.run(2)
    line.send(Span(end=line.clock.now(), bad=True, exposures=(exposure(1),)))
    line.run(13)
    # Killed here: no last flush, nothing is told.
    line.clock.advance(3)
    reborn = Line(line.store, line.clock, line.exposures, line.settings)
    reborn.run(2)
    reborn.send(
        Span(end=line.clock.now(), bad=True, exposures=(exposure(1),)),
        Span(end=line.clock.now(), exposures=(exposure(2),)),
    )
    reborn.run(12)
    blocks = list(reborn.blocks(after=since))
    assert starts(blocks, since) == [0.0, 2.0, 4.0, 18.0, 20.0, 22.0]
    assert sum(block.canary.requests for block in blocks) == 3
    assert sum(block.canary.first_seen for block in blocks) == 2
    assert sum(block.canary.first_bad for block in blocks) == 1
    assert not any(block.saturated for block in blocks)


def test_an_ingester_that_hangs_stops_the_blocks_until_it_is_given_up(line: Line) -> None:
    """While an ingester may still write, nothing after its last flush is judged; once it is dead its buckets are broken."""
    since = line.clock.now()
    other = Line(line.store, line.clock, line.exposures, line.settings, ingester="ing_b")
    for _ in range(4):
        line.run(1)
        other.flush()
    line.run(14)
    assert starts(list(line.blocks(after=since)), since) == []
    line.run(10)
    assert starts(list(line.blocks(after=since)), since) == [6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]


def test_two_ingesters_add_up_and_subjects_are_then_not_judged(line: Line) -> None:
    """Requests of both are summed; subjects seen by two at once may be counted twice, and the block says so."""
    other = Line(line.store, line.clock, line.exposures, line.settings, ingester="ing_b")
    since = line.clock.now()
    line.run(1)
    for one in (line, other):
        one.send(Span(end=line.clock.now(), exposures=(exposure(1),)))
    for _ in range(12):
        line.run(1)
        other.flush()
    blocks = line.blocks(after=since)
    assert blocks[0].canary.requests == 2
    assert blocks[0].saturated


def test_blocks_of_a_full_set_are_flagged(
    file_store: SqlBucketStore, clock: ManualClock, exposures: ListedExposures
) -> None:
    """The flag set while counting reaches the reader."""
    line = Line(file_store, clock, exposures, TelemetrySettings(subjects_per_change=2))
    line.run(2)
    line.send(*[Span(end=clock.now(), exposures=(exposure(subject),)) for subject in range(3)])
    line.run(12)
    assert [block.saturated for block in line.blocks()] == [False, True, False]


def test_a_store_that_cannot_be_written_seals_nothing(line: Line) -> None:
    """Without a flush there is no block, whatever the time; later everything is there."""
    since = line.clock.now()
    line.run(1)
    line.send(Span(end=line.clock.now(), exposures=(exposure(1),)))
    for _ in range(15):
        line.clock.advance(1)
        line.ingest.restore(line.ingest.take(source=line.source, at_us=int(line.clock.now().timestamp() * 1e6)))
    assert line.blocks(after=since) == ()
    line.run(1)
    assert [block.canary.requests for block in line.blocks(after=since)] == [1, 0, 0, 0]


def test_windows_asked_together_say_what_each_says_alone(line: Line, clock: ManualClock) -> None:
    """Any windows in any order, twice the same, and without durations: the sums of each are its own."""
    for number in range(90):
        line.send(Span(end=clock.now() - timedelta(seconds=1), bad=number % 3 == 0))
        line.run(1)
    windows = [timedelta(seconds=seconds) for seconds in (60, 20, 3600, 20, 10)]
    together = line.reader.window_counts("checkout", "production", windows, at=clock.now())
    quick = line.reader.window_counts("checkout", "production", windows, at=clock.now(), durations=False)
    for window, found, counts in zip(windows, together, quick, strict=True):
        (alone,) = line.reader.window_counts("checkout", "production", [window], at=clock.now())
        said = (found.window, found.start, found.total, found.bad, found.observed)
        assert said == (alone.window, alone.start, alone.total, alone.bad, alone.observed)
        assert said == (counts.window, counts.start, counts.total, counts.bad, counts.observed)
        assert found.hist is not None
        assert alone.hist is not None
        assert (found.hist == alone.hist).all()
        assert found.hist.sum() == found.total
        assert counts.hist is None
    assert together[2].total == 90


def test_windows_without_a_receiver_are_not_observed(line: Line) -> None:
    """Zero requests in a window nobody watched is told from zero requests that were watched."""
    hour, short = line.reader.window_counts(
        "checkout", "production", [timedelta(hours=1), timedelta(seconds=5)], at=line.clock.now()
    )
    assert (hour.total, short.total) == (0, 0)
    assert (hour.observed, short.observed) == (timedelta(seconds=10), timedelta(seconds=5))
