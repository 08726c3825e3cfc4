"""What stands in a change's way, before its start and between its steps, and what clears it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.tower.test_orders import FREEZE, LONG
from tests.tower.world import CATALOG, QUICK, Nature, World, ramp

from airboss.kernel.errors import Refused

ENDED = ("reviewing", "closed")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Few users: what is judged here is the order of things, not the evidence."""
    return make_world(nature=Nature(per_s=30))


def test_a_freeze_schedules_a_change_and_it_starts_when_that_ends(world: World):
    """Approved in a freeze: it says why it waits and until when, and starts by itself afterwards."""
    world.apply(FREEZE)
    change = world.propose(ramp(gates=QUICK))
    world.run(60, step_s=10)
    assert world.phase(change) == "scheduled"
    assert "year-end" in world.told(change)
    assert world.percent() == 0
    assert world.run(600, until=lambda: world.phase(change) in ENDED, step_s=10)
    assert world.change(change).outcome == "completed"
    assert world.bodies(change, "change.validation_started")
    assert world.facts(change).count("change.scheduled") == 1


def test_a_freeze_that_begins_on_the_way_holds_the_next_step_and_nothing_is_lost(world: World):
    """What is out stays and is watched; no exposure rises until the freeze is over."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 1, step_s=5)
    world.apply(FREEZE)
    world.run(120, step_s=10)
    assert world.percent() == 1
    assert "freeze" in world.told(change)
    assert world.bodies(change, "hold.begun")[-1]["kind"] == "policy"
    assert world.run(900, until=lambda: world.phase(change) in ENDED, step_s=10)
    assert world.change(change).outcome == "completed"


def test_a_rollback_is_exempt_from_freezes(world: World):
    """Going back is always allowed."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 1, step_s=5)
    world.apply(FREEZE)
    world.order(change, "abort")
    world.look()
    assert world.percent() == 0


def test_a_spent_error_budget_denies_the_start_and_the_next_step(make_world):
    """Budget spent: the step stays where it is and says why; a new change does not even start."""
    world = make_world(catalog=CATALOG.replace("target: 0.98", "target: 0.99"), nature=Nature(per_s=30))
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 1, step_s=5)
    world.nature.bad_old = world.nature.bad_new = 0.05
    world.run(120, step_s=10)
    assert world.percent() == 1
    assert "budget" in world.told(change)
    other = world.propose(ramp(gates=QUICK, title="another"))
    world.run(20, step_s=10)
    assert world.phase(other) == "approved"
    assert "budget" in world.told(other)
    urgent = world.propose(ramp(gates=QUICK, title="mends it", more="  labels: [reliability]"))
    world.run(20, step_s=10)
    assert "budget" not in world.told(urgent)


def test_a_flag_edited_after_the_approval_holds_the_start_until_the_change_is_reviewed_again(world: World):
    """The definition that was approved is not the one there is: held with the reason, and an edit is the way out."""
    change = world.propose(ramp(users=40, gates=QUICK))
    world.run(5, step_s=5)
    world.approve(change)
    world.apply(REDEFINED)
    world.run(60, step_s=10)
    assert world.phase(change) == "approved"
    assert "flag/tax.engine was changed after it was approved" in world.told(change)
    held = [fact for fact in world.facts(change) if fact == "change.held"]
    assert len(held) == 1  # said once, not at every look
    world.edit(change, ramp(users=41, gates=QUICK))
    world.run(5, step_s=5)
    assert world.phase(change) == "awaiting_approval"
    world.approve(change)
    assert world.run(300, until=lambda: world.phase(change) in ENDED, step_s=5)
    assert world.change(change).outcome == "completed"


def test_a_flag_is_not_edited_under_a_ramp(world: World):
    """While a change holds the ramp its definition stays; whoever wants it changed is told for whom to wait."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 1, step_s=5)
    with pytest.raises(Refused) as refusal:
        world.apply(REDEFINED)
    assert change in refusal.value.detail


def test_a_second_change_on_the_same_flag_waits_for_the_first_and_names_it(world: World):
    """One ramp at a time: the second is held before its start, says for whom, and starts when the first is back."""
    first = world.propose(ramp(steps=LONG, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 1, step_s=5)
    second = world.propose(ramp(gates=QUICK, title="the same flag"))
    world.run(20, step_s=5)
    assert first in world.told(second)
    assert world.percent() == 1
    assert world.facts(second).count("change.held") == 1
    world.order(first, "abort")
    assert world.run(400, until=lambda: world.phase(second) in ENDED, step_s=5)
    assert world.change(second).outcome == "completed"
    assert world.serves() == "on"


def test_a_change_that_may_start_only_later_expires_in_time(world: World):
    """`not_after`: what could not start in its time does not start at all."""
    world.apply(FREEZE)
    change = world.propose(ramp(gates=QUICK, more="  schedule: {not_after: 2026-01-05T09:03:00Z}"))
    world.run(60, step_s=10)
    assert world.phase(change) == "scheduled"
    assert world.run(200, until=lambda: world.phase(change) == "expired", step_s=20)


REDEFINED = CATALOG.split("---")[-1].replace(
    'variants: {"on": true, "off": false}', 'variants: {"on": true, "off": false, "third": true}'
)
