"""An incident is on when a change starts: its burn takes nothing back, and hides nothing the change does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.tower.invariants import check
from tests.tower.world import Nature, World, ramp

STEPS = """
          - {expose: 50%, bake: {least: 5s, most: 60s}}
          - {expose: 100%, bake: {least: 5s, most: 60s}}
"""
ALONE = """
      - {burn_rate: {slo: checkout-availability, above: 14.4}}
      - data
"""
BESIDE = """
      - {canary: {sli: checkout-errors}}
      - {burn_rate: {slo: checkout-availability, above: 14.4}}
      - data
"""
OUTAGE = Nature(per_s=20, users=500, bad_old=0.5, bad_new=0.5)
"""Half of all requests fail: the budget of 2 % burns 25 times as fast as it may."""


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Six minutes into an outage."""
    return _watched(make_world(nature=OUTAGE))


def _watched(world: World) -> World:
    for _ in range(24):
        world.clock.advance(15)
        world.traffic(15)
    return world


def _proposed(world: World, gates: str, steps: str = STEPS) -> str:
    """A change that policy lets go while the budget is spent, for it says what it is."""
    change = world.propose(ramp(steps=steps, gates=gates, more="  labels: [reliability]"))
    assert world.run(60, until=lambda: world.percent() >= 50)
    return change


def test_a_burn_from_before_waits_for_a_person_and_takes_nothing_back(world: World):
    """With nothing else to judge by, the rollout waits for as long as it takes, says in numbers why, and a person's word
    moves it; it is never taken back for what was there before.
    """
    change = _proposed(world, ALONE)
    world.run(200, step_s=10)
    assert (world.phase(change), world.percent()) == ("rolling_out", 50)
    assert "in the 5 min before the change was out" in world.told(change)
    assert world.told(change).startswith("Needs you")
    verdict = [one for one in world.bodies(change, "gate.answered") if one["kind"] == "burn_rate"][-1]
    assert verdict["patient"] is True
    numbers = verdict["numbers"]
    assert isinstance(numbers, dict)
    assert (numbers["began_before"], numbers["got_worse"]) == (True, False)
    assert numbers["burn_before"] == pytest.approx(25, rel=0.2)
    world.order(change, "promote")
    assert world.run(60, until=lambda: world.percent() == 100, step_s=5)
    check(world.house)


def test_the_mend_of_an_outage_goes_out_on_its_own_evidence(world: World):
    """Its new side is well while the old one still burns: the canary beside it says so, and it completes without a word."""
    world.nature.bad_new = 0.0
    change = _proposed(world, BESIDE)
    assert world.run(900, until=lambda: world.phase(change) in ("reviewing", "closed"), step_s=5)
    assert world.change(change).outcome == "completed"
    assert any("not held against the change" in str(one["sentence"]) for one in world.bodies(change, "gate.answered"))


def test_what_makes_an_outage_worse_is_taken_back(world: World):
    """At half exposure everything of the new side fails: what comes on top is beyond the bound by itself, without a canary."""
    world.nature.bad_old, world.nature.bad_new = 0.5, 1.0
    change = _proposed(world, ALONE, STEPS.replace("50%", "90%"))
    assert world.run(400, until=lambda: world.phase(change) in ("reviewing", "closed"), step_s=5)
    assert world.change(change).outcome == "rolled back"
    (harm,) = world.bodies(change, "harm.convicted")
    assert "what came on top is beyond 14.4" in str(harm)


def test_a_burn_of_its_own_is_not_before_a_second_attempt(make_world: Callable[..., World]):
    """Taken back and tried again at once, a change finds its own burn in the minutes before: that does not excuse it."""
    world = _watched(make_world(nature=Nature(per_s=20, users=500, bad_old=0.0, bad_new=1.0)))
    change = _proposed(world, ALONE, STEPS.replace("50%", "90%").replace("5s", "240s").replace("60s", "900s"))
    assert world.run(600, until=lambda: world.phase(change) == "reviewing", step_s=5)
    assert world.change(change).outcome == "rolled back"
    (blocked,) = world.house.rollouts.blocked(world.people["dev-a"])
    world.house.rollouts.lift(blocked.service, blocked.digest, "it was the weather", world.people["dev-a"])
    world.order(change, "retry")
    assert world.run(600, until=lambda: len(world.bodies(change, "harm.convicted")) == 2, step_s=5)
