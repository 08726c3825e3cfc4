"""Lets servers work for a long time under load while they are struck at random, and says what it found.

    python -m tests.soak --seconds 3600 --seed 1 --log build/soak.jsonl

Two whole servers on one PostgreSQL, behind an Envoy, and a shop of three services with sticky customers. Two services are
changed by ramps of flags, one of them with a bad new side; the third by releases through the same Envoy. From time to time
a server, both, or an ingest is killed outright, a control is stopped for longer than a lease, or the database goes away.
At the end nobody begins anything any more, the changes under way end, and the database is held against everything that must
always be true of one, and against what the targets themselves saw. Loopback only, bounded by `--seconds`.

With `--embedded` it is one server on SQLite; with `--calm` nothing is struck.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from tests.faults.fleet import Database
from tests.soak.blows import Blows
from tests.soak.edge import RELEASED, Front
from tests.soak.people import Crew, Everybody
from tests.soak.sampling import Sample, memory_mib, size_mib
from tests.soak.servers import Member
from tests.soak.witness import RouteWatch, judge, read_told
from tests.tower.invariants import check

from airboss.bootstrap import build
from airboss.demo.caller import Away, Refused
from airboss.demo.means import documents
from airboss.demo.nature import SERVICES
from airboss.demo.people import ADMIN, OWNER, SECRETS, make_people
from airboss.demo.world import Traffic, World
from airboss.kernel.settings import Settings

BEAT_S: Final = 0.5
SAMPLE_S: Final = 30.0
END_S: Final = 300.0
FAULTS: Final = {"pay": "severe"}
UNDER_WAY: Final = """
    SELECT id, phase FROM change WHERE phase NOT IN ('reviewing', 'closed', 'rejected', 'cancelled', 'expired', 'draft')
