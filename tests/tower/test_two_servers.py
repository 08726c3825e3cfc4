"""Two servers on one PostgreSQL: a change is looked at by one of them at a time, and who lost it changes nothing."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.tower.invariants import check
from tests.tower.world import QUICK, Nature, World, quick_folder, ramp

from airboss.act.rollout import claims
from airboss.act.targets import Exposure, Target, UnitRef
from airboss.bootstrap import KEY_FILE, House, build
from airboss.decide.policy import InlineEngine
from airboss.kernel.clock import Clock, SystemClock
from airboss.kernel.settings import Settings
from airboss.records.store import Store, open_store
from airboss.testing import ManualClock, SeededChance
from airboss.tower.loop import LEASE_S

STEPS = """
          - {expose: 10%, bake: {least: 5s, most: 300s}}
          - {expose: 100%, bake: {least: 5s, most: 300s}}
"""


class Stalling:
    """A target whose orders wait until they are let go, as behind a stalled process."""

    def __init__(self, inner: Target) -> None:
        self._inner = inner
        self.entered = threading.Event()
        self.go = threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def apply(self, unit: UnitRef, exposure: Exposure, *, key: str) -> None:
        """Wait, holding up the whole server, then do it all the same."""
        self.entered.set()
        assert self.go.wait(30)
        await self._inner.apply(unit, exposure, key=key)


class Two:
    """A world whose house is the first server, and a second server beside it."""

    def __init__(self, folder: Path, url: str) -> None:
        home = folder / "second"
        home.mkdir()
        self.world = World(folder, database=url, nature=Nature(per_s=20))
        self.first = self.world.house
        shutil.copy(self.first.settings.data / KEY_FILE, home / KEY_FILE)  # one log, one key
        self.second: House = build(
            Settings(data=home, database=url),
            clock=self.world.clock,
            chance=SeededChance(2),
            engine=InlineEngine(),
            telemetry=self.world.telemetry,
            buckets=self.first.buckets,
        )

    def look(self, house: House, *, most: int = 20) -> None:
        """Let one server look at what is due."""

        async def all_due() -> None:
            for _ in range(most):
                due = house.tower.claim()
                for held in due:
                    await house.tower.look_at(held)
                if not due:
                    return

        asyncio.run(all_due())

    def second_passes(self, *houses: House) -> None:
        """A second passes, and then these servers look, in this order."""
        self.world.clock.advance(1)
        self.world.traffic()
        for house in houses:
            self.look(house, most=1)

    def rows(self) -> list[list[tuple[object, ...]]]:
        """Everything the tower keeps."""
        with self.first.store.read() as connection:
            return [
                [tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}"))]
                for table in ("change", "effect", "wake", "judgement", "exposure", "fact", "flag_exposure", "command")
            ]

    def close(self) -> None:
        self.second.store.close()
        self.second.policies.close()
        self.world.close()


@pytest.fixture
def two(postgresql_url: str) -> Iterator[Two]:
    """Two servers."""
    with quick_folder() as folder:
        made = Two(folder, postgresql_url)
        yield made
        made.close()


def test_claims_are_never_shared_and_keep_to_their_limit(two: Two):
    """Both grab at once among many: each change goes to one of them, and nobody takes more than he asked for."""
    names = [f"chg_{number:03}" for number in range(120)]
    with two.first.store.write() as tx:
        for name in names:
            claims.poke(tx, name, two.world.clock.now())
    taken: dict[str, list[str]] = {"first": [], "second": []}
    ready = threading.Barrier(2)

    def grab(who: str, house: House) -> None:
        ready.wait()
        while due := house.tower.claim(7):
            assert len(due) <= 7
            taken[who] += [held.change_id for held in due]

    threads = [threading.Thread(target=grab, args=pair) for pair in (("first", two.first), ("second", two.second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken["first"] + taken["second"]) == names
    assert taken["first"]
    assert taken["second"]


def test_two_servers_take_turns_and_a_change_goes_through_once(two: Two):
    """Whoever comes first looks: the ramp completes as with one server, each fact once."""
    change = two.world.propose(ramp(steps=STEPS, gates=QUICK))
    for number in range(120):
        pair = (two.first, two.second)
        two.second_passes(*(pair if number % 2 else pair[::-1]))
        if two.world.phase(change) == "closed":
            break
    assert two.world.change(change).outcome == "completed"
    assert two.world.facts(change).count("step.ended") == 2
    check(two.first)


def test_two_servers_at_the_same_moment_do_nothing_twice(two: Two):
    """Both look at once, second for second, from threads of their own."""
    change = two.world.propose(ramp(steps=STEPS, gates=QUICK))
    for _ in range(120):
        two.world.clock.advance(1)
        two.world.traffic()
        threads = [threading.Thread(target=two.look, args=(house,)) for house in (two.first, two.second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if two.world.phase(change) == "closed":
            break
    assert two.world.change(change).outcome == "completed"
    assert two.world.facts(change).count("step.ended") == 2
    check(two.first)


def test_a_server_that_slept_through_its_lease_writes_nothing(two: Two):
    """The first claims and stalls; the second takes over and goes on; when the first wakes, not a row changes."""
    change = two.world.propose(ramp(steps=STEPS, gates=QUICK))
    assert two.world.run(60, until=lambda: two.world.percent() == 10)
    two.world.clock.advance(1)
    (held,) = two.first.tower.claim()
    two.second_passes(two.second)
    assert two.second.tower.claim() == []  # the lease holds
    two.world.clock.advance(LEASE_S)
    for _ in range(10):
        two.second_passes(two.second)
    assert two.world.percent() == 100  # it went on without the first
    before = two.rows()
    asyncio.run(two.first.tower.look_at(held))
    assert two.rows() == before
    for _ in range(60):
        two.second_passes(two.second)
    assert two.world.change(change).outcome == "completed"
    check(two.first)


def hanging(two: Two) -> tuple[Stalling, threading.Thread]:
    """Have the first server hang inside its next order to the flag; it goes on when `go` is set."""
    adapters = two.first.targets._adapters
    stalling = Stalling(adapters["flag"])
    adapters["flag"] = stalling  # type: ignore[assignment]

    def first() -> None:
        while not stalling.entered.is_set():
            two.second_passes(two.first)

    thread = threading.Thread(target=first)
    thread.start()
    assert stalling.entered.wait(30)
    return stalling, thread


def test_an_order_to_a_target_that_outlives_its_server_does_not_outlive_a_rollback(two: Two):
    """The first hangs inside an apply; the second takes the change back; the late apply finds that it came too late."""
    change = two.world.propose(ramp(steps=STEPS, gates=QUICK))
    assert two.world.run(60, until=lambda: "exposure.reached" in two.world.facts(change))
    stalling, thread = hanging(two)
    two.world.order(change, "abort")
    two.look(two.second)
    assert two.world.percent() == 0
    assert two.world.phase(change) == "rolling_back"  # the old order may still arrive
    stalling.go.set()
    thread.join()
    assert two.world.percent() == 0
    for _ in range(20):
        two.second_passes(two.second)
    assert two.world.change(change).outcome == "rolled back"
    assert two.world.percent() == 0
    check(two.first)


def test_an_order_that_slept_until_its_change_was_over_exposes_nobody(two: Two):
    """The first hangs inside the very first apply, when there is nothing yet to take back and no mark to find; the second
    takes the change back and ends it; the order, awake at last, is refused by the target itself.
    """
    change = two.world.propose(ramp(steps=STEPS, gates=QUICK))
    stalling, thread = hanging(two)
    two.world.order(change, "abort")
    for _ in range(60):
        two.second_passes(two.second)
        if two.world.phase(change) == "closed":
            break
    assert two.world.change(change).outcome == "rolled back"
    before = two.rows()
    stalling.go.set()
    thread.join()
    assert two.world.percent() == 0
    after = two.rows()
    assert [after[number] for number in (0, 4, 5, 6)] == [before[number] for number in (0, 4, 5, 6)]
    check(two.first)


def test_leases_are_measured_by_the_database_whatever_the_servers_think_it_is(postgresql_url: str):
    """One server's clock is an hour ahead: it still cannot take what the other holds, for the database knows the time."""
    right, ahead = SystemClock(), ManualClock(SystemClock().now() + timedelta(hours=1))

    def opened(clock: Clock) -> Store:
        store = open_store(postgresql_url, clock=clock, lease_clock="database")
        store.create()
        return store

    def grab(store: Store, clock: Clock) -> list[claims.Claim]:
        with store.write() as tx:
            return claims.claim(tx, owner="x", now=clock.now(), lease_s=LEASE_S, limit=5, format_=1)

    first, second = opened(right), opened(ahead)
    try:
        with first.write() as tx:
            claims.poke(tx, "chg_1", right.now() - timedelta(seconds=1))
            assert abs((tx.now() - right.now()).total_seconds()) < 60
        (held,) = grab(first, right)
        assert grab(second, ahead) == []
        with second.read() as connection:
            assert not claims.any_due(connection, ahead.now(), shared=second.now(connection), format_=1)
        with first.write() as tx:
            claims.put_off(tx, held, now=right.now(), due_at=right.now() - timedelta(seconds=1))
        (taken,) = grab(second, ahead)
        assert taken.fence == held.fence + 1
        assert taken.lease_until == ahead.now() + timedelta(seconds=LEASE_S)  # by the holder's own clock
    finally:
        first.close()
        second.close()
