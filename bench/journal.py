"""How many durable transitions a second SQLite takes, and how long the offline verification of many entries lasts.

A transition is what every service does: lock the subject, move a state row by its version, record one fact. The peer is
SQLite itself on the same disk: one insert a transaction at the same durability (WAL, `synchronous=FULL`), one writer.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from airboss.kernel.canonical import digest
from airboss.kernel.clock import SystemClock
from airboss.kernel.ids import SystemChance, TimeOrderedIds
from airboss.records.audit import verify
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, open_store
from bench.table import Effort, Row, interleaved, over

WRITERS = 32
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


def transitions(store: Store, journal: Journal, *, threads: int, seconds: float, prefix: str) -> tuple[float, float]:
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
    return sum(counts) / took, sum(counts) / (store.commits - commits)


def bare_commits(path: Path, seconds: float) -> float:
    """Return how many single inserts a second SQLite itself commits there."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS line (text TEXT NOT NULL)")
    done, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO line VALUES (?)", ("a" * 400,))
        connection.execute("COMMIT")
        done += 1
    connection.close()
    return done / (time.monotonic() - began)


def verified(store: Store, journal: Journal, entries: int) -> tuple[int, float]:
    """Fill up to about so many entries, subjects of twenty facts each. Return how many there are and how long
    verifying took."""
    made = 0
    while made < entries:
        with store.write() as tx:
            for number in range(made, min(made + 5_000, entries)):
                journal.record(
                    tx,
                    Fact(
                        subject=f"flag/{number // 20}",
                        type="flag.moved",
                        actor="system",
                        body={"from": "off", "to": "on", "share": 0.1, "number": number},
                        state_digest=digest({"number": number}),
                    ),
                )
        made += 5_000
    began = time.monotonic()
    report = verify(store.url.render_as_string(hide_password=False))
    took = time.monotonic() - began
    assert report.ok, report.findings
    return report.size, took


def rows(effort: Effort) -> Iterator[Row]:
    clock, chance = SystemClock(), SystemChance()
    seconds = effort.of(20, quick=4) / 10
    with tempfile.TemporaryDirectory(dir=".") as name:  # where the work is, so on a disk: /tmp may be memory
        folder = Path(name).resolve()
        store = open_store(f"sqlite:///{folder / 'bench.db'}", clock=clock)
        store.create()
        journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
        journal.open()
        turn, shared = 0, [0.0]

        def ours(threads: int) -> float:
            nonlocal turn
            turn += 1
            a_second, shared[0] = transitions(store, journal, threads=threads, seconds=seconds, prefix=f"chg{turn}")
            return a_second

        found = interleaved(
            {
                "bare": lambda: bare_commits(folder / "bare.db", seconds / 2),
                "alone": lambda: ours(1),
                "many": lambda: ours(WRITERS),
            },
            effort.of(5, quick=3),
        )
        many = found["many"]
        yield Row(
            what=f"durable transitions with their facts on SQLite, {WRITERS} writers",
            ours=many.told(0, "a second"),
            peer=f"SQLite {sqlite3.sqlite_version} alone, one row a commit: {found['bare'].told(0, 'a second')}",
            ratio=over(many, found["bare"]).told(2, "× as many"),
            goal="≥ 2,000 a second",
            reached=many.median >= 2_000,
            note=f"one writer {found['alone'].told(0, 'a second')}",
        )
        size, took = verified(store, journal, effort.of(200_000, quick=20_000, full=1_000_000))
        store.close()
    million = took / size * 1e6
    yield Row(
        what="verification of a journal of a million entries",
        ours=f"{million:.1f} s" + (f", from {size:,}" if size < 1_000_000 else ""),
        goal="≤ 10 s",
        reached=million <= 10,
        note=f"{size:,} entries in {took:.1f} s; the time grows in proportion",
    )
