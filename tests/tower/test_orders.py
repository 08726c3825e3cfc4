"""What people may order while a change is under way, and that it happens at once and once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.tower.world import QUICK, Nature, World, ramp

from airboss.kernel.errors import Forbidden, Invalid, Refused, Stale

LONG = """
          - {expose: 1%,  bake: {least: 30s, most: 300s}}
          - {expose: 10%, bake: {least: 30s, most: 300s}}
          - {expose: 100%, bake: {least: 30s, most: 300s}}
"""
ASKING = """
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {ask: payments-leads, expires: 10m}
          - {expose: 100%, bake: {least: 10s, most: 120s}}
"""


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Few users: what is judged here is the order of things, not the evidence."""
    return make_world(nature=Nature(per_s=30))


def _until(world: World, change: str, there: Callable[[], bool], seconds: int = 600) -> None:
    assert world.run(seconds, until=there, step_s=5), f"{world.phase(change)}: {world.told(change)}"


def _at(world: World, change: str, percent: float) -> Callable[[], bool]:
    return lambda: (
        world.percent() == percent
        and len(world.bodies(change, "exposure.reached")) > 0
        and world.bodies(change, "exposure.reached")[-1]["percent"] == percent
    )


# -- abort -------------------------------------------------------------------------------------------------------------


def test_abort_before_anybody_approved_calls_it_off(world: World):
    """Waiting for people: called off, the round is closed, nobody can vote any more."""
    change = world.propose(ramp(users=40))
    world.run(5, step_s=5)
    world.order(change, "abort", by="dev-b")
    world.look()
    assert world.phase(change) == "cancelled"
    assert world.bodies(change, "round.closed")[-1]["outcome"] == "withdrawn"
    with pytest.raises(Refused):
        world.approve(change)


def test_abort_before_the_tower_has_looked_calls_it_off(world: World):
    """Submitted a moment ago: the order is taken before anything else is decided."""
    change = world.propose()
    world.order(change, "abort")
    world.look()
    assert world.facts(change) == ["change.drafted", "change.submitted", "change.commanded", "change.cancelled"]


def test_abort_of_a_scheduled_change_calls_it_off(world: World):
    """Waiting for its window: it never starts."""
    world.apply(FREEZE)
    change = world.propose()
    world.run(5, step_s=5)
    assert world.phase(change) == "scheduled"
    world.order(change, "abort")
    world.look()
    assert world.phase(change) == "cancelled"


def test_abort_while_validating_takes_the_way_back_though_nothing_was_exposed(world: World):
    """Checked but not exposed: the way back is empty, recorded, and reviewed."""
    first = world.propose(ramp(steps=LONG, gates=QUICK))
    _until(world, first, lambda: world.percent() == 1)
    second = world.propose(ramp(steps=LONG, gates=QUICK, title="the same flag"))
    _until(world, second, lambda: world.phase(second) == "validating")
    world.order(second, "abort")
    world.look()
    assert world.change(second).outcome == "rolled back"
    assert {body["change_id"] for body in world.bodies("flag/tax.engine", "flag.exposed")} == {first}
    assert world.percent() == 1  # the other change's ramp is not touched


@pytest.mark.parametrize("percent", [1, 10, 100])
def test_abort_in_any_step_takes_everything_back(world: World, percent: float):
    """From each exposure: nobody has the new side within the look that takes the order."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    _until(world, change, _at(world, change, percent))
    world.order(change, "abort", by="dev-b")
    world.look()
    assert world.percent() == 0
    world.run(15, step_s=1)
    assert world.phase(change) in ("reviewing", "closed")
    assert world.change(change).outcome == "rolled back"
    assert world.bodies(change, "change.rollback_started")[0]["from"] == "rolling_out"
    assert world.house.rollouts.blocked(world.people["dev-a"]) == []  # an abort says nothing about the version


def test_abort_while_verifying_takes_back_from_full_exposure(world: World):
    """At 100 % and being verified: still one order away from nobody."""
    change = world.propose(
        ramp(steps=LONG, gates=QUICK).replace("verification: {least: 5s}", "verification: {least: 60s}")
    )
    _until(world, change, lambda: world.phase(change) == "verifying")
    world.order(change, "rollback")
    world.run(15, step_s=1)
    assert world.change(change).outcome == "rolled back"
    assert world.serves() == "off"


def test_abort_twice_and_while_rolling_back_is_one_abort(world: World):
    """Whoever presses again, and when, gets the change as it is and no second rollback."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    _until(world, change, _at(world, change, 1))
    world.order(change, "abort")
    world.order(change, "abort", by="dev-b")
    world.order(change, "rollback", by="dev-b")
    for _ in range(15):
        world.run(1)
        if world.phase(change) == "rolling_back":
            world.order(change, "abort")
    assert world.order(change, "abort").outcome == "rolled back"
    facts = world.facts(change)
    assert facts.count("rollback.started") == 1
    assert facts.count("change.rolled_back") == 1


