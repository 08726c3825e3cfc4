"""Targets that are late, away, forgetful or moved by others: the rollout converges, or takes everything back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.tower.world import CATALOG, STAGING, Nature, World

from airboss.kernel.errors import Invalid, Refused
from airboss.testing.targets import ScriptedTarget

RELEASE = """
apiVersion: airboss/v1
kind: Change
spec:
  template: service-release
  title: Checkout 2.4.0
  why: new tax rules
  services: [checkout]
  owner: {team: payments}
  artifact: {version: 2.4.0, digest: "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"}
  impact: {users_percent: 5, reversible: true, data: none}
  rollback: {plan: traffic back to 2.3.9}
  rollout:
    strategy: canary
    stages:
%s
    gates: [data]
    allowance: 0.5%%
    verification: {least: 30s}
    on_error: {hold: 60s, then: rollback}
"""
PRODUCTION = """
      - environment: production
        target: {scripted: {name: checkout}}
        steps:
          - {expose: 10%, bake: {least: 10s, most: 40s}}
          - {expose: 100%, bake: {least: 10s, most: 40s}}
"""
BOTH = """
      - environment: staging
        target: {scripted: {name: checkout}}
        steps: [{expose: 100%, bake: {least: 10s, most: 40s}}]
      - environment: production
        needs: staging
        target: {scripted: {name: checkout}}
        steps:
          - {expose: 10%, bake: {least: 10s, most: 40s}}
          - {expose: 100%, bake: {least: 10s, most: 40s}}
"""
UNIT = "checkout@production"
STAGED = "checkout@staging"
DIGEST = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"
ENDED = ("reviewing", "closed")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A service that is released to a target which does as it is told."""

    def targets(clock):
        return {"scripted": ScriptedTarget(clock, digests={UNIT: DIGEST, STAGED: DIGEST})}

    nature = Nature(per_s=30, environments=("production", "staging"))
    return make_world(targets=targets, nature=nature, catalog=CATALOG + "---" + STAGING)


@pytest.fixture
def target(world: World) -> ScriptedTarget:
    """The one target of `world`."""
    found = world.targets["scripted"]
    assert isinstance(found, ScriptedTarget)
    return found


def _released(world: World, stages: str = PRODUCTION) -> str:
    """Propose a release and have it approved."""
    change = world.propose(RELEASE % stages)
    world.run(5, step_s=5)
    world.approve(change)
    return change


def _at(world: World, target: ScriptedTarget, percent: float, unit: str = UNIT, seconds: int = 300) -> None:
    assert world.run(seconds, until=lambda: target.percent(unit) == percent, step_s=2)


def _ends(world: World, change: str, outcome: str, seconds: int = 900) -> None:
    assert world.run(seconds, until=lambda: world.phase(change) in ENDED, step_s=5), world.told(change)
    assert world.change(change).outcome == outcome


def test_a_prompt_target_takes_each_share_once_and_is_finished(world: World, target: ScriptedTarget):
    """The plain story: each effect of the plan once, in order, and then it is the new normal."""
    change = _released(world)
    _ends(world, change, "completed")
    assert [(one.act, one.percent) for one in target.done] == [("apply", 10), ("apply", 100), ("finish", 100)]
    assert len({one.key for one in target.done}) == 3


def test_a_slow_target_is_waited_for_and_not_asked_again(world: World, target: ScriptedTarget):
    """Eight seconds from order to effect: nothing counts before it stands, and each key is carried out once."""
    target.script.latency_s = 8
    change = _released(world)
    _ends(world, change, "completed")
    assert [(one.act, one.percent) for one in target.done][:2] == [("apply", 10), ("apply", 100)]
    for start, reached in zip(
        world.times(change, "step.started"), world.times(change, "exposure.reached"), strict=True
    ):
        assert (reached - start).total_seconds() >= 8


def test_an_order_that_was_accepted_and_forgotten_is_given_again(world: World, target: ScriptedTarget):
    """Accepted is not done: what is observed decides, and the same order is repeated."""
    target.script.swallows = 2
    change = _released(world)
    _ends(world, change, "completed")
    assert [(one.act, one.percent) for one in target.done] == [("apply", 10), ("apply", 100), ("finish", 100)]


def test_an_answer_that_was_lost_is_looked_for_and_not_doubled(world: World, target: ScriptedTarget):
    """The order arrived, its answer did not: observing tells, and nothing is done twice."""
    target.script.loses_answers = 3
    change = _released(world)
    _ends(world, change, "completed")
    keys = [one.key for one in target.done]
    assert len(keys) == len(set(keys)) == 3


def test_a_refusal_is_told_held_and_taken_back_at_the_deadline(world: World, target: ScriptedTarget):
    """The target says no: the change says what it said, asks on, and goes back when that stays so."""
    target.script.refuses = "the route is locked by somebody"
    change = _released(world)
    world.run(10, step_s=2)
    assert "the route is locked by somebody" in world.told(change)
    assert world.bodies(change, "hold.begun")[0]["kind"] == "error"
    _ends(world, change, "rolled back")
    assert [one.act for one in target.done if one.act == "apply"] == []


