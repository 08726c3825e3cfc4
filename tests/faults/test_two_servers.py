"""Two server processes on one PostgreSQL: one dies or sleeps, the other goes on, and nothing is done twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from tests.faults.fleet import Control, Fleet, until
from tests.tower.invariants import check

GOES_ON_S = 15.0
EVERYTHING = [("flag.exposed", 10), ("flag.exposed", 100), ("flag.finished", None)]
"""What a flag is made to do by a ramp that completes, each once."""
PLACES = (
    "tower.after_claim",
    "tower.before_decide",
    "store.before_commit",
    "tower.before_effect",
    "tower.after_effect",
    "tower.after_effect_recorded",
)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two servers, their ingest, a service and its customers."""
    with Fleet() as made:
        yield made


def _taken_over(fleet: Fleet, change: str, before: int) -> float:
    """Wait until the change is claimed anew and return how long that took."""
    return until(lambda: fleet.fence(change) > before, "nobody went on")


def _first_to_reach(fleet: Fleet, failpoint: str, action: str) -> tuple[Control, Control]:
    """Have whichever server comes by first stop or die there. Return it and the other, which is left alone."""
    pair = (fleet.first, fleet.second)
    for server in pair:
        server.arm(failpoint, action)
    until(lambda: any(server.state in "TZX" for server in pair), f"nobody came by {failpoint}")
    hit, other = pair if fleet.first.state in "TZX" else pair[::-1]
    other.arm(None)
    return hit, other


def test_one_dies_and_one_sleeps_and_the_ramp_goes_through_once(fleet: Fleet) -> None:
    """A server is killed in mid-ramp at a moment of chance and comes back; then whoever is about to carry out an effect is
    stopped past its lease: the other goes on within 15 s each time, and the sleeper, awake again, does nothing.
    """
    chance = random.Random(20261128)
    change = fleet.begin(fleet.first)
    time.sleep(chance.uniform(0.5, 2.5))
    victim = chance.choice((fleet.first, fleet.second))
    before = fleet.fence(change)
    victim.kill()
    assert _taken_over(fleet, change, before) < GOES_ON_S
    victim.start()
    sleeper, other = _first_to_reach(fleet, "tower.before_effect", "stop")
    before = fleet.fence(change)
    assert _taken_over(fleet, change, before) < GOES_ON_S
    held_by_other = fleet.fence(change)
    sleeper.go_on()
    assert fleet.view(sleeper, change)["id"] == change  # it is awake
    assert fleet.ends(other, change) == "completed"
    assert fleet.fence(change) >= held_by_other
    assert fleet.target_log(change) == EVERYTHING
    with fleet.house() as house:
        check(house)
