"""Two server processes on one PostgreSQL: one dies or sleeps, the other goes on, and nothing is done twice."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.faults.fleet import Control, Fleet, until
from tests.tower.invariants import check

from airboss.demo.caller import Away, Refused

GOES_ON_S = 15.0
EVERYTHING = [("flag.exposed", 10), ("flag.exposed", 100), ("flag.finished", None)]
"""What a flag is made to do by a ramp that completes, each once."""


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


def test_without_its_database_a_server_says_so_and_two_aborts_on_its_return_are_one(fleet: Fleet) -> None:
    """PostgreSQL crashes in mid-ramp and is away for some seconds: every answer is a 503 with a way out, and nothing moves.
    As it comes back a person at each server aborts: both are answered, and the flag is taken back once.
    """
    _away_and_aborted(fleet, away_s=5)


@pytest.mark.slow  # a minute, because pools and leases of that length run out meanwhile
def test_a_minute_without_its_database_loses_nothing(fleet: Fleet) -> None:
    """The same for a minute, longer than every timeout and lease."""
    _away_and_aborted(fleet, away_s=60)


def _away_and_aborted(fleet: Fleet, *, away_s: float) -> None:
    change = fleet.begin(fleet.first, bake_s=200)
    until(lambda: fleet.facts(change, "exposure.reached") == 1, "the first step is not reached")
    fleet.database.away()
    began = time.monotonic()
    while time.monotonic() - began < away_s:
        for server in (fleet.first, fleet.second):
            token = {"Authorization": f"Bearer {fleet.tokens['demo-engineer']}"}
            answer = httpx.get(f"{server.base_url}/api/v1/changes/{change}", headers=token, timeout=20)
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            told = answer.json()
            assert told["code"] == "database-unavailable"
            assert "try again" in told["way_out"]
            assert "Traceback" not in answer.text
            assert httpx.get(f"{server.base_url}/healthz", timeout=20).status_code == 200
            assert httpx.get(f"{server.base_url}/readyz", timeout=20).status_code == 503
        time.sleep(0.2)
    fleet.database.back()
    orders = [(fleet.first, "demo-owner"), (fleet.second, "demo-engineer")]
    answers: dict[str, str] = {}

    def abort(server: Control, by: str) -> None:
        while server.name not in answers:
            try:
                fleet.order(server, change, "abort", by=by)
                answers[server.name] = "taken"
            except Away:
                time.sleep(0.05)
            except Refused as refusal:
                answers[server.name] = str(refusal)

    threads = [threading.Thread(target=abort, args=order) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 2, "somebody was left without an answer"
    assert "taken" in answers.values()
    assert fleet.ends(fleet.second, change, 30) == "rolled back"
    assert [kind for kind, _ in fleet.target_log(change)] == ["flag.exposed", "flag.reverted"]
    assert fleet.facts(change, "rollback.started") == 1
    with fleet.house() as house:
        check(house)


def test_without_its_ingest_a_ramp_holds_and_can_be_taken_back(fleet: Fleet) -> None:
    """The ingest is killed: the step's least time passes, and it stands for want of data; abort works without it. Started
    again, it counts, and the server is ready.
    """
    change = fleet.begin(fleet.second)
    until(lambda: fleet.facts(change, "exposure.reached") == 1, "the first step is not reached")
    fleet.world.kill("ingest")
    time.sleep(12)  # a step with data takes 8 s here
    assert fleet.target_log(change) == EVERYTHING[:1]
    assert fleet.view(fleet.first, change)["phase"] == "rolling_out"
    fleet.order(fleet.first, change, "abort")
    assert fleet.ends(fleet.first, change, 30) == "rolled back"
    assert [kind for kind, _ in fleet.target_log(change)] == ["flag.exposed", "flag.reverted"]
    fleet.start_ingest()
    until(fleet.first.people["demo-admin"].ready, "the server is not ready")


@pytest.mark.slow  # a whole ramp; the clock itself is proven in tests/kernel
def test_a_clock_set_back_stops_nothing_and_reorders_nothing(fleet: Fleet) -> None:
    """In mid-ramp the clocks of both servers are set back an hour, and one is started anew like that: the ramp completes
    as if nothing had been, facts do not go back in time, and readiness names the clock.
    """
    change = fleet.begin(fleet.first)
    until(lambda: fleet.facts(change, "exposure.reached") == 1, "the first step is not reached")
    for server in (fleet.first, fleet.second):
        server.set_clock(-3600)
    fleet.second.kill()
    fleet.second.start()
    assert fleet.ends(fleet.first, change) == "completed"
    assert fleet.target_log(change) == EVERYTHING
    times = [at for (at,) in fleet.ask("SELECT at FROM fact WHERE subject = :id ORDER BY subject_seq", id=change)]
    assert all(later - earlier > -60_000_000 for earlier, later in itertools.pairwise(times))
    for server in (fleet.first, fleet.second):
        told = httpx.get(f"{server.base_url}/readyz", timeout=20).json()
        assert [check["ok"] for check in told["checks"] if check["name"] == "clock"] == [False]
        server.set_clock(0)
    with fleet.house() as house:
        check(house)
