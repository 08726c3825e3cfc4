"""Rounds end with what they ask about, and other packs in force are heard while people are asked."""

from __future__ import annotations

from tests.tower.world import World, ramp

from airboss.changes import Cancel
from airboss.people.access import LOCAL

GROUP = """
apiVersion: airboss/v1
kind: Group
metadata: {name: sre}
spec: {members: [dev-c, root]}
"""
MORE = """
apiVersion: airboss/v1
kind: PolicyPack
metadata: {{name: careful, version: 1}}
spec:
  owner: platform
  layer: compliance
  rules:
    - id: CAREFUL
      title: Careful
      at: [approve]
      when: 'change.kind == "flag-ramp"'
      effect: {effect}
  tests:
    - {{name: a ramp, at: approve, input: {{change: {{kind: flag-ramp}}}}, expect: {{fired: [CAREFUL]}}}}
    - {{name: a release, at: approve, input: {{change: {{kind: service-release}}}}, expect: {{not_fired: [CAREFUL]}}}}
"""
SRE_TOO = MORE.format(effect="{require_approval: {all_of: [{group: sre, least: 1}]}}")


def _rounds(world: World, change: str) -> list[str]:
    with world.house.store.read() as connection:
        facts = world.house.journal.of(connection, change)
    return [str(fact.body["outcome"]) for fact in facts if fact.type == "round.closed"]


def _open(world: World, change: str) -> bool:
    with world.house.store.read() as connection:
        return world.house.approvals.standing(connection, change) is not None


def _waiting(world: World) -> str:
    change = world.propose(ramp(users=40))
    world.run(2)
    assert world.phase(change) == "awaiting_approval"
    return change


def test_called_off_its_round_ends_in_the_same_moment(world: World):
    """Nobody is asked about a change that is no more: the round ends in the transaction that cancels, tower or not."""
    change = _waiting(world)
    world.house.changes.cancel(Cancel(change_id=change, reason="not needed"), actor=world.people["dev-a"])
    assert not _open(world, change)
    assert _rounds(world, change) == ["withdrawn"]
    with world.house.store.read() as connection:
        assert world.house.approvals.inbox(connection, "dev-b") == []


def test_edited_its_round_ends_in_the_same_moment(world: World):
    """A vote on the old content has nowhere to go; a new round asks about the new one."""
    change = _waiting(world)
    world.edit(change, ramp(users=45))
    assert not _open(world, change)
    world.run(2)
    assert _open(world, change)
    assert _rounds(world, change) == ["superseded"]


def test_a_new_pack_adds_what_it_asks_for_while_people_are_asked(world: World):
    """Requirements are added, the approval given before counts, and it passes when both have agreed."""
    world.apply(GROUP)
    change = _waiting(world)
    world.apply(SRE_TOO)
    world.approve(change, by="dev-b")
    world.run(3)
    assert world.phase(change) == "awaiting_approval"
    assert "1 of sre" in world.told(change)
    assert _rounds(world, change) == ["superseded"]
    world.approve(change, by="dev-c")
    world.run(3)
    assert _rounds(world, change) == ["superseded", "approved"]
    assert world.phase(change) == "rolling_out"


def test_a_milder_pack_drops_nothing_that_was_asked(world: World):
    """Taking the strict pack out of force does not clear a change people are being asked about."""
    world.apply(GROUP)
    world.apply(SRE_TOO)
    change = _waiting(world)
    world.approve(change, by="dev-b")
    world.house.policies.retire_pack("careful", actor=LOCAL)
    world.run(3)
    assert world.phase(change) == "awaiting_approval"
    assert "1 of sre" in world.told(change)


def test_a_new_pack_that_refuses_takes_the_change_back_into_review(world: World):
    """Nothing is approved past a refusal; when the refusal goes, what was asked is still asked."""
    change = _waiting(world)
    world.apply(MORE.format(effect="{deny: {}}"))
    world.approve(change, by="dev-b")
    world.run(3)
    assert world.phase(change) == "in_review"
    assert "Careful" in world.change(change).sentence
    world.house.policies.retire_pack("careful", actor=LOCAL)
    world.run(70)
    assert world.phase(change) not in ("in_review", "awaiting_approval")
    assert _rounds(world, change) == ["superseded", "approved"]


def test_what_was_approved_is_judged_again_by_packs_that_came_since(world: World):
    """Approved and waiting for its time, a change that now needs more people asks them before it starts."""
    world.apply(GROUP)
    later = "  schedule: {not_before: 2027-06-01T00:00:00Z}"
    change = world.propose(ramp(users=40, more=later))
    world.run(2)
    world.approve(change, by="dev-b")
    world.run(3)
    assert world.phase(change) == "scheduled"
    world.apply(SRE_TOO)
    world.run(70)
    assert world.phase(change) == "awaiting_approval"
    world.approve(change, by="dev-c")
    world.run(3)
    assert world.phase(change) == "scheduled"


def test_a_pack_that_asks_nothing_more_changes_nothing(world: World):
    """The round stays, and the decision by the new packs is kept."""
    change = _waiting(world)
    world.apply(MORE.format(effect="{warn: {}}"))
    world.run(70)
    assert _rounds(world, change) == []
    with world.house.store.read() as connection:
        assert not world.house.policies.outdated(connection, change)
    world.approve(change, by="dev-b")
    world.run(3)
    assert world.phase(change) == "rolling_out"


NEEDING = """
apiVersion: airboss/v1
kind: Team
metadata: {name: search}
spec: {members: [dev-c], leads: [dev-c]}
---
apiVersion: airboss/v1
kind: Service
metadata: {name: search}
spec:
  owner: search
  tier: standard
  stateful: false
  environments: [production]
  depends_on: [checkout]
  telemetry: {service_name: search}
"""
THOSE_WHO_NEED_IT = MORE.format(effect="{require_approval: {all_of: [{group: dependent-owners, least: 1}]}}").replace(
    """'change.kind == "flag-ramp"'""", "size(change.dependents) > 0"
)


def test_owners_of_what_depends_on_it_are_found_and_asked(world: World):
    """The owners are those of other teams' services that say they depend on this one; without any, nobody is added."""
    tests = "{change: {kind: flag-ramp}}", "{change: {dependents: [search]}}"
    world.apply(THOSE_WHO_NEED_IT.replace(*tests))
    alone = world.propose(ramp())
    world.run(2)
    assert world.phase(alone) == "rolling_out"
    world.order(alone, "abort")
    world.run(30)
    world.apply(NEEDING)
    change = world.propose(ramp(title="Newer VAT engine", users=4))
    world.run(2)
    assert world.phase(change) == "awaiting_approval"
    assert "1 of dependent-owners" in world.told(change)
    world.approve(change, by="dev-c")
    world.run(3)
    assert world.phase(change) == "rolling_out"