def test_abort_of_what_is_over_is_refused_with_what_is_possible(world: World):
    """Completed and closed: an order that can do nothing says so."""
    change = world.propose(ramp(gates=QUICK))
    _until(world, change, lambda: world.phase(change) == "closed")
    with pytest.raises(Refused) as refusal:
        world.order(change, "abort")
    assert "closed" in refusal.value.detail


def test_abort_is_only_for_those_who_may(world: World):
    """A viewer may look and not touch."""
    change = world.propose()
    with pytest.raises(Forbidden):
        world.order(change, "abort", by="viewer")


# -- pause, resume, promote --------------------------------------------------------------------------------------------


def test_paused_it_stays_and_resumed_it_goes_on(world: World):
    """Paused: no step ends, whatever the gates say; resumed: the step ends on what they say now."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    _until(world, change, _at(world, change, 1))
    world.order(change, "pause")
    world.run(120, step_s=5)
    assert world.percent() == 1
    assert world.told(change).startswith("Paused")
    world.order(change, "resume")
    world.run(5, step_s=5)
    assert world.percent() == 10
    facts = world.facts(change)
    assert facts.count("rollout.paused") == facts.count("rollout.resumed") == 1


def test_a_paused_ramp_still_finds_harm(world: World):
    """The gates keep watching: pausing a bad change does not keep it."""
    world.nature.bad_new, world.nature.per_s = 0.2, 200
    change = world.propose(ramp(steps=LONG.replace("1%", "20%").replace("10%", "50%")))
    _until(world, change, lambda: world.percent() == 20)
    world.order(change, "pause")
    _until(world, change, lambda: world.phase(change) == "reviewing")
    assert "harm.convicted" in world.facts(change)


def test_the_last_of_several_words_on_pausing_counts(world: World):
    """Pause, resume and pause again before the tower looks: it is paused."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    _until(world, change, _at(world, change, 1))
    for verb in ("pause", "resume", "pause", "pause"):
        world.order(change, verb)
    world.run(60, step_s=5)
    assert world.percent() == 1
    assert world.facts(change).count("change.commanded") == 3  # saying it twice says it once


def test_promote_skips_the_rest_of_a_step_with_a_reason(world: World):
    """An emergency skip that really works: at once, with name and reason in the record."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    _until(world, change, _at(world, change, 1))
    with pytest.raises(Invalid):
        world.order(change, "promote", reason=" ")
    world.order(change, "promote", by="dev-b", reason="the old engine is down")
    world.look()
    assert world.percent() == 10
    (skip,) = world.bodies(change, "step.skipped")
    assert skip == {"step": 1, "by": world.people["dev-b"].id}


def test_promote_while_the_exposure_is_on_its_way_waits_for_it(world: World):
    """An order that cannot be carried out yet is not lost, and does not skip the step after."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    world.look()
    world.house.flags.kill("tax.engine", "wait", actor=world.people["root"])
    world.run(10, step_s=1)
    world.order(change, "promote")
    world.run(10, step_s=1)
    assert "step.skipped" not in world.facts(change)
    world.house.flags.unkill("tax.engine", actor=world.people["root"])
    _until(world, change, lambda: world.percent() == 10)
    world.run(10, step_s=5)
    assert [skip["step"] for skip in world.bodies(change, "step.skipped")] == [1]
    assert world.percent() == 10


def test_an_order_on_an_old_view_is_stale(world: World):
    """Who presses on what he saw a while ago is told to look again; the order is not carried out."""
    change = world.propose(ramp(steps=LONG, gates=QUICK))
    old = world.change(change).version
    _until(world, change, _at(world, change, 1))
    with pytest.raises(Stale):
        world.order(change, "promote", expected_version=old)


