"""What comes after an end: a retry, a rollback mended by hand, harm in the rollback window; and every order in every phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.tower.invariants import check
from tests.tower.test_targets import RELEASE
from tests.tower.world import CATALOG, QUICK, STAGING, Nature, World, ramp

from airboss.act.rollout import LEGAL, possible_orders
from airboss.changes import Phase
from airboss.kernel.errors import Refused
from airboss.learn.reviews import CloseReview
from airboss.testing import ManualClock
from airboss.testing.targets import ScriptedTarget

STEPS = """
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {expose: 100%, bake: {least: 5s, most: 120s}}
"""
WINDOW = "rollback: {plan: flag back to off, window: 1h}"
BURNING = """
      - {burn_rate: {slo: checkout-availability, above: 5}}
      - data
"""

ROUTE = "checkout@production"
DIGEST = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"
FLAG_THEN_ROUTE = (
    RELEASE
    % """
      - environment: staging
        target: {flag: {name: tax.engine, old: "off", new: "on"}}
        steps: [{expose: 100%, bake: {least: 10s, most: 40s}}]
      - environment: production
        needs: staging
        target: {scripted: {name: checkout}}
        steps:
          - {expose: 10%, bake: {least: 10s, most: 40s}}
          - {expose: 100%, bake: {least: 10s, most: 40s}}
"""
)


@pytest.fixture
def two_stages(make_world: Callable[..., World]) -> tuple[World, ScriptedTarget]:
    """A service with a flag in staging and a scripted target in production."""
    scripted: list[ScriptedTarget] = []

    def targets(clock: ManualClock) -> dict[str, ScriptedTarget]:
        scripted.append(ScriptedTarget(clock, digests={ROUTE: DIGEST}))
        return {"scripted": scripted[0]}

    nature = Nature(per_s=30, environments=("production", "staging"))
    return make_world(targets=targets, nature=nature, catalog=CATALOG + "---" + STAGING), scripted[0]


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Few users: what is judged here is the order of things, not the evidence."""
    return make_world(nature=Nature(per_s=30))


def _until(world: World, change: str, there: Callable[[], bool], seconds: int = 600) -> None:
    assert world.run(seconds, until=there, step_s=5), f"{world.phase(change)}: {world.told(change)}"


def _taken_back(world: World, more: str = "") -> str:
    change = world.propose(ramp(users=40, steps=STEPS, gates=QUICK, more=more))
    world.run(5, step_s=5)
    world.approve(change)
    _until(world, change, lambda: world.percent() == 10)
    world.order(change, "abort")
    _until(world, change, lambda: world.phase(change) == "reviewing")
    return change


def test_what_was_taken_back_is_tried_again_under_the_same_votes(world: World):
    """A retry is a second attempt: exposed anew from its first step, completed, and reviewed as such."""
    change = _taken_back(world)
    assert world.change(change).outcome == "rolled back"
    world.order(change, "retry")
    world.order(change, "retry", by="dev-b")
    world.run(10, step_s=5)
    assert world.change(change).attempt == 2
    assert world.order(change, "retry").attempt == 2
    assert world.change(change).outcome is None
    _until(world, change, lambda: world.phase(change) in ("reviewing", "closed"))
    assert world.change(change).outcome == "completed"
    assert world.facts(change).count("change.retried") == 1
    assert world.facts(change).count("round.opened") == 1
    assert world.serves() == "on"
    check(world.house)


def test_a_convicted_version_is_tried_again_only_after_its_block_is_lifted(make_world: Callable[..., World]):
    """The block names the way out; lifted, the change goes on as a second attempt."""
    world = make_world(nature=Nature(bad_new=0.2))
    change = world.propose()
    _until(world, change, lambda: world.phase(change) == "reviewing", 900)
    with pytest.raises(Refused) as refusal:
        world.order(change, "retry")
    assert refusal.value.code == "version-blocked"
    (block,) = world.house.rollouts.blocked(world.people["dev-a"])
    world.house.rollouts.lift(block.service, block.digest, "mended outside", world.people["dev-a"])
    world.nature.bad_new = 0.002
    world.order(change, "retry")
    _until(world, change, lambda: world.change(change).attempt == 2)
    _until(world, change, lambda: world.phase(change) in ("reviewing", "closed"), 900)
    assert world.change(change).outcome == "completed", world.told(change)
    check(world.house)


def test_harm_in_the_rollback_window_takes_a_completed_change_back_and_names_the_miss(make_world):  # type: ignore[no-untyped-def]
    """Completed and the new normal, watched on: an hour is not over when it turns bad, and nobody has to notice."""
    world = make_world(nature=Nature(per_s=100, bad_old=0.0, bad_new=0.0))
    document = ramp(steps=STEPS, gates=BURNING).replace("rollback: {plan: flag back to off}", WINDOW)
    change = world.propose(document)
    _until(world, change, lambda: world.phase(change) == "completed")
    _until(world, change, lambda: world.serves() == "on")
    world.run(300, step_s=5)
    assert world.phase(change) == "completed", world.told(change)
    assert "watched until" in world.told(change)
    world.nature.bad_new = 0.9
    _until(world, change, lambda: world.serves() == "off", 900)
    _until(world, change, lambda: world.phase(change) == "reviewing", 120)
    assert world.change(change).outcome == "rolled back"
    assert world.facts(change).count("rollback.started") == 1
    assert len(world.house.rollouts.blocked(world.people["dev-a"])) == 1
    check(world.house)


