"""How many durable transitions a second SQLite takes, and how long the offline verification of many entries lasts.

A transition is what every service does: lock the subject, move a state row by its version, record one fact. Prints
one line of JSON; `--threads`, `--seconds` and `--entries` say how much.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from airboss.kernel.canonical import digest
from airboss.kernel.clock import SystemClock
from airboss.kernel.ids import SystemChance, TimeOrderedIds
from airboss.records.audit import verify
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, open_store

_room = sa.MetaData()
state = sa.Table(
    "bench_state",
    _room,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
)
_MOVE = (
    sa.update(state)
    .where(state.c.id == sa.bindparam("wanted"), state.c.version == sa.bindparam("seen"))
    .values(version=sa.bindparam("next"), phase=sa.bindparam("to"))
)


def transitions(store: Store, journal: Journal, *, threads: int, seconds: float, prefix: str) -> dict[str, float]:
    """Return transitions a second with each writer moving a row of its own, and how many shared a commit."""
    with store.write() as tx:
        _room.create_all(tx.connection)
        tx.execute(sa.insert(state), [{"id": f"{prefix}_{n}", "version": 0, "phase": "draft"} for n in range(threads)])
    counts = [0] * threads
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        name = f"{prefix}_{number}"
        while time.monotonic() < until:
            turn = counts[number]
            with store.write() as tx:
                tx.lock(name)
                moved = tx.execute(_MOVE, {"wanted": name, "seen": turn, "next": turn + 1, "to": "rolling"})
                assert moved.rowcount == 1
                after = digest({"id": name, "version": turn + 1, "phase": "rolling"})
                journal.record(
                    tx,
                    Fact(
                        subject=name,
                        type="change.moved",
                        actor="system",
                        body={"from": "draft", "to": "rolling", "version": turn + 1, "share": 0.1},
                        state_digest=after,
                    ),
                )
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began, commits = time.monotonic(), store.commits
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.monotonic() - began
    return {
        "threads": threads,
        "transitions": sum(counts),
        "per_second": round(sum(counts) / took),
        "a_commit": round(sum(counts) / (store.commits - commits), 1),
    }


def verification(store: Store, journal: Journal, *, entries: int) -> dict[str, float]:
    """Return how long the offline verification takes, over subjects of twenty facts each."""
    made = 0
    while made < entries:
        with store.write() as tx:
            for _ in range(min(5_000, entries - made)):
                journal.record(
                    tx,
                    Fact(
                        subject=f"flag/{made // 20}",
                        type="flag.moved",
                        actor="system",
                        body={"from": "off", "to": "on", "share": 0.1, "number": made},
                        state_digest=digest({"number": made}),
                    ),
                )
                made += 1
    began = time.monotonic()
    report = verify(store.url.render_as_string(hide_password=False))
    took = time.monotonic() - began
    assert report.ok, report.findings
    return {
        "entries": report.size,
        "seconds": round(took, 2),
        "microseconds_an_entry": round(took / report.size * 1e6, 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--threads", type=int, default=32)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--entries", type=int, default=50_000)
    options.add_argument("--folder", default=".", help="on the disk to be measured")
    chosen = options.parse_args()
    clock, chance = SystemClock(), SystemChance()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        store = open_store(f"sqlite:///{Path(folder).resolve() / 'bench.db'}", clock=clock)
        store.create()
        journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
        journal.open()
        alone = transitions(store, journal, threads=1, seconds=chosen.seconds / 2, prefix="alone")
        together = transitions(store, journal, threads=chosen.threads, seconds=chosen.seconds, prefix="chg")
        found = {
            "one_writer": alone,
            "many_writers": together,
            "gain": round(together["per_second"] / alone["per_second"], 2),
            "verify": verification(store, journal, entries=chosen.entries),
        }
        store.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
