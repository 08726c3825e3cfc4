"""What machines have not said yet holds the start: said in words, and begun by itself when it is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.tower.world import QUICK, Nature, World, ramp

from airboss.decide.evidence import Record

OTHER = "sha256:" + "9" * 64


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Few users: what is judged here is when a change starts."""
    return make_world(nature=Nature(per_s=30))


def _expecting(world: World, evidence: str) -> str:
    change = world.propose(ramp(users=40, gates=QUICK, more=f"  evidence: {evidence}"))
    world.run(5, step_s=5)
    world.approve(change)
    world.run(5, step_s=5)
    return change


def _tell(world: World, change: str, *, green: bool = True, digest: str | None = None) -> bool:
    record = Record(change_id=change, type="ci", green=green, source="build 812", digest=digest)
    return world.house.evidence.record(record, world.people["dev-a"]).counts


def _waits(world: World, change: str, seconds: int = 60) -> str:
    """Nothing is exposed, however long it takes; return what is said."""
    for _ in range(3):
        world.clock.advance(seconds / 3)
        world.look()
    assert world.phase(change) in ("approved", "scheduled")
    assert world.percent() == 0
    assert "exposure.reached" not in world.facts(change)
    return world.told(change)


def test_the_start_waits_for_evidence_says_for_which_and_begins_when_it_arrives(world: World):
    """An hour without a word is an hour of waiting, told with the command that ends it; then it starts by itself."""
    change = _expecting(world, "[ci]")
    told = _waits(world, change, 3600)
    assert told.startswith("Held before the start: it starts once ci is green for what it carries")
    assert f"airboss change evidence {change} --green" in told
    assert len(world.bodies(change, "change.held")) == 1  # the same words again are no news
    assert _tell(world, change)
    assert world.run(20, until=lambda: world.percent() == 1)


def test_red_evidence_holds_the_start_until_it_is_green(world: World):
    """A red build is no less missing than none; the newest word of each kind counts, also when it turns red again."""
    change = _expecting(world, "[ci]")
    assert _tell(world, change, green=False)
    assert "ci is green" in _waits(world, change)
    world.order(change, "abort")
    again = _expecting(world, "[ci]")
    assert _tell(world, again)
    assert _tell(world, again, green=False)
    assert "once ci is green" in _waits(world, again)
    assert _tell(world, again)
    assert world.run(20, until=lambda: world.percent() == 1)


def test_evidence_of_another_digest_starts_nothing(world: World):
    """Green for something else is told as not counting, and the change waits on."""
    change = _expecting(world, "[ci]")
    assert not _tell(world, change, digest=OTHER)
    assert "once ci is green" in _waits(world, change)
    assert _tell(world, change, digest=min(world.change(change).expanded().pinned.values()))
    assert world.run(20, until=lambda: world.percent() == 1)