def test_a_window_without_harm_ends_in_the_review_and_a_person_may_roll_back_inside_it(world: World):
    """Quiet: reviewed when the hour is over. Ordered: taken back at once from the new normal."""
    quiet = ramp(steps=STEPS, gates=QUICK).replace("rollback: {plan: flag back to off}", WINDOW)
    change = world.propose(quiet)
    _until(world, change, lambda: world.phase(change) == "completed")
    _until(world, change, lambda: world.serves() == "on")
    assert possible_orders(world.change(change)) == ["rollback"]
    world.order(change, "rollback")
    _until(world, change, lambda: world.change(change).outcome == "rolled back", 60)
    assert world.serves() == "off"
    again = world.propose(quiet.replace("New VAT engine", "once more"))
    _until(world, again, lambda: world.phase(again) == "completed")
    assert world.run(3700, until=lambda: world.phase(again) in ("reviewing", "closed"), step_s=20)
    assert world.change(again).outcome == "completed"
    check(world.house)


@pytest.mark.parametrize("phase", list(Phase))
def test_each_order_in_each_phase_is_possible_or_lists_what_is(world: World, phase: Phase):
    """Of every pair: either the table lets it through, or one refusal that names what can be ordered now."""
    change = replace(_draft(world), phase=phase)
    assert possible_orders(change) == [
        verb for verb, phases in LEGAL.items() if phase in phases and phase is not Phase.REVIEWING
    ]
    back = possible_orders(replace(change, outcome="rolled back"))
    assert ("retry" in back) is (phase in LEGAL["retry"])
    failed = possible_orders(replace(change, outcome="rollback failed"))
    assert ("rollback" in failed) is (phase in LEGAL["rollback"])


def _draft(world: World):  # type: ignore[no-untyped-def]
    return world.change(world.propose(ramp(gates=QUICK)))


def _mitigated(world: World, target: ScriptedTarget) -> str:
    """A flag in staging and a route in production go out together; production would not go back, and staging, which it
    needs, stays under it with its ramp.
    """
    change = world.propose(FLAG_THEN_ROUTE)
    world.run(5, step_s=5)
    if world.phase(change) == "awaiting_approval":
        world.approve(change)
    _until(world, change, lambda: target.percent(ROUTE) == 10)
    target.script.away = True
    world.order(change, "abort")
    assert world.run(1500, until=lambda: world.phase(change) == "rollback_failed", step_s=20), world.told(change)
    world.order(change, "mitigated", reason="switched off at the proxy")
    _until(world, change, lambda: world.phase(change) == "reviewing")
    assert world.change(change).outcome == "rollback failed"
    assert world.percent(environment="staging") == 100
    return change


def test_a_mitigated_change_can_be_taken_back_after_all(two_stages: tuple[World, ScriptedTarget]):
    """The target is back: `rollback` during its review takes back what was left standing, and it is reviewed as such."""
    world, target = two_stages
    change = _mitigated(world, target)
    assert possible_orders(world.change(change)) == ["rollback"]
    target.script.away = False
    world.order(change, "rollback")
    _until(world, change, lambda: world.change(change).outcome == "rolled back" and world.phase(change) == "reviewing")
    assert (target.percent(ROUTE), world.percent(environment="staging")) == (0, 0)
    assert world.bodies(change, "rollback.retried")[-1]["retries"] == 1
    check(world.house)


@pytest.mark.parametrize("closed", [False, True], ids=["reviewing", "closed"])
def test_the_ramp_a_mitigated_change_left_standing_does_not_keep_the_flag_for_ever(
    two_stages: tuple[World, ScriptedTarget], closed: bool
):
    """The next change of that flag does not wait: with its own first exposure the old ramp ends, told as a fact."""
    world, target = two_stages
    change = _mitigated(world, target)
    if closed:
        with world.house.store.read() as connection:
            review = world.house.reviews.of(connection, change, world.people["dev-b"])
        assert review is not None
        world.house.reviews.close(CloseReview(review=review.id, verdict="unknown", answers={}), world.people["dev-b"])
        _until(world, change, lambda: world.phase(change) == "closed")
    after = world.propose(
        ramp(users=5, gates=QUICK, title="Again").replace("environment: production", "environment: staging")
    )
    _until(world, after, lambda: world.percent(environment="staging") == 1)
    assert world.bodies("flag/tax.engine", "flag.reverted")[-1]["change_id"] == change
    _until(world, after, lambda: world.phase(after) in ("reviewing", "closed"), 900)
    assert world.change(after).outcome == "completed"
    assert world.serves(environment="staging") == "on"
    check(world.house)
