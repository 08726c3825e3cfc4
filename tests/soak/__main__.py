"""Lets a server work for a long time under load while its processes are killed at random, and says what it found.

    python -m tests.soak --seconds 3600 --seed 1 --log build/soak.jsonl

A shop of three services with sticky customers, people who propose one change after the other, one service whose new side
is bad. From time to time the whole server, or only its ingest, is killed outright, or its control process is stopped for
longer than a lease. At the end the customers leave, the changes under way end, the server is told to end, and its
database is held against everything that must always be true of one. Loopback only, bounded by `--seconds`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from tests.soak.people import OVER, Crew
from tests.soak.sampling import Sample, memory_mib, parts, size_mib
from tests.tower.invariants import check

from airboss.bootstrap import build
from airboss.demo.caller import Away, Refused
from airboss.demo.means import documents
from airboss.demo.nature import SERVICES
from airboss.demo.people import ADMIN, OWNER, make_people
from airboss.demo.server import NAME, Server
from airboss.demo.world import Traffic, World
from airboss.kernel.settings import Settings

BEAT_S: Final = 0.5
SAMPLE_S: Final = 30.0
QUIET_S: Final = (40.0, 110.0)
"""Between two blows."""
STOPPED_S: Final = 18.0
"""Longer than the lease of a claim."""
READY_S: Final = 60.0
END_S: Final = 300.0
FAULTS: Final = {"pay": "severe"}


@dataclass(slots=True)
class Blows:
    """What was done to the server, and how long it took to be back."""

    counted: Counter[str] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)
    next_at: float = 0.0


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, folder: Path, log: TextIO) -> None:
        self.options, self.folder, self.log = options, folder, log
        self.chance = random.Random(options.seed)
        self.world = World(folder / "world")
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self.server = Server(self.world, self.data, port=0)
        self.blows = Blows()
        self.samples: list[Sample] = []
        self.began = time.monotonic()

    def tell(self, event: str, **more: Any) -> None:
        """Write a line of the log."""
        self.log.write(json.dumps({"event": event, "at_s": round(time.monotonic() - self.began, 1), **more}) + "\n")
        self.log.flush()

    def run(self) -> dict[str, Any]:
        """Run to the end and return what was found."""
        with self.world:
            self.server.start()
            self.server.wait()
            people = make_people(self.server.base_url, self.data)
            try:
                crews = self._open(people)
                self._live(crews)
                self._end(crews)
            finally:
                people.close()
        return self._found(crews)

    def _open(self, people: Any) -> list[Crew]:
        files = [{"source": name, "text": text} for name, text in documents()]
        people[ADMIN].post("/apply", {"files": files, "submit": False, "dry_run": False})
        last = self.options.seconds + END_S
        for number, service in enumerate(SERVICES):
            tokens = people.services[service]
            self.world.shop(
                service,
                server=self.server.base_url,
                otlp=self.server.otlp_url,
                tokens=tokens,
                fault=FAULTS.get(service, "none"),
                seed=self.options.seed * 10 + number,
                seconds=last + 60,
            )
        self.world.load(Traffic(rate=self.options.rate, users=20_000, seconds=last, seed=self.options.seed))
        return [
            Crew(service=one, people=people, chance=random.Random(f"{self.options.seed}/{one}")) for one in SERVICES
        ]

    def _live(self, crews: list[Crew]) -> None:
        until = self.began + self.options.seconds
        sampled = 0.0
        self.blows.next_at = time.monotonic() + QUIET_S[0]
        while time.monotonic() < until:
            for crew in crews:
                crew.beat()
            if not self.options.calm and time.monotonic() >= self.blows.next_at:
                self._strike()
                self.blows.next_at = time.monotonic() + self.chance.uniform(*QUIET_S)
            if time.monotonic() - sampled >= SAMPLE_S:
                sampled = time.monotonic()
                self._sample(crews)
            time.sleep(BEAT_S)

    def _strike(self) -> None:
        """Kill or stop something, and see the server back."""
        pid = self.world.processes[NAME].pid
        what = self.chance.choices(("server", "ingest", "stopped"), (5, 3, 1))[0]
        self.blows.counted[what] += 1
        struck = time.monotonic()
        if what == "server":
            self.server.kill()
            time.sleep(self.chance.uniform(0.0, 4.0))
            struck = time.monotonic()
            self.server.start()
        elif what == "ingest":
            ingest = parts(pid).get("ingest")
            if ingest is not None:
                os.kill(ingest, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STOPPED_S)
            os.kill(pid, signal.SIGCONT)
            struck = time.monotonic()
        while not self.server.ready():
            if time.monotonic() - struck > READY_S:
                raise AssertionError(f"not back {READY_S:.0f} s after {what}: {self.world.tail(NAME)}")
            time.sleep(0.05)
        took = time.monotonic() - struck
        if what == "server":
            self.blows.back_s.append(took)
        self.tell("blow", what=what, back_s=round(took, 2))

    def _sample(self, crews: list[Crew]) -> None:
        found = parts(self.world.processes[NAME].pid)
        with sqlite3.connect(f"file:{self.data / 'airboss.db'}?mode=ro", uri=True, timeout=10) as connection:
            (facts,) = connection.execute("SELECT count(*) FROM fact").fetchone()
        sample = Sample(
            at_s=round(time.monotonic() - self.began, 1),
            control_mib=memory_mib(found.get("control")),
            ingest_mib=memory_mib(found.get("ingest")),
            policy_mib=memory_mib(found.get("policy")),
            database_mib=size_mib(self.data, "airboss.db"),
            buckets_mib=size_mib(self.data, self.options.buckets),
            facts=facts,
            changes=sum(crew.number for crew in crews),
        )
        self.samples.append(sample)
        self.tell("sample", **asdict(sample), ended={crew.service: dict(crew.ended) for crew in crews})

    def _end(self, crews: list[Crew]) -> None:
        """Nobody begins anything any more; what is under way ends, by order where it must."""
        until = time.monotonic() + END_S
        while any(crew.change is not None for crew in crews) and time.monotonic() < until:
            for crew in crews:
                if crew.change is None:
                    continue
                crew.beat()
                if crew.change is not None and crew.phase not in OVER and time.monotonic() - crew.since > END_S / 2:
                    try:
                        crew.people[OWNER].post(
                            f"/changes/{crew.change}/orders", {"verb": "abort", "reason": "the end"}
                        )
                    except (Away, Refused) as fault:
                        self.tell("end", told=str(fault))
            time.sleep(BEAT_S)
        self.tell("ended", open=[crew.change for crew in crews if crew.change is not None])

    def _found(self, crews: list[Crew]) -> dict[str, Any]:
        """Hold the database against all that must be true of one, and sum up."""
        house = build(Settings(data=self.data))
        try:
            check(house)
            with house.store.read() as connection:
                facts = house.journal.size(connection)
        finally:
            house.close()
        back = sorted(self.blows.back_s)
        return {
            "seconds": round(time.monotonic() - self.began),
            "seed": self.options.seed,
            "changes": sum(crew.number for crew in crews),
            "ended": {crew.service: dict(crew.ended) for crew in crews},
            "open": sum(crew.change is not None for crew in crews),
            "blows": dict(self.blows.counted),
            "back_s": {"middle": back[len(back) // 2], "most": back[-1]} if back else {},
            "facts": facts,
            "invariants": "held",
            "told": {crew.service: dict(crew.told.most_common(6)) for crew in crews},
        }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60, help="requests a second to each of three services")
    parser.add_argument("--calm", action="store_true", help="strike nothing: what one long life of the processes adds")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--buckets", default="telemetry", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["AIRBOSS_DEMO"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="airboss-soak-"))
    with options.log.open("a") as log:
        soak = Soak(options, folder, log)
        soak.tell("begun", folder=str(folder), pid=os.getpid())
        try:
            found = soak.run()
        except BaseException as fault:
            soak.tell("failed", fault=repr(fault)[:2000])
            raise
        soak.tell("found", **found)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