"""


class Soak:
    """One run. Leaving `stack` ends every process it started."""

    def __init__(self, options: argparse.Namespace, folder: Path, log: TextIO, stack: ExitStack) -> None:
        self.options, self.folder, self.log = options, folder, log
        self.began = time.monotonic()
        self._telling = threading.Lock()
        self.stack = stack
        self.database = None if options.embedded else Database()
        if self.database is not None:
            self.stack.callback(self.database.end)
        self.world = self.stack.enter_context(World(folder / "world"))
        self.routes = folder / "routes"
        url = None if self.database is None else self.database.url
        names = ("only",) if url is None else ("first", "second")
        self.members = [Member(self.world, folder, name, database=url, routes=self.routes) for name in names]
        for one in self.members:
            self.stack.callback(one.close)
        self.settings = Settings(data=self.members[0].data, database=url, demo=True, route_folder=self.routes)
        self.engine = self._engine()
        self.stack.callback(self.engine.dispose)
        self.front = Front(self.routes, self.members)
        self.watch = RouteWatch(self.front.folder)
        self.blows = Blows(self.members, self.database, self.engine, seed=options.seed, tell=self.tell)

    def _engine(self) -> sa.Engine:
        url = sa.make_url(self.settings.database_url)
        if self.database is not None:
            return sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        return sa.create_engine(url, connect_args={"timeout": 10})

    def tell(self, event: str, **more: Any) -> None:
        """Write a line of the log."""
        with self._telling:
            line = {"event": event, "at_s": round(time.monotonic() - self.began, 1), **more}
            self.log.write(json.dumps(line) + "\n")
            self.log.flush()

    def run(self) -> dict[str, Any]:
        """Run to the end and return what was found."""
        crews = self._open()
        self.tell("open")
        if not self.options.calm:
            self.blows.start()
            self.stack.callback(self.blows.end)
        self._live(crews)
        self.blows.end()
        self.blows.check()
        self._end(crews)
        self._sample(crews)
        # Controls go first, in order, so that the last facts are signed and nobody writes any more.
        for one in self.members:
            self.world.processes[one.name].terminate()
        for one in self.members:
            self.world.wait(one.name, 30)
        self.watch.end()
        return self._found(crews)

    def _open(self) -> list[Crew]:
        first = self.members[0]
        first.start()
        first.wait()
        people = make_people(first.base_url, first.data)
        self.stack.callback(people.close)
        for one in self.members[1:]:
            one.sign_as(first)
            one.start()
            one.wait()
        self.front.start(self.world)
        self.watch.start()
        files = [{"source": name, "text": text} for name, text in documents()]
        files.append({"source": "connection.yaml", "text": self.front.connection})
        people[ADMIN].post("/apply", {"files": files, "submit": False, "dry_run": False})
        tokens = json.loads((first.data / SECRETS).read_text())["tokens"]
        last = self.options.seconds + END_S
        for number, service in enumerate(SERVICES):
            self.world.shop(
                service,
                server=self.front.api,
                otlp=self.front.otlp,
                tokens=people.services[service],
                fault=FAULTS.get(service, "none"),
                seed=self.options.seed * 10 + number,
                seconds=last + 60,
                more=("--port", str(self.front.shop_port)) if service == RELEASED else (),
            )
        self.world.urls[RELEASED] = self.front.shop
        self.world.load(Traffic(rate=self.options.rate, users=20_000, seconds=last, seed=self.options.seed))
        everybody = Everybody([one.base_url for one in self.members], tokens)
        self.stack.callback(everybody.close)
        return [
            Crew(service=one, people=everybody, front=self.front, chance=random.Random(f"{self.options.seed}/{one}"))
            for one in SERVICES
        ]

    def _live(self, crews: list[Crew]) -> None:
        until = time.monotonic() + self.options.seconds
        sampled = 0.0
        while time.monotonic() < until:
            for crew in crews:
                crew.beat()
            self.blows.check()
            if time.monotonic() - sampled >= SAMPLE_S:
                sampled = time.monotonic()
                self._sample(crews)
            time.sleep(BEAT_S)

    def _sample(self, crews: list[Crew]) -> None:
        memory = {
            f"{one.name} {name}": round(found, 1)
            for one in self.members
            for name, pid in one.processes.items()
            if (found := memory_mib(pid)) is not None
        }
        memory["envoy"] = round(memory_mib(self.world.processes["envoy"].pid) or 0.0, 1)
        try:
            facts, database, tables = self._sizes()
        except SQLAlchemyError as fault:
            self.tell("sample", fault=type(fault).__name__)  # the database is away
            return
        sample = Sample(
            at_s=round(time.monotonic() - self.began, 1),
            memory_mib=memory,
            database_mib=round(database, 2),
            tables_mib=tables,
            facts=facts,
            changes=sum(crew.number for crew in crews),
        )
        told = {crew.service: {"ended": dict(crew.ended), "told": dict(crew.told)} for crew in crews}
        self.tell("sample", **asdict(sample), crews=told)

    def _sizes(self) -> tuple[int, float, dict[str, float]]:
        with self.engine.connect() as connection:
            facts = int(connection.scalar(sa.text("SELECT count(*) FROM fact")) or 0)
            if self.database is None:
                files = {name: round(size_mib(self.settings.data, name), 2) for name in ("airboss.db", "telemetry.db")}
                return facts, sum(files.values()), files
            whole = connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
            rows = connection.execute(
                sa.text(
                    "SELECT relname, pg_total_relation_size(relid) AS bytes FROM pg_stat_user_tables ORDER BY 2 DESC"
                )
            ).all()
        return facts, int(whole or 0) / 2**20, {row.relname: round(row.bytes / 2**20, 2) for row in rows[:8]}

    def _end(self, crews: list[Crew]) -> None:
        """Nobody begins anything any more; what is under way ends, by order where it must."""
        began = time.monotonic()
        for crew in crews:
            crew.rest_until = began + 2 * END_S
        while (left := self._under_way()) and time.monotonic() < began + END_S:
            for crew in crews:
                if crew.change is not None or crew.proposed is not None:
                    crew.beat()
            if time.monotonic() > began + END_S / 2:
                self._call_off(crews[0], left)
            time.sleep(BEAT_S)
        self.tell("ended", open=left)

    def _under_way(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return {row.id: row.phase for row in connection.execute(sa.text(UNDER_WAY))}

    def _call_off(self, crew: Crew, left: dict[str, str]) -> None:
        for change in left:
            try:
                crew.people[OWNER].post(f"/changes/{change}/orders", {"verb": "abort", "reason": "the end"})
            except (Away, Refused) as fault:
                crew.told[str(fault)[:120]] += 1

    def _found(self, crews: list[Crew]) -> dict[str, Any]:
        """Hold database and targets against all that must be true of them, and sum up."""
        house = build(self.settings)
        try:
            check(house)
            with house.store.read() as connection:
                facts = house.journal.size(connection)
                releases = {change: new for crew in crews for change, new in crew.released.items()}
                told = [read_told(house, connection, change, new) for change, new in releases.items()]
                keys = list(connection.execute(sa.text("SELECT change_id FROM effect")).scalars())
        finally:
            house.close()
        effects = sum(change in releases for change in keys)
        resting = self.front.split.old.name
        return {
            "seconds": round(time.monotonic() - self.began),
            "seed": self.options.seed,
            "changes": sum(crew.number for crew in crews),
            "ended": {crew.service: dict(crew.ended) for crew in crews},
            "open": self._under_way(),
            "blows": self.blows.found(),
            "facts": facts,
            "invariants": "held",
            "envoy": judge(self.front.folder, self.watch.seen, told, effects, resting),
            "told": {crew.service: dict(crew.told.most_common(6)) for crew in crews},
        }


def _stopped(number: int, _frame: object) -> NoReturn:
    """End in order when told to: leaving the run ends every process it started."""
    raise SystemExit(128 + number)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=40, help="requests a second to each of three services")
    parser.add_argument("--calm", action="store_true", help="strike nothing: what one long life of the processes adds")
    parser.add_argument("--embedded", action="store_true", help="one server on SQLite")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    os.environ["AIRBOSS_DEMO"] = "1"
    signal.signal(signal.SIGTERM, _stopped)
    folder = Path(tempfile.mkdtemp(prefix="airboss-soak-"))
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with options.log.open("a") as log, ExitStack() as stack:
        soak = Soak(options, folder, log, stack)
        soak.tell("begun", folder=str(folder), pid=os.getpid(), embedded=options.embedded, calm=options.calm)
        try:
            found = soak.run()
        except BaseException as fault:
            soak.tell("failed", fault=repr(fault)[:2000])
            raise
        soak.tell("found", **found)
    shutil.rmtree(folder)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if found["open"] or soak.blows.late:
        sys.exit(1)


if __name__ == "__main__":
    main()
