"""Running sums: whatever happens, the answer is the one of adding the window up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.watch.telemetry.line import Line
from tests.watch.telemetry.otlp import Span

from airboss.kernel.clock import to_micros
from airboss.kernel.errors import Unavailable
from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import (
    Asked,
    BucketRow,
    Flush,
    Series,
    SqlBucketStore,
    TelemetryReader,
    TelemetrySettings,
    open_bucket_store,
)
from airboss.watch.telemetry.running import MOST_BEHIND_US

WINDOWS: Final = tuple(timedelta(seconds=seconds) for seconds in (30, 300, 3_600, 21_600, 172_800, 259_200))
"""Some within what is kept fine, one that ends where buckets are being rolled up, one beyond."""
PLACES: Final = ("checkout", "cart")


@dataclass
class Life:
    """A clock, receivers that may be stopped and go on, a store, and one reader that is asked again and again."""

    store: SqlBucketStore
    clock: ManualClock = field(default_factory=ManualClock)
    lines: dict[str, Line] = field(default_factory=dict)
    fine_kept: timedelta = timedelta(hours=48)

    def __post_init__(self) -> None:
        self.settings = TelemetrySettings(fine_kept=self.fine_kept)
        self.reader = TelemetryReader(self.store, ListedExposures(), self.settings)

    def begin(self, name: str) -> None:
        self.lines[name] = Line(self.store, self.clock, ListedExposures(), self.settings, name)

    def send(self, name: str, *, late_s: float = 0.0, bad: bool = False) -> None:
        if name in self.lines:
            for place in PLACES[: 2 if bad else 1]:
                self.lines[name].send(Span(end=self.clock.now() - timedelta(seconds=late_s), bad=bad, service=place))

    def flush(self, name: str, *, fails: bool = False) -> None:
        line = self.lines.get(name)
        if line is None:
            return
        if fails:
            line.ingest.restore(line.ingest.take(source=line.source, at_us=to_micros(self.clock.now())))
        else:
            line.flush()

    def live(self, seconds: int, names: str) -> None:
        """Let receivers take in and write for so long, and ask every second."""
        for second in range(seconds):
            for name in names:
                self.send(name, bad=second % 3 == 0)
            self.clock.advance(1.0)
            for name in names:
                self.flush(name)
            if second % 7 == 0:
                self.check()

    def prune(self) -> None:
        now = self.clock.now()
        self.store.prune(
            fine_before_us=to_micros(now - self.fine_kept),
            change_before_us=0,
            plain_before_us=to_micros(now - timedelta(days=100)),
            coverage_before_us=0,
            exemplar_before_us=0,
        )

    def check(self, windows: Sequence[timedelta] = WINDOWS, at: datetime | None = None) -> None:
        """Ask, and add up."""
        now = at or self.clock.now()
        asked = [Asked(service=place, environment="production", windows=tuple(windows)) for place in PLACES]
        found = self.reader.sums_of(asked, at=now)
        fresh = TelemetryReader(self.store, ListedExposures(), self.settings)
        for place, sums in zip(PLACES, found, strict=True):
            plain = fresh.window_counts(place, "production", windows, at=now, durations=False)
            assert [(one.window, one.total, one.bad, one.observed, one.start) for one in sums.windows] == [
                (one.window, one.total, one.bad, one.observed, one.start) for one in plain
            ]
            assert sums.newest == fresh.freshness(place, "production", now=now)


step = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.0, 4.0, 9.7, 31.0, 150.0, 700.0, 3_600.0, 30_000.0])),
    st.tuples(st.just("send"), st.sampled_from("ab"), st.sampled_from([0.0, 3.0, 12.0, -6.0, 40.0]), st.booleans()),
    st.tuples(st.just("flush"), st.sampled_from("ab"), st.booleans()),
    st.tuples(st.just("live"), st.sampled_from([1, 3, 25]), st.sampled_from(["a", "b", "ab"])),
    st.tuples(st.just("begin"), st.sampled_from("ab")),
    st.tuples(st.just("prune")),
    st.tuples(st.just("ask"), st.sampled_from([WINDOWS, WINDOWS[:2], WINDOWS[3:]])),
    st.tuples(st.just("past"), st.sampled_from([0.1, 15.0, 400.0])),
)


@settings(deadline=None, max_examples=8)
@given(st.lists(step, max_size=40))
def test_running_sums_are_the_sums_of_the_store(steps: list[tuple[object, ...]]) -> None:
    """Whatever two receivers do (late and early spans, writes that fail, silence for minutes or hours, a new boot beside an
    old one that goes on) and however old buckets are rolled up, every question is answered as adding up would.
    """
    with TemporaryDirectory() as folder:
        store = open_bucket_store(f"sqlite:///{Path(folder) / 'running.db'}")
        store.create()
        life = Life(store)
        life.begin("a")
        for what, *given_ in steps:
            match what, given_:
                case "wait", [float(seconds)]:
                    life.clock.advance(seconds)
                case "send", [str(name), float(late_s), bool(bad)]:
                    life.send(name, late_s=late_s, bad=bad)
                case "flush", [str(name), bool(fails)]:
                    life.flush(name, fails=fails)
                case "live", [int(seconds), str(names)]:
                    life.live(seconds, names)
                case "begin", [str(name)]:
                    life.begin(name)
                case "prune", []:
                    life.prune()
                case "ask", [tuple(windows)]:
                    life.check(windows)
                case "past", [float(seconds)]:
                    life.check(at=life.clock.now() - timedelta(seconds=seconds))
                case _:
                    raise AssertionError((what, given_))
        life.check()
        store.close()


@pytest.fixture
def life(file_store: SqlBucketStore) -> Life:
    return Life(file_store)


def wrote(life: Life, source: int, *ages_s: float, requests: int = 1) -> None:
    """Write buckets that began so long ago, whole, at this moment."""
    now_us = to_micros(life.clock.now())
    rows = [
        BucketRow(
            series=Series(service="checkout", environment="production"),
            width_us=10_000_000,
            start_us=int(now_us - age * 1e6) // 10_000_000 * 10_000_000,
            requests=requests,
            bad=requests // 2,
            newest_us=int(now_us - age * 1e6) // 10_000_000 * 10_000_000 + 1,
        )
        for age in ages_s
    ]
    flush = Flush(source=source, sequence=now_us, at_us=now_us, buckets=rows, coverage=[], subjects=[])
    life.store.flush(flush)


def test_a_receiver_that_was_silent_may_speak_again(life: Life) -> None:
    """What it held back while another went on is counted, though its buckets were taken for final."""
    first, second = (life.store.begin(name, to_micros(life.clock.now())) for name in "ab")
    for _ in range(5):
        life.clock.advance(10)
        wrote(life, second, 0, 10)
    wrote(life, first, 0)
    for _ in range(16):
        life.clock.advance(10)
        wrote(life, second, 0, 10)
        life.check(WINDOWS[:4])
    wrote(life, first, 162, 170, 60, 0, requests=7)
    life.check(WINDOWS[:4])


def test_a_new_receiver_beside_the_old_ones(life: Life) -> None:
    """Its counts come in with its first write, also those of spans that ended before it began."""
    first = life.store.begin("a", to_micros(life.clock.now()))
    for second in range(30):
        life.clock.advance(1)
        wrote(life, first, 0, 5)
        if second == 12:
            other = life.store.begin("b", to_micros(life.clock.now()))
            wrote(life, other, 0, 9, 12, requests=5)
        life.check(WINDOWS[:3])


def test_a_bucket_grows_until_it_is_sealed(life: Life) -> None:
    """Each write replaces the whole value of a bucket; the last one before its sealing is what stays in the sum."""
    source = life.store.begin("a", to_micros(life.clock.now()))
    start = life.clock.now()
    for second in range(28):
        life.clock.advance(1)
        age = (life.clock.now() - start).total_seconds()
        wrote(life, source, *([age] if age < 18 else []), 0, requests=second + 1)
        life.check(WINDOWS[:3])


@pytest.mark.parametrize("window", [timedelta(hours=48), timedelta(hours=72)])
def test_rolling_up_changes_no_sum(life: Life, window: timedelta) -> None:
    """While buckets at the end of a window become part of longer ones, and after, sums are what adding up gives."""
    source = life.store.begin("a", to_micros(life.clock.now()))
    life.clock.advance(73 * 3600)
    ages = [window.total_seconds() + offset for offset in range(-600, 600, 10)]
    wrote(life, source, *ages, 0)
    for round_ in range(14):
        if round_ % 6 == 1:
            life.prune()
        wrote(life, source, 0)
        life.check((window, timedelta(minutes=5)))
        life.clock.advance(37)


def test_a_store_that_does_not_answer_is_no_zero(life: Life) -> None:
    """The question is refused; once the store is back the sums go on where they were."""
    source = life.store.begin("a", to_micros(life.clock.now()))
    life.clock.advance(60)
    wrote(life, source, 0, 30)
    life.check(WINDOWS[:3])
    with life.store._engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE telemetry_bucket RENAME TO away"))
    with pytest.raises(Unavailable):
        life.check(WINDOWS[:3])
    with life.store._engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE away RENAME TO telemetry_bucket"))
    life.clock.advance(30)
    wrote(life, source, 0, 10)
    life.check(WINDOWS[:3])


def test_sums_are_moved_and_not_added_up_again(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second question, seconds later, reads no window: only what moved."""
    source = life.store.begin("a", to_micros(life.clock.now()))
    life.clock.advance(3600)
    wrote(life, source, *range(0, 3600, 10))
    asked = [Asked(service="checkout", environment="production", windows=WINDOWS[:4])]
    before = life.reader.sums_of(asked, at=life.clock.now())
    monkeypatch.setattr(life.store, "sums", None)
    life.clock.advance(10)
    wrote(life, source, 0)
    after = life.reader.sums_of(asked, at=life.clock.now())
    assert [one.total for one in before[0].windows] == [3, 30, 360, 360]
    assert [one.total for one in after[0].windows] == [3, 30, 360, 361]
    life.clock.advance(MOST_BEHIND_US / 1e6 + 1)
    with pytest.raises(TypeError):
        life.reader.sums_of(asked, at=life.clock.now())
