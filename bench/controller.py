"""Durable moves of rollouts a second, beside DBOS on the same kind of database; and whole looks at rollouts in flight.

*Moves.* Many rollouts make a few moves each. Ours go through the tower's own loop: a claim with its fence, then one
transaction with the state row, the fact that explains it and the next wake. DBOS writes each step's result down. Ours writes
more a move, DBOS less; neither does anything else.

*Looks.* One ramp is started in a real house, through policy, approval and plan; its rows are copied under other IDs, and the
tower looks at all of them each second with everything a look does: the target is asked, telemetry is read, gates are judged,
rules decide. The target answers from memory, so only our own work is measured.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa

from airboss.act.rollout import Claim, claims
from airboss.faces.server.control import THREADS
from airboss.kernel.canonical import digest
from airboss.kernel.clock import SystemClock
from airboss.kernel.ids import SystemChance, TimeOrderedIds
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, open_store
from airboss.tower.loop import Tower
from bench import dbos_peer
from bench.fleet import flying
from bench.postgresql import postgresql
from bench.table import Effort, Row, Sample, interleaved, named, over

MOVES = 10
_room = sa.MetaData()
state = sa.Table(
    "bench_rollout",
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


class Moves:
    """A tower whose looks move a rollout by one version, until it has made all its moves."""

    def __init__(self, url: str) -> None:
        self.clock = SystemClock()
        chance = SystemChance()
        self.store: Store = open_store(url, clock=self.clock)
        self.store.create()
        self.journal = Journal(self.store, clock=self.clock, ids=TimeOrderedIds(self.clock, chance), chance=chance)
        self.journal.open()
        with self.store.write() as tx:
            _room.create_all(tx.connection)
        self.left = 0

    def a_second(self, turn: str, rollouts: int) -> float:
        """Start so many rollouts at once, wait until all have ended, return moves a second."""
        names = [f"{turn}-{number}" for number in range(rollouts)]
        now = self.clock.now()
        with self.store.write() as tx:
            tx.execute(sa.insert(state), [{"id": name, "version": 0, "phase": "draft"} for name in names])
            for name in names:
                claims.poke(tx, name, now)
        a_second = asyncio.run(self._run(rollouts))
        with self.store.read() as connection:
            made = connection.execute(sa.select(sa.func.sum(state.c.version)).where(state.c.id.in_(names))).scalar_one()
        assert made == rollouts * MOVES, f"{made} moves were made instead of {rollouts * MOVES}"
        return a_second

    async def _run(self, rollouts: int) -> float:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        tower = Tower(store=self.store, clock=self.clock, owner="srv_bench", look=self._look)
        stop, self.left = asyncio.Event(), rollouts
        self._stop = stop
        began = time.monotonic()
        await tower.run(stop)
        return rollouts * MOVES / (time.monotonic() - began)

    async def _look(self, held: Claim) -> None:
        if await asyncio.to_thread(self._move, held) == MOVES:
            self.left -= 1
            if not self.left:
                self._stop.set()

    def _move(self, held: Claim) -> int:
        name, now = held.change_id, self.clock.now()
        with self.store.write() as tx:
            tx.lock(name)
            assert claims.still_held(tx, held)
            turn = int(tx.execute(sa.select(state.c.version).where(state.c.id == name)).scalar_one())
            moved = tx.execute(_MOVE, {"wanted": name, "seen": turn, "next": turn + 1, "to": "rolling"})
            assert moved.rowcount == 1
            self.journal.record(
                tx,
                Fact(
                    subject=name,
                    type="change.moved",
                    actor="system",
                    body={"from": "draft", "to": "rolling", "version": turn + 1, "share": 0.1},
                    state_digest=digest({"id": name, "version": turn + 1, "phase": "rolling"}),
                ),
            )
            claims.release(tx, held, now=now, due_at=now if turn + 1 < MOVES else None, sentence="rolling")
        return turn + 1


def beside_dbos(database: str, ours_url: str, peer_url: str, *, rollouts: int, peers: int, rounds: int) -> Row:
    """Measure moves of both, in turn. The slower one gets fewer rollouts, so that a round takes both about as long."""
    moves, turn = Moves(ours_url), 0

    def name() -> str:
        nonlocal turn
        turn += 1
        return f"r{turn}"

    with dbos_peer.launched(peer_url):
        found = interleaved(
            {
                "ours": lambda: moves.a_second(name(), rollouts),
                "dbos": lambda: dbos_peer.moves_a_second(name(), peers, MOVES),
            },
            rounds,
        )
    moves.store.close()
    ratio = over(found["ours"], found["dbos"])
    return Row(
        what=f"controller: durable moves of rollouts, {database}",
        ours=found["ours"].told(0, "a second"),
        peer=f"{named('dbos', 'DBOS')}, a step a move: {found['dbos'].told(0, 'a second')}",
        ratio=ratio.told(1, "× as many"),
        goal="≥ 10×",
        reached=ratio.median >= 10,
    )


def rows(effort: Effort) -> Iterator[Row]:
    rounds = effort.of(5, quick=2)
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        yield beside_dbos(
            "SQLite",
            f"sqlite:///{folder / 'ours.db'}",
            f"sqlite:///{folder / 'dbos.db'}",
            rollouts=effort.of(200, quick=50),
            peers=effort.of(16, quick=8),
            rounds=rounds,
        )
    with postgresql("ours", "dbos") as (ours_url, peer_url):
        count = effort.of(100, quick=30)
        yield beside_dbos("PostgreSQL", ours_url, peer_url, rollouts=count, peers=count, rounds=rounds)
    yield from looks(effort)


def looks(effort: Effort) -> Iterator[Row]:
    """Yield how many whole looks a second one server does, and how late they are at a number it can hold."""
    seconds = effort.of(10, quick=4)
    with flying(effort.of(3_000, quick=300)) as fleet:
        # More are due than can be looked at: what gets done is all that can be done.
        a_second = Sample(tuple(fleet.watched(seconds / 2)[0] for _ in range(2)))
    held = max(int(a_second.median * 0.7), 10)
    with flying(held) as fleet:
        fleet.watched(3)  # the start, at which all are due at once, is no lag of the controller's
        kept, lags = fleet.watched(seconds)
    p99 = sorted(lags)[int(0.99 * (len(lags) - 1))]
    yield Row(
        what="controller: rollouts one server holds on SQLite with a whole look a second at each",
        ours=a_second.told(0, "looks a second"),
        goal="10,000, lag p99 ≤ 0.5 s",
        reached=a_second.median >= 10_000,
        note=f"with {held} in flight, {kept:.0f} looks a second and a lag of p99 {p99:.2f} s",
    )
