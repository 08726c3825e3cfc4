"""A process full of writers: each use case moves a state row and records two facts about it, then says so."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from tests.crash import harness

from airboss.kernel.canonical import digest
from airboss.kernel.clock import SystemClock
from airboss.kernel.ids import SystemChance, TimeOrderedIds
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx, open_store

room = sa.MetaData()
counter = sa.Table(
    "crash_counter",
    room,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)


def opened(url: str) -> tuple[Store, Journal]:
    """A server of this test on a database that exists."""
    clock, chance = SystemClock(), SystemChance()
    store = open_store(url, clock=clock)
    journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
    journal.open()
    return store, journal


def state_digest(name: str, count: int) -> str:
    """What a counter's row digests to."""
    return digest({"name": name, "count": count})


def count_up(tx: Tx, journal: Journal, name: str) -> int:
    """One use case: lock, move the row, record. Returns the new count."""
    tx.lock(name)
    count = tx.execute(sa.select(counter.c.count).where(counter.c.name == name)).scalar_one() + 1
    tx.execute(sa.update(counter).where(counter.c.name == name).values(count=count))
    journal.record(tx, Fact(subject=name, type="counter.moved", actor="system", body={"count": count}))
    journal.record(
        tx,
        Fact(
            subject=name,
            type="counter.checked",
            actor="system",
            body={"count": count},
            state_digest=state_digest(name, count),
        ),
    )
    return count


def main() -> None:
    store, journal = opened(harness.url())
    told = harness.child()

    def work(name: str) -> None:
        for _ in range(told.told["turns"]):
            with store.write() as tx:
                count = count_up(tx, journal, name)
            told.acknowledge(f"{name} {count}")

    threads = [threading.Thread(target=work, args=(name,)) for name in told.told["names"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()


if __name__ == "__main__":
    main()
