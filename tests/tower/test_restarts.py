"""The server goes away in every phase and comes back: nothing is lost, nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.tower.invariants import check
from tests.tower.world import QUICK, Nature, World, ramp

from airboss.act.rollout.repo import save_judgement
from airboss.tower.judge import ALPHA

STEPS = """
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {ask: payments-leads, expires: 10m}
          - {expose: 100%, bake: {least: 5s, most: 120s}}
"""
PHASES = ("in_review", "awaiting_approval", "approved", "validating", "rolling_out", "verifying", "rolling_back")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Few users: what is judged here is the order of things, not the evidence."""
    return make_world(nature=Nature(per_s=30))


def _help(world: World, change: str) -> None:
    """Do what people do for it."""
    if world.phase(change) == "awaiting_approval":
        world.approve(change)
    elif "Waiting for payments-leads" in world.told(change):
        world.order(change, "promote", by="dev-a")


def _one_look(world: World) -> None:
    """A single look, so that each phase is seen between two of them."""
    world.look(most=1)


@pytest.mark.parametrize("ending", ["completed", "rolled back"])
def test_dying_between_any_two_looks_changes_nothing(world: World, ending: str):
    """A server that lives for one look only: the change goes the same way as with one that lives for ever."""
    change = world.propose(ramp(users=40, steps=STEPS, gates=QUICK))
    seen = set()
    for number in range(200):
        seen.add(world.phase(change))
        if world.phase(change) in ("reviewing", "closed"):
            break
        phase = world.phase(change)
        _help(world, change)
        if ending == "rolled back" and world.percent() == 100:
            world.order(change, "abort")
        world.clock.advance(1)
        world.traffic()
        _one_look(world)
        if number % 8 == 0 or world.phase(change) != phase:
            world.restart()
    assert world.change(change).outcome == ending
    assert seen >= set(PHASES[:5])
    facts = world.facts(change)
    for once in ("change.approved", "change.rollout_started", "rollout.started", "round.opened", "unit.prepared"):
        assert facts.count(once) == 1, once
    assert facts.count("step.ended") == (3 if ending == "completed" else 2)
    check(world.house)


def test_users_keep_their_side_over_a_restart(world: World):
    """Who had the new side before the server died has it after, and nobody else."""
    change = world.propose(ramp(steps=STEPS, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 10, step_s=5)

    def sides() -> list[str | None]:
        with world.house.store.read() as connection:
            evaluate = world.house.flags.served(connection).compiled.evaluate
        return [evaluate("tax.engine", f"user-{number}", {}).variant for number in range(2_000)]

    before = sides()
    world.restart()
    assert sides() == before
    assert 100 < before.count("on") < 300
    assert world.phase(change) == "rolling_out"


def test_evidence_survives_a_restart(make_world: Callable[..., World]):
    """The analysis goes on where it was: the same blocks are not counted twice, nor are any left out."""
    world = make_world()
    change = world.propose()
    assert world.run(200, until=lambda: world.judged(change) is not None, step_s=5)
    world.run(10, step_s=5)
    before = world.judged(change)
    world.restart()
    assert world.judged(change) == before
    while world.phase(change) not in ("reviewing", "closed"):
        world.run(10, step_s=5)
        world.restart()
    assert world.change(change).outcome == "completed"
    check(world.house)


def test_analyses_no_version_can_read_are_begun_anew_with_half_the_alpha_left(make_world: Callable[..., World]):
    """A state of another version, twice in a row: a half, then a quarter of alpha, no block judged twice, and the change goes on."""
    world = make_world()
    change = world.propose()
    assert world.run(200, until=lambda: getattr(world.judged(change), "last_block", None) is not None, step_s=5)
    alphas, read = [], []
    for _ in range(2):
        before = world.judged(change)
        assert before is not None
        with world.house.store.write() as tx:
            save_judgement(tx, change, 1, replace(before, state={**before.state, "format": 99}), world.clock.now())
        world.restart()
        assert world.run(60, until=lambda kept=before: world.judged(change).last_block != kept.last_block, step_s=5)
        after = world.judged(change)
        alphas.append(after.state["alpha"])
        read.append(after.state["looks"] * 2 <= (after.last_block - before.last_block).total_seconds())
    assert alphas == [ALPHA / 2, ALPHA / 4]
    assert read == [True, True]
    assert world.run(400, until=lambda: world.change(change).outcome == "completed", step_s=5)
    check(world.house)


def test_an_order_given_while_the_server_is_away_is_carried_out_when_it_is_back(world: World):
    """An abort taken by another server's face waits in the database."""
    change = world.propose(ramp(steps=STEPS, gates=QUICK))
    assert world.run(60, until=lambda: world.percent() == 10, step_s=5)
    world.order(change, "abort")
    world.restart()
    world.run(20, step_s=1)
    assert world.change(change).outcome == "rolled back"
    check(world.house)