def test_a_refusal_that_ends_in_time_lets_it_go_on(world: World, target: ScriptedTarget):
    """Unlocked before the deadline: the hold ends and the step begins to count."""
    target.script.refuses = "the route is locked by somebody"
    change = _released(world)
    world.run(30, step_s=2)
    target.script.refuses = None
    _ends(world, change, "completed")
    assert "hold.ended" in world.facts(change)


def test_a_target_away_at_the_start_holds_the_start(world: World, target: ScriptedTarget):
    """No baseline, no start; it begins by itself once the target answers."""
    target.script.away = True
    change = _released(world)
    world.run(60, step_s=10)
    assert world.phase(change) == "validating"
    assert "away" in world.told(change)
    target.script.away = False
    _ends(world, change, "completed")


def test_a_target_that_goes_away_holds_and_when_it_stays_away_the_rollback_fails(world: World, target: ScriptedTarget):
    """Nothing is promoted blind; a rollback nobody can carry out says so, with each unit's state, and can be retried."""
    change = _released(world)
    _at(world, target, 10)
    target.script.away = True
    assert world.run(200, until=lambda: world.phase(change) == "rolling_back", step_s=10)
    assert world.run(1200, until=lambda: world.phase(change) == "rollback_failed", step_s=60)
    assert world.bodies(change, "rollback.failed")[0]["units"] == {UNIT: "no answer"}
    world.run(600, step_s=60)
    assert world.phase(change) == "rollback_failed"
    with pytest.raises(Refused):
        world.order(change, "promote")

    target.script.away = False
    world.order(change, "retry", by="dev-b")
    world.run(5, step_s=1)
    assert target.percent(UNIT) == 0
    _ends(world, change, "rolled back")


def test_a_retry_of_a_rollback_that_was_accepted_and_forgotten_asks_anew(world: World, target: ScriptedTarget):
    """A target that lost every revert for a quarter of an hour is asked again after a retry, and goes back."""
    change = _released(world)
    _at(world, target, 10)
    target.script.swallows = 1_000
    world.order(change, "abort")
    assert world.run(1200, until=lambda: world.phase(change) == "rollback_failed", step_s=20)
    target.script.swallows = 0
    world.order(change, "retry")
    world.run(30, step_s=2)
    assert target.percent(UNIT) == 0
    _ends(world, change, "rolled back")


def test_an_order_on_its_way_that_arrives_after_the_revert_does_not_stay(world: World, target: ScriptedTarget):
    """The worst race: 100 % was ordered, then taken back, and the old order comes true last. It is taken back again."""
    change = _released(world)
    _at(world, target, 10)
    target.script.latency_s = 8
    assert world.run(60, until=lambda: world.bodies(change, "step.started")[-1]["percent"] == 100, step_s=1)
    world.order(change, "abort")
    target.script.latency_s = 0
    world.run(2)
    assert target.percent(UNIT) == 0
    assert world.phase(change) == "rolling_back"  # what was under way may still arrive
    world.run(8)
    assert [(one.act, one.percent) for one in target.done][-2:] in (
        [("revert", 0), ("apply", 100)],
        [("apply", 100), ("revert", 0)],
    )
    _ends(world, change, "rolled back")
    world.run(60, step_s=5)
    assert target.percent(UNIT) == 0


def test_a_first_order_that_arrives_after_an_abort_does_not_stay(world: World, target: ScriptedTarget):
    """Aborted before the first share was seen: nothing to revert yet, and still the late one is caught."""
    target.script.latency_s = 8
    change = _released(world)
    world.run(2)
    world.order(change, "abort")
    target.script.latency_s = 0
    world.run(3)
    assert world.phase(change) == "rolling_back"
    _ends(world, change, "rolled back")
    world.run(30, step_s=5)
    assert target.percent(UNIT) == 0


def test_a_drift_is_told_mended_and_counts_for_nothing(world: World, target: ScriptedTarget):
    """Somebody moves the route by hand: said, put right, and the step's bake begins anew."""
    change = _released(world)
    _at(world, target, 10)
    world.run(4, step_s=2)
    target.drift(UNIT, 70)
    world.run(2, step_s=2)
    assert target.percent(UNIT) == 10
    (drift,) = world.bodies(change, "exposure.drifted")
    assert (drift["wanted"], drift["observed"]) == (10, 70)
    _ends(world, change, "completed")
    applied = [one for one in target.done if one.act == "apply"]
    assert [one.percent for one in applied] == [10, 10, 100]
    assert len({one.key for one in applied}) == 3


def test_another_digest_on_the_new_side_counts_for_nothing_and_is_taken_back(world: World, target: ScriptedTarget):
    """What runs is not what was approved: held, and back at the deadline."""
    change = _released(world)
    _at(world, target, 10)
    target.digests[UNIT] = "sha256:other"
    world.run(4, step_s=2)
    assert "not what was approved" in world.told(change)
    _ends(world, change, "rolled back")
    assert "step.ended" not in world.facts(change)


