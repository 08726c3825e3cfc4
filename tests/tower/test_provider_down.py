"""The store of telemetry is gone: nothing is promoted blind, and every way back works without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.tower.world import Nature, World, ramp

STEPS = """
          - {expose: 10%, bake: {least: 20s, most: 120s}}
          - {expose: 100%, bake: {least: 20s, most: 120s}}
"""


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(nature=Nature(per_s=200))


def _out(world: World) -> str:
    change = world.propose(ramp(steps=STEPS))
    assert world.run(60, until=lambda: "exposure.reached" in world.facts(change))
    return change


def _loses_its_store(world: World) -> None:
    """Take the tables away, as a dropped or restored-empty database does; requests go on, and nobody can count them."""
    engine = sa.create_engine(world.house.settings.buckets_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE telemetry_bucket RENAME TO telemetry_bucket_away"))
    engine.dispose()
    world.nature.seen = False


def _finds_its_store(world: World) -> None:
    engine = sa.create_engine(world.house.settings.buckets_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE telemetry_bucket_away RENAME TO telemetry_bucket"))
    engine.dispose()
    world.nature.seen = True


def test_a_step_holds_while_telemetry_cannot_be_read_and_is_taken_back_at_the_deadline(world: World):
    """Every gate answers that it could not ask; the hold has the plan's deadline, and nobody is convicted of it."""
    change = _out(world)
    _loses_its_store(world)
    assert world.run(30, until=lambda: "hold.begun" in world.facts(change))
    assert world.bodies(change, "hold.begun")[0]["kind"] == "error"
    assert world.run(120, until=lambda: world.phase(change) == "reviewing", step_s=2), world.told(change)
    facts = world.facts(change)
    assert world.change(change).outcome == "rolled back"
    assert "step.ended" not in facts
    assert "harm.convicted" not in facts


def test_telemetry_that_can_be_read_again_lets_the_step_go_on(world: World):
    """Back before the deadline: the hold ends, and evidence ends the step as ever."""
    change = _out(world)
    _loses_its_store(world)
    assert world.run(30, until=lambda: "hold.begun" in world.facts(change))
    _finds_its_store(world)
    assert world.run(120, until=lambda: "step.ended" in world.facts(change)), world.told(change)
    assert "hold.ended" in world.facts(change)


@pytest.mark.parametrize("verb", ["abort", "rollback"])
def test_taking_back_needs_no_telemetry(world: World, verb: str):
    """A person takes it back while nothing can be read: done within the look that takes the order."""
    change = _out(world)
    _loses_its_store(world)
    world.run(3)
    world.order(change, verb)
    assert world.run(3, until=lambda: world.percent() == 0)
    assert world.run(30, until=lambda: world.phase(change) == "reviewing")
    assert world.change(change).outcome == "rolled back"
