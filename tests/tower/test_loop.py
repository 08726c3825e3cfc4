"""The tower's loop: whose turn it is, and that an order to take back waits for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airboss.act.rollout import Claim, claims
from airboss.records.store import Store, open_store
from airboss.testing import ManualClock
from airboss.tower.loop import AT_ONCE, Tower

Look = Callable[[Claim], Awaitable[None]]


class Desk:
    """A database of wakes and one server's loop; time stands still unless it is moved, so no beat ever comes."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store: Store = open_store(f"sqlite:///{folder / 'airboss.db'}", clock=self.clock)
        self.store.create()

    def due(self, *names: str, since_s: float = 0.0, fence: bool = False) -> None:
        """Make changes due, for so long already."""
        with self.store.write() as tx:
            for name in names:
                claims.poke(tx, name, self.clock.now() - timedelta(seconds=since_s), fence=fence)

    def release(self, held: Claim, *, at_once: bool = False, urgent: bool = False) -> None:
        """End a look."""
        now = self.clock.now()
        with self.store.write() as tx:
            claims.release(tx, held, now=now, due_at=now if at_once else None, sentence="", urgent=urgent)

    def tower(self, look: Look) -> Tower:
        return Tower(store=self.store, clock=self.clock, owner="srv_one", look=look)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk, closed after the test."""
    made = Desk(tmp_path)
    yield made
    made.store.close()


async def _nothing(_: Claim) -> None:
    """Look at nothing; who claims by hand never gets here."""


def test_an_order_to_take_back_passes_everything_that_was_due_before_it(desk: Desk):
    """A server that is behind looks at what is to be taken back first, then at the longest due."""
    desk.due(*(f"chg_{number:02}" for number in range(40)), since_s=60)
    desk.due("chg_old", since_s=90)
    desk.due("chg_bad", fence=True)
    first = desk.tower(_nothing).claim(2)
    assert [held.change_id for held in first if held.change_id == "chg_bad"] == ["chg_bad"]
    assert {held.change_id for held in first} == {"chg_bad", "chg_old"}


def test_what_is_being_taken_back_stays_first_until_a_look_says_otherwise(desk: Desk):
    """Taking back takes several looks; each of them passes the others, and after the last one it is one of many."""
    desk.due("chg_bad", fence=True)
    tower = desk.tower(_nothing)
    (held,) = tower.claim(1)
    desk.release(held, at_once=True, urgent=True)
    desk.due("chg_old", since_s=60)
    (held,) = tower.claim(1)
    assert held.change_id == "chg_bad"
    desk.release(held, at_once=True)
    (held,) = tower.claim(1)
    assert held.change_id == "chg_old"


def test_an_order_to_take_back_is_looked_at_while_all_others_wait_for_a_slow_target(desk: Desk):
    """Every place for ordinary looks is taken by one that does not end; an order is looked at all the same."""
    desk.due(*(f"chg_{number:02}" for number in range(AT_ONCE + 5)))

    async def scenario() -> list[str]:
        stop, full, slow = asyncio.Event(), asyncio.Event(), asyncio.Event()
        begun: list[str] = []

        async def look(held: Claim) -> None:
            begun.append(held.change_id)
            if held.change_id == "chg_bad":
                stop.set()
                slow.set()
            elif len(begun) == AT_ONCE:
                full.set()
            await slow.wait()

        tower = desk.tower(look)
        running = asyncio.create_task(tower.run(stop))
        await full.wait()
        await asyncio.to_thread(desk.due, "chg_bad", fence=True)
        tower.poke()
        await asyncio.wait_for(running, 20)
        return begun

    begun = asyncio.run(scenario())
    assert len(begun) == AT_ONCE + 1
    assert begun[-1] == "chg_bad"


def test_a_look_that_makes_its_change_due_at_once_is_followed_by_the_next_without_a_beat(desk: Desk):
    """Taking back is two looks, the order's and the target's: nobody waits for a clock in between."""
    desk.due("chg_bad", fence=True)

    async def scenario() -> int:
        stop, looks = asyncio.Event(), 0

        async def look(held: Claim) -> None:
            nonlocal looks
            looks += 1
            last = looks == 3
            await asyncio.to_thread(desk.release, held, at_once=not last, urgent=True)
            if last:
                stop.set()

        await asyncio.wait_for(desk.tower(look).run(stop), 20)
        return looks

    assert asyncio.run(scenario()) == 3