def test_a_drift_at_full_exposure_is_seen_while_verifying(world: World, target: ScriptedTarget):
    """At 100 % the exposure is watched on: moved away, it is put right and verified anew."""
    change = _released(world)
    assert world.run(300, until=lambda: world.phase(change) == "verifying", step_s=2)
    target.drift(UNIT, 40)
    world.run(2, step_s=2)
    assert target.percent(UNIT) == 100
    assert world.phase(change) == "verifying"
    _ends(world, change, "completed")
    assert "exposure.drifted" in world.facts(change)


def test_a_target_lost_while_verifying_is_taken_back(world: World, target: ScriptedTarget):
    """Full exposure is no reason to trust what does not answer."""
    change = _released(world)
    assert world.run(300, until=lambda: world.phase(change) == "verifying", step_s=2)
    target.script.away = True
    assert world.run(200, until=lambda: world.phase(change) == "rolling_back", step_s=5)
    target.script.away = False
    _ends(world, change, "rolled back")


def test_a_bug_in_an_adapter_is_an_answer_that_does_not_come(world: World, target: ScriptedTarget):
    """What an adapter should never raise does not stop the loop: held like any target that does not answer."""
    change = _released(world)
    _at(world, target, 10)
    target.script.breaks = world.loud.expected = True
    assert world.run(200, until=lambda: world.phase(change) == "rolling_back", step_s=5)
    target.script.breaks = False
    _ends(world, change, "rolled back")


def test_two_stages_go_out_in_order_and_come_back_in_reverse(world: World, target: ScriptedTarget):
    """Production needs staging: staging goes first, and on the way back production is gone before staging moves."""
    change = _released(world, BOTH)
    _at(world, target, 10)
    assert target.percent(STAGED) == 100
    target.script.latency_s = 4
    world.order(change, "abort")
    world.run(2)
    assert (target.percent(UNIT), target.percent(STAGED)) == (10, 100)
    _ends(world, change, "rolled back")
    reverts = [one for one in target.done if one.act == "revert"]
    assert [one.unit for one in reverts] == [UNIT, STAGED]
    assert reverts[0].at <= reverts[1].at


def test_a_unit_that_cannot_go_back_keeps_what_it_needs_and_is_named(world: World, target: ScriptedTarget):
    """Production is away: staging, which it needs, stays under it; the failure tells where each of them is."""
    change = _released(world, BOTH)
    _at(world, target, 10)
    target.scripts[UNIT] = type(target.script)(away=True)
    world.order(change, "abort")
    assert world.run(1200, until=lambda: world.phase(change) == "rollback_failed", step_s=60)
    assert world.bodies(change, "rollback.failed")[0]["units"] == {UNIT: "no answer", STAGED: "100 %"}
    del target.scripts[UNIT]
    world.order(change, "retry")
    _ends(world, change, "rolled back")
    assert (target.percent(UNIT), target.percent(STAGED)) == (0, 0)


def _fails(world: World, target: ScriptedTarget) -> str:
    """A release whose rollback fails, because its target goes away."""
    change = _released(world)
    _at(world, target, 10)
    target.script.away = True
    world.order(change, "abort")
    assert world.run(1500, until=lambda: world.phase(change) == "rollback_failed", step_s=10), world.told(change)
    return change


def test_a_rollback_that_failed_and_was_mended_by_hand_is_seen(world: World, target: ScriptedTarget):
    """Nothing is ordered any more, but what is observed counts: back at its baseline is taken back."""
    change = _fails(world, target)
    target.script.away = False
    target.drift(UNIT, 0.0)
    _ends(world, change, "rolled back", 60)
    assert world.bodies(change, "rollback.ended")[-1]["by_hand"] is True
    assert not [one for one in target.done if one.act == "revert"]


def test_a_rollback_that_failed_and_was_mitigated_is_recorded_with_its_reason(world: World, target: ScriptedTarget):
    """A person says what was done instead; said twice it is said once, and without a reason not at all."""
    change = _fails(world, target)
    with pytest.raises(Invalid):
        world.order(change, "mitigated", reason=" ")
    world.order(change, "mitigated", reason="switched off at the proxy")
    world.run(20, step_s=5)
    assert world.phase(change) == "reviewing"
    assert world.change(change).outcome == "rollback failed"
    assert world.order(change, "mitigated", reason="again").phase == "reviewing"
    (body,) = world.bodies(change, "rollback.mitigated")
    assert body["units"] == {UNIT: "no answer"}


def test_a_unit_of_an_earlier_stage_is_watched_and_brought_back(world: World, target: ScriptedTarget):
    """Staging strays while production ramps: told, asked back, and nothing advances meanwhile."""
    change = _released(world, BOTH)
    _at(world, target, 10)
    target.drift(STAGED, 40.0)
    assert world.run(30, until=lambda: target.percent(STAGED) == 100, step_s=1), world.told(change)
    world.run(5)
    (drift,) = world.bodies(change, "exposure.drifted")
    assert (drift["unit"], drift["wanted"], drift["observed"]) == (STAGED, 100, 40)
    assert world.bodies(change, "exposure.restored")[-1]["unit"] == STAGED
    _ends(world, change, "completed")