# -- asking ------------------------------------------------------------------------------------------------------------


def test_an_ask_is_answered_by_somebody_of_its_group_and_nobody_else(world: World):
    """The step asks the team's leads: another engineer is refused by name, a lead's word goes on."""
    change = world.propose(ramp(steps=ASKING, gates=QUICK), by="dev-b")
    _until(world, change, lambda: "Waiting for payments-leads" in world.told(change))
    with pytest.raises(Forbidden) as refusal:
        world.order(change, "promote", by="dev-b")
    assert "payments-leads" in refusal.value.detail
    world.run(60, step_s=5)
    assert world.percent() == 10
    world.order(change, "promote", by="dev-a")
    world.look()
    assert world.percent() == 100
    (answer,) = world.bodies(change, "step.answered")
    assert answer["group"] == "payments-leads"


def test_an_answer_given_while_a_gate_is_undecided_waits_for_it(world: World):
    """Go on, once the data is fresh again: the answer is kept, and carried out when the gates pass."""
    change = world.propose(ramp(steps=ASKING, gates=QUICK, on_error="300s"))
    _until(world, change, lambda: "Waiting for payments-leads" in world.told(change))
    world.nature.seen = False
    world.run(60, step_s=10)
    world.order(change, "promote", by="dev-a")
    world.run(30, step_s=10)
    assert world.percent() == 10
    world.nature.seen = True
    _until(world, change, lambda: world.percent() == 100)


def test_a_promotion_meant_for_a_step_never_answers_the_question_after_it(world: World):
    """Somebody outside the group skips a step that ends by itself: the question still waits for its group."""
    change = world.propose(ramp(steps=ASKING.replace("least: 5s", "least: 20s"), gates=QUICK), by="dev-b")
    _until(world, change, _at(world, change, 10))
    world.nature.seen = False  # nothing can be judged, and the person may still skip
    world.house.flags.kill("tax.engine", "wait", actor=world.people["root"])
    world.run(5, step_s=5)
    world.order(change, "promote", by="dev-b")
    world.order(change, "pause", by="dev-b")
    world.house.flags.unkill("tax.engine", actor=world.people["root"])
    world.nature.seen = True
    world.run(60, step_s=5)
    assert world.percent() == 10
    assert "step.answered" not in world.facts(change)


def test_nobody_answers_and_it_is_taken_back(world: World):
    """Silence is not consent: at the deadline of the question everything goes back."""
    change = world.propose(ramp(steps=ASKING, gates=QUICK))
    _until(world, change, lambda: world.phase(change) in ("reviewing", "closed"), 900)
    assert world.change(change).outcome == "rolled back"


def test_evidence_that_does_not_come_is_extended_twice_and_then_taken_back(world: World):
    """`extend` gives a step as long again, twice and no more."""
    world.nature.per_s = 5
    steps = "\n          - {expose: 1%, bake: {least: 5s, most: 30s}}\n          - {expose: 100%, bake: {least: 5s, most: 30s}}\n"
    change = world.propose(ramp(steps=steps, on_inconclusive="{hold: 10s, then: extend}"))
    _until(world, change, lambda: world.phase(change) in ("reviewing", "closed"))
    facts = world.facts(change)
    assert facts.count("step.extended") == 2
    assert "step.ended" not in facts
    assert world.change(change).outcome == "rolled back"


def test_evidence_that_does_not_come_asks_and_an_answer_goes_on(world: World):
    """`ask`: Needs you, and an operator's word ends the step though the evidence is not in."""
    world.nature.per_s = 5
    steps = "\n          - {expose: 1%, bake: {least: 5s, most: 30s}}\n          - {expose: 100%, bake: {least: 5s, most: 30s}}\n"
    change = world.propose(ramp(steps=steps, on_inconclusive="{hold: 10s, then: ask}"))
    _until(world, change, lambda: world.told(change).startswith("Needs you"))
    world.run(60, step_s=5)
    assert world.percent() == 1
    world.order(change, "promote", by="dev-b")
    world.look()
    assert world.percent() == 100


FREEZE = """
apiVersion: airboss/v1
kind: Window
metadata: {name: year-end}
spec:
  allow: false
  zone: UTC
  starts: 2026-01-05T00:00
  lasts: 545m
  reason: year-end closing
"""
