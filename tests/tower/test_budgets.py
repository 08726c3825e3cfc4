"""What a change costs the error budget, from the spans that came while it was out."""

from __future__ import annotations

import pytest
from tests.tower.world import World, ramp


def _objective(world: World, change: str) -> dict[str, object]:
    with world.house.store.read() as connection:
        (view,) = world.house.objectives.view(connection, world.change(change), world.clock.now())
    return view


def test_the_budget_a_change_spent_is_told_while_it_is_out_and_stays_when_it_ended(world: World):
    """Nothing before the first exposure; then what was bad since, the canary's part of it apart; at the end for good."""
    assert world.run(60, step_s=5)
    change = world.propose()
    assert _objective(world, change)["during"] is None
    assert world.run(300, until=lambda: world.percent() == 10, step_s=1)
    world.run(20)
    during = _objective(world, change)["during"]
    assert isinstance(during, dict)
    assert during["total"] > 20 * world.nature.per_s
    assert during["budget_spent"] == pytest.approx(
        during["burn"] * during["total"] / (during["total"] + 60 * 400), rel=0.2
    )
    canary = during["canary"]
    assert 0 < canary["total"] < 0.1 * during["total"]
    assert canary["bad"] <= during["bad"]

    world.nature.bad_new = 0.2
    assert world.run(300, until=lambda: world.phase(change) == "reviewing")
    ended = _objective(world, change)["during"]
    assert ended["bad"] > during["bad"] + 20
    assert ended["canary"]["bad"] > 20
    assert ended["burn"] > during["burn"]
    world.run(600, step_s=20)
    after = _objective(world, change)["during"]
    assert {**after, "budget_spent": None, "sentence": ""} == {**ended, "budget_spent": None, "sentence": ""}


def test_an_objective_tells_every_pair_of_windows(world: World):
    """Each alert with its bound and both rates, and which of them a person would be woken for."""
    world.run(60, step_s=5)
    change = world.propose(ramp(users=40))
    windows = _objective(world, change)["windows"]
    assert isinstance(windows, list)
    assert [(one["rule"], one["severity"], one["long_s"], one["short_s"]) for one in windows] == [
        ("fast", "page", 3600, 300),
        ("slow", "page", 21600, 1800),
        ("daily", "ticket", 86400, 7200),
        ("creeping", "ticket", 259200, 21600),
    ]
    assert [round(one["above"] * 30 / 28, 3) for one in windows] == [14.4, 6, 3, 1]
    assert all(one["burn_long"] == pytest.approx(0.1, abs=0.05) for one in windows)
    assert windows[0]["answer"] == "pass"
