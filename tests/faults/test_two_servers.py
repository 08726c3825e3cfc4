"""Two server processes on one PostgreSQL: one dies or sleeps, the other goes on, and nothing is done twice."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.faults.fleet import LEASE_S as FLEETS_LEASE_S
from tests.faults.fleet import Control, Fleet, until
from tests.tower.invariants import check

from airboss.demo.caller import Away, Refused
from airboss.tower.loop import LEASE_S

GOES_ON_S = 15.0
AFTER_LEASE_S = 3.0
"""How soon after the end of a lease another has the change: a beat, a claim, and what a busy machine adds."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Two servers, their ingest, a service and its customers."""
    with Fleet() as made:
        yield made


def _taken_over(fleet: Fleet, change: str, before: int) -> float:
    """Wait until the change is claimed anew and return how long that took."""
    return until(lambda: fleet.fence(change) > before, "nobody went on")


def _who_stopped(fleet: Fleet) -> tuple[Control, Control]:
    """Wait until one of the servers stopped where it was armed to. Return it and the other, which is left alone."""
    pair = (fleet.first, fleet.second)
    until(lambda: any(server.state in "TZX" for server in pair), "nobody came by")
    hit, other = pair if fleet.first.state in "TZX" else pair[::-1]
    other.arm(None)
    return hit, other


def test_one_sleeps_and_one_dies_and_the_ramp_goes_through_once(fleet: Fleet) -> None:
    """Whoever is about to carry out the first effect is stopped past its lease; then one is killed in mid-step at a moment of
    chance. Each time the other goes on soon after the lease, and the sleeper, awake again, does nothing.
    """
    assert LEASE_S + AFTER_LEASE_S <= GOES_ON_S  # the shipped lease; here it is shorter
    chance = random.Random(20261128)
    for server in (fleet.first, fleet.second):
        server.arm("tower.before_effect", "stop")
    change = fleet.begin(fleet.first, may_stop=True)
    sleeper, other = _who_stopped(fleet)
    before = fleet.fence(change)
    assert _taken_over(fleet, change, before) < FLEETS_LEASE_S + AFTER_LEASE_S
    until(lambda: fleet.facts(change, "exposure.reached") == 1, "the first step is not reached")
    held_by_other = fleet.fence(change)
    sleeper.go_on()
    assert fleet.view(sleeper, change)["id"] == change  # it is awake
    time.sleep(chance.uniform(0.0, 2.0))
    victim, left = chance.choice(((sleeper, other), (other, sleeper)))
    before = fleet.fence(change)
    victim.kill()
    assert _taken_over(fleet, change, before) < FLEETS_LEASE_S + AFTER_LEASE_S
    victim.start()
    assert fleet.ends(left, change) == "completed"
    assert fleet.fence(change) >= held_by_other
    assert fleet.target_log(change) == [("flag.exposed", 10), ("flag.exposed", 100), ("flag.finished", None)]
    with fleet.house() as house:
        check(house)


@pytest.mark.slow  # it sleeps past a lease and past the time of a rollback; the same is proven in virtual time in tests/tower
def test_who_sleeps_between_its_claim_and_the_target_exposes_nobody_when_it_wakes(fleet: Fleet) -> None:
    """Stopped just before its very first order, when nothing had been exposed: the other takes the change back and ends it,
    and the sleeper, awake in the middle of what it was doing, changes nothing.
    """
    for server in (fleet.first, fleet.second):
        server.arm("tower.before_target", "stop")
    change = fleet.begin(fleet.first, may_stop=True)
    sleeper, other = _who_stopped(fleet)
    fleet.order(other, change, "abort")
    assert fleet.ends(other, change) == "rolled back"
    sleeper.go_on()
    assert fleet.view(sleeper, change)["outcome"] == "rolled back"  # it is awake
    time.sleep(3)
    assert fleet.target_log(change) == []
    with fleet.house() as house:
        check(house)


def test_without_ingest_it_holds_without_database_it_says_so_and_two_aborts_on_its_return_are_one(fleet: Fleet) -> None:
    """In mid-ramp the ingest is killed, and PostgreSQL crashes for some seconds: every answer is a 503 with a way out. The
    step's least time passes, and it stands for want of data. A person at each server aborts: both are answered, and the flag
    is taken back once. Started again, the ingest counts, and the server is ready.
    """
    change = fleet.begin(fleet.second)
    until(lambda: fleet.facts(change, "exposure.reached") == 1, "the first step is not reached")
    reached = time.monotonic()
    fleet.world.kill("ingest")
    _away(fleet, change, away_s=2)
    time.sleep(max(0.0, reached + 12 - time.monotonic()))  # a step with data takes 8 s here
    assert fleet.target_log(change) == [("flag.exposed", 10)]
    assert fleet.view(fleet.first, change)["phase"] == "rolling_out"
    _aborted_twice(fleet, change)
    fleet.start_ingest()
    until(fleet.first.people["demo-admin"].ready, "the server is not ready")


@pytest.mark.slow  # a minute, because pools and leases of that length run out meanwhile
def test_a_minute_without_its_database_loses_nothing(fleet: Fleet) -> None:
    """The database is away for a minute in mid-ramp, longer than every timeout and lease; as it comes back a person at each
    server aborts.
    """
    change = fleet.begin(fleet.first, bake_s=200)
    until(lambda: fleet.facts(change, "exposure.reached") == 1, "the first step is not reached")
    _away(fleet, change, away_s=60)
    _aborted_twice(fleet, change)


def _away(fleet: Fleet, change: str, *, away_s: float) -> None:
    """Take the database away for so long; every answer meanwhile says so, and how to go on."""
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


def _aborted_twice(fleet: Fleet, change: str) -> None:
    """Have a person at each server abort: both are answered, and the flag is taken back once."""
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
    assert fleet.target_log(change) == [("flag.exposed", 10), ("flag.exposed", 100), ("flag.finished", None)]
    times = [at for (at,) in fleet.ask("SELECT at FROM fact WHERE subject = :id ORDER BY subject_seq", id=change)]
    assert all(later - earlier > -60_000_000 for earlier, later in itertools.pairwise(times))
    for server in (fleet.first, fleet.second):
        told = httpx.get(f"{server.base_url}/readyz", timeout=20).json()
        assert [check["ok"] for check in told["checks"] if check["name"] == "clock"] == [False]
        server.set_clock(0)
    with fleet.house() as house:
        check(house)
