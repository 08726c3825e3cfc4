"""Time: exact to the microsecond both ways, never without a zone; and a clock moved by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.clock import SystemClock, from_micros, parse_rfc3339, rfc3339, to_micros
from airboss.testing import ManualClock

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001 - bounds are naive


@given(TIMES)
def test_a_time_comes_back_from_its_forms(at: datetime):
    """Microseconds and RFC 3339 text both give back the very instant, in UTC."""
    assert from_micros(to_micros(at)) == at
    assert parse_rfc3339(rfc3339(at)) == at
    assert parse_rfc3339(rfc3339(at)).tzinfo is UTC


@given(TIMES, TIMES)
def test_texts_sort_as_times_do(one: datetime, other: datetime):
    """The one form facts use sorts as text the way the times do."""
    assert (rfc3339(one) < rfc3339(other)) == (one < other)


def test_a_time_without_a_zone_is_refused():
    """Nobody guesses a zone."""
    with pytest.raises(ValueError, match="no time zone"):
        to_micros(datetime(2026, 1, 1))  # noqa: DTZ001 - what is being refused
    with pytest.raises(ValueError, match="no time zone"):
        parse_rfc3339("2026-01-01T00:00:00")


def test_the_ends_of_the_calendar():
    """Early years are written so that they are read back, and a zone that leads out of the calendar is refused as a value."""
    early = datetime(987, 6, 5, tzinfo=UTC)
    assert rfc3339(early) == "0987-06-05T00:00:00.000000Z"
    assert parse_rfc3339(rfc3339(early)) == early
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        with pytest.raises(ValueError, match="outside the calendar"):
            parse_rfc3339(text)


def test_the_machine_clock_goes_forward():
    """The system clock gives aware UTC, and its monotonic seconds never go back."""
    clock = SystemClock()
    first, second = clock.monotonic(), clock.monotonic()
    assert clock.now().tzinfo is UTC
    assert second >= first


class Machine:
    """A machine's two clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self) -> SystemClock:
        return SystemClock(wall=lambda: self.wall, monotonic=lambda: self.steady)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-10_000, 1_000)), max_size=20))
def test_a_machine_clock_set_back_does_not_set_ours_back(moves: list[tuple[float, float]]):
    """However the wall clock is moved about, our time goes back by no more than is disciplined away, and never stands."""
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    for passing, step in moves:
        machine.passes(passing)
        machine.wall += step
        now = clock.now()
        assert (now - before).total_seconds() >= passing - 2.001
        assert now.timestamp() >= machine.wall - 0.001
        before = now


def test_ours_follows_again_when_the_machine_has_caught_up():
    """An hour back: we go on by the monotonic clock and say how far the machine is behind; set right, we follow it."""
    machine = Machine()
    clock = machine.clock()
    began = clock.now()
    machine.wall -= 3600
    machine.passes(60)
    assert (clock.now() - began).total_seconds() == pytest.approx(60)
    assert clock.behind_s() == pytest.approx(3600)
    machine.wall += 3600
    assert clock.behind_s() == 0
    assert clock.now().timestamp() == pytest.approx(machine.wall)


def test_a_start_goes_on_from_what_is_recorded():
    """Started on a record that is ahead of the machine's clock, time goes on from the record; one behind changes nothing."""
    machine = Machine()
    clock = machine.clock()
    clock.not_before(clock.now() - timedelta(hours=1))
    assert clock.now().timestamp() == pytest.approx(machine.wall)
    ahead = clock.now() + timedelta(hours=1)
    clock.not_before(ahead)
    machine.passes(5)
    assert clock.now() - ahead == timedelta(seconds=5)


def test_a_clock_moved_by_hand_wakes_in_order():
    """Those who wait on the manual clock are woken when due, the earliest first."""

    async def story() -> list[str]:
        clock, woken = ManualClock(), []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.wait(seconds)
            woken.append(name)

        tasks = [asyncio.create_task(sleeper(name, s)) for name, s in (("late", 5), ("early", 1), ("middle", 3))]
        await asyncio.sleep(0)
        for _ in range(6):
            clock.advance(1)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return woken

    assert asyncio.run(story()) == ["early", "middle", "late"]
