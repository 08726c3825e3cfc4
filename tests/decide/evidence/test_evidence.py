"""Evidence: what machines said, for the digest they said it of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.tower.world import World, ramp

from airboss.decide.evidence import Record
from airboss.kernel.errors import Forbidden, Invalid
from airboss.people.access import Actor, Role

NEEDS_CI = """
apiVersion: airboss/v1
kind: PolicyPack
metadata: {name: machines-first, version: 1}
spec:
  owner: platform
  layer: organisation
  rules:
    - id: CI-FIRST
      title: A green build of exactly this
      at: [approve]
      when: 'change.kind == "flag-ramp"'
      effect: {require_evidence: {type: ci, max_age: 1h}}
      message: '"a green build of exactly this"'
  tests:
    - name: a ramp needs its build
      at: approve
      input: {change: {kind: flag-ramp}, evidence: {ci: {green: false, age_s: 10}}}
      expect: {outcome: pending}
    - name: a release does not ask here
      at: approve
      input: {change: {kind: service-release}}
      expect: {not_fired: [CI-FIRST]}
"""


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def _demand(world: World) -> None:
    for parsed in world.house.kinds.parse(NEEDS_CI.encode(), "machines.yaml"):
        world.house.kinds.apply(parsed, actor=world.people["root"])


def _record(world: World, change_id: str, *, green: bool, digest: str | None = None) -> None:
    world.house.evidence.record(
        Record(change_id=change_id, type="ci", green=green, source="build 7", digest=digest), world.people["dev-a"]
    )


def test_nobody_is_asked_before_the_machines_have_spoken(world: World):
    """Without its build a change stays in review and says what it waits for; with it, it goes on by itself."""
    _demand(world)
    change_id = world.propose()
    world.run(3)
    held = world.change(change_id)
    assert held.phase == "in_review"
    assert "ci evidence" in held.sentence
    _record(world, change_id, green=True)
    world.run(3)
    assert world.change(change_id).phase == "rolling_out"


def test_red_evidence_and_that_of_another_digest_do_not_count(world: World):
    """A failed build, or a green one of something else, leaves the change where it is."""
    _demand(world)
    change_id = world.propose()
    world.run(2)
    _record(world, change_id, green=False)
    _record(world, change_id, green=True, digest="sha256:" + "0" * 64)
    world.run(3)
    assert world.change(change_id).phase == "in_review"
    with world.house.store.read() as connection:
        shown = world.house.evidence.of(connection, world.change(change_id))
    assert [(one.green, one.counts) for one in shown] == [(True, False), (False, True)]


def test_evidence_is_only_for_those_who_may_submit_and_of_known_types(world: World):
    """A viewer may not vouch for a change, and an unknown type is refused with those there are."""
    change_id = world.propose()
    viewer = Actor(
        id="usr_x", name="eve", kind="person", role=Role.VIEWER, scopes=None, service=None, via="session:test"
    )
    with pytest.raises(Forbidden):
        world.house.evidence.record(Record(change_id=change_id, type="ci", green=True, source="x"), viewer)
    with pytest.raises(Invalid, match="no type of evidence"):
        world.house.evidence.record(
            Record(change_id=change_id, type="horoscope", green=True, source="x"), world.people["dev-a"]
        )


def test_evidence_speaks_of_the_content_it_was_made_for(world: World):
    """An edit of the flag's sides keeps the definition's digest, so the build still counts; the facts say of which."""
    change_id = world.propose()
    _record(world, change_id, green=True)
    world.edit(change_id, ramp(title="New VAT engine, said better"))
    with world.house.store.read() as connection:
        facts = world.house.evidence.facts(connection, world.change(change_id), world.clock.now())
    assert facts["ci"]["green"]
