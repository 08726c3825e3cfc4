"""What policy obliges a rollout to is held against its plan, before anybody is asked and before it starts."""

from __future__ import annotations

from tests.tower.world import World, ramp

PACK = """
apiVersion: airboss/v1
kind: PolicyPack
metadata: {{name: careful, version: 1}}
spec:
  owner: platform
  layer: organisation
  rules:
    - id: CAREFUL
      title: Careful
      at: [{at}]
      when: 'change.kind == "flag-ramp"'
      effect: {effect}
      message: '"careful"'
  tests:
    - {{name: a ramp, at: {at}, input: {{change: {{kind: flag-ramp}}}}, expect: {{fired: [CAREFUL]}}}}
    - {{name: a release, at: {at}, input: {{change: {{kind: service-release}}}}, expect: {{not_fired: [CAREFUL]}}}}
"""


def _under(world: World, effect: str, at: str = "submit") -> str:
    world.apply(PACK.format(effect=effect, at=at))
    change = world.propose()
    world.run(4)
    return change


def test_a_rise_larger_than_allowed_is_refused_with_both_numbers(world: World):
    """The plan goes from 50 to 100 %; policy allows 20 at once."""
    change = _under(world, "{obligate: {largest_step: 20%}}")
    assert world.phase(change) == "in_review"
    assert "at most 20 % at once, and the plan has one of 50 %" in world.change(change).sentence


def test_a_shorter_bake_than_asked_for_is_refused(world: World):
    """Five seconds are not ten minutes."""
    change = _under(world, "{obligate: {bake_least: 10m}}")
    assert "at least 600 s in each step, and the plan has one of 5 s" in world.change(change).sentence


def test_a_plan_without_the_canary_policy_asks_for_is_refused(world: World):
    """Data alone is not a comparison."""
    world.apply(PACK.format(effect="{obligate: {canary: true}}", at="submit"))
    change = world.propose(ramp(gates="\n      - data"))
    world.run(4)
    assert "asks for a canary gate" in world.change(change).sentence


def test_obligations_that_are_met_stand_in_nobodys_way(world: World):
    """The same plan under obligations it meets starts by itself."""
    change = _under(world, "{obligate: {canary: true, bake_least: 5s, largest_step: 50%}}")
    assert world.phase(change) == "rolling_out"


def test_a_start_before_the_time_policy_sets_is_held(world: World):
    """A schedule of policy holds the start, and says from when."""
    change = _under(world, "{schedule: {not_before: 2027-01-01T00:00:00Z}}", at="start")
    assert world.percent() == 0
    assert "2027-01-01 00:00 UTC" in world.told(change)
