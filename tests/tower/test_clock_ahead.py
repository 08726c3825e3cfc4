"""A clock ran ahead and left facts of a time that has not come: nothing goes forward by it, everything can be taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from tests.tower.invariants import check
from tests.tower.world import QUICK, Nature, World, ramp

from airboss.people.access import LOCAL
from airboss.testing import ManualClock

STEPS = """
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {expose: 100%, bake: {least: 5s, most: 120s}}
"""
FULL = 40


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A production whose server's clock is a day ahead, so far without anybody's knowledge."""
    return make_world(nature=Nature(per_s=15))


def _set_right(world: World) -> None:
    """The machine's clock is set right, a day back, and the server started anew."""
    world.clock = ManualClock(world.clock.now() - timedelta(days=1))
    world.restart()
    world._start_receiver()


def _accept(world: World) -> datetime:
    """What `airboss clock accept` does, while the server is down."""
    ran_to = world.house.timekeeping.accept(reason="the BIOS battery was flat", actor=LOCAL.id)
    world.restart()
    return ran_to


def _at_ten_percent(world: World) -> str:
    change = world.propose(ramp(steps=STEPS, gates=QUICK, on_error="600s"))
    assert world.run(120, until=lambda: world.percent() == 10)
    assert world.run(60, until=lambda: "exposure.reached" in world.facts(change))
    return change


def test_a_rollout_stands_while_the_clock_is_doubted(world: World):
    """The step's time is long over and its gates pass: it is not promoted, also not by order, and says why and what to do."""
    change = _at_ten_percent(world)
    _set_right(world)
    world.order(change, "promote")
    world.run(90)
    assert world.percent() == 10
    assert "ahead of this server's clock" in world.told(change)
    assert "airboss clock accept" in world.told(change)
    assert world.facts(change).count("step.ended") == 0


@pytest.mark.parametrize("verb", ["abort", "rollback"])
def test_taking_back_needs_no_clock(world: World, verb: str):
    """While the clock is doubted an order to take back is carried out as ever, and its time is not less than nothing."""
    change = _at_ten_percent(world)
    _set_right(world)
    world.run(5)
    world.order(change, verb)
    assert world.run(60, until=lambda: world.phase(change) == "reviewing")
    assert world.change(change).outcome == "rolled back"
    assert world.percent() == 0
    (ended,) = world.bodies(change, "rollback.ended")
    assert ended["took_s"] >= 0  # type: ignore[operator]
    check(world.house)


def test_an_error_hold_still_ends_in_taking_back(world: World):
    """Nobody says which clock is right: at the plan's deadline for errors the change is taken back."""
    change = world.propose(ramp(steps=STEPS, gates=QUICK, on_error="60s"))
    assert world.run(120, until=lambda: world.percent() == 10)
    _set_right(world)
    assert world.run(200, until=lambda: world.phase(change) == "reviewing")
    assert world.change(change).outcome == "rolled back"
    (started,) = world.bodies(change, "rollback.started")
    assert "ahead of this server's clock" in str(started["sentence"])


def test_a_person_says_the_clock_is_right_and_the_step_begins_anew(world: World):
    """After that the rollout goes on by the machine's time: its step is measured again from now, and it completes."""
    change = _at_ten_percent(world)
    _set_right(world)
    world.run(10)
    ran_to = _accept(world)
    assert ran_to > world.clock.now() + timedelta(hours=23)
    assert world.house.timekeeping.doubt() is None
    accepted = world.clock.now()
    assert world.run(200, until=lambda: world.phase(change) in ("reviewing", "closed"))
    assert world.change(change).outcome == "completed"
    (retimed,) = world.bodies(change, "rollout.retimed")
    assert retimed["ahead_s"] > 80_000  # type: ignore[operator]
    _, anew, _ = world.times(change, "exposure.reached")
    first_end, _ = world.times(change, "step.ended")
    assert accepted <= anew <= first_end - timedelta(seconds=5)
    check(world.house)


def test_a_clock_set_right_goes_on_by_itself(world: World):
    """It was the machine's clock that was wrong: as soon as it has caught up with the record, nobody need say anything."""
    change = _at_ten_percent(world)
    before = world.clock.now()
    _set_right(world)
    world.run(10)
    assert "Held" in world.told(change)
    world.clock.advance((before - world.clock.now()).total_seconds())
    assert world.run(200, until=lambda: world.phase(change) in ("reviewing", "closed"))
    assert world.change(change).outcome == "completed"
    assert world.facts(change).count("rollout.retimed") == 0


def test_nothing_starts_and_no_vote_counts_by_a_doubted_clock(world: World):
    """A change that waits for people neither expires nor starts; called off, it goes at once."""
    first, second = (world.propose(ramp(users=FULL, gates=QUICK, steps=STEPS)) for _ in range(2))
    world.look()
    assert {world.phase(first), world.phase(second)} == {"awaiting_approval"}
    _set_right(world)
    world.approve(first)
    world.run(60)
    assert world.phase(first) == "awaiting_approval"
    assert "ahead of this server's clock" in world.told(first)
    world.order(second, "abort")
    world.run(5)
    assert world.phase(second) == "cancelled"


def test_a_round_of_the_clock_that_ran_ahead_expires(world: World):
    """It would end a day late, and its votes have no order with later ones: once the clock is believed again it is over."""
    change = world.propose(ramp(users=FULL, gates=QUICK, steps=STEPS))
    world.look()
    assert world.phase(change) == "awaiting_approval"
    world.approve(change, by="dev-b")
    _set_right(world)
    _accept(world)
    assert world.run(30, until=lambda: world.phase(change) == "expired")
    assert "clock that ran ahead; propose it again" in world.change(change).sentence
    check(world.house)


def test_evidence_of_a_time_that_has_not_come_does_not_count(world: World):
    """It would look fresh until its time has come; what a machine says anew counts."""
    document = ramp(gates=QUICK, steps=STEPS)
    change = world.propose(document)
    with world.house.store.read() as connection:
        there = world.change(change)
        ahead = world.house.evidence.facts(connection, there, world.clock.now())
        assert world.house.evidence.facts(connection, there, world.clock.now() - timedelta(days=1)) == {} == ahead
