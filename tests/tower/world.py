"""A small production in virtual time: a house, its people, users who come and go, and the receiver that counts them.

Everything is the real thing but the clock, the chance and the network: spans are counted by the ingest's own core, arms
come from the evaluator the SDK uses, policy is judged by its own engine (in this process).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from airboss.act.rollout import Judgement, Order, judgement_of, sentences
from airboss.act.targets import Target
from airboss.bootstrap import House, build
from airboss.changes import Change, Create, Edit, Inspection, Submit
from airboss.decide.approvals import CastVote, Verdict
from airboss.decide.policy import InlineEngine
from airboss.kernel.clock import to_micros
from airboss.kernel.settings import Settings
from airboss.people.access import LOCAL, Actor, Role
from airboss.people.identity import AddPerson
from airboss.testing import ManualClock, SeededChance
from airboss.tower.exposures import TowerExposures
from airboss.watch.telemetry import Columns, Ingest, Origin, ProtobufReader, TelemetrySettings

CATALOG = """
apiVersion: airboss/v1
kind: Team
metadata: {name: payments}
spec: {members: [dev-a, dev-b], leads: [dev-a]}
---
apiVersion: airboss/v1
kind: Environment
metadata: {name: production}
spec: {rank: 2, exempt: false}
---
apiVersion: airboss/v1
kind: Service
metadata: {name: checkout}
spec: {owner: payments, tier: standard, stateful: false, environments: [production], telemetry: {service_name: checkout}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: checkout-errors}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {type: builtin, spec: {signal: spans, service: checkout, status: error}}}
    total: {metricSource: {type: builtin, spec: {signal: spans, service: checkout}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-availability}
spec:
  service: checkout
  indicatorRef: checkout-errors
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{displayName: requests served without error, target: 0.98}]
---
apiVersion: airboss/v1
kind: Flag
metadata: {name: tax.engine}
spec:
  owner: payments
  purpose: new VAT engine
  kind: release
  services: [checkout]
  bucketing: {version: v3, key: targetingKey}
  definition:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
"""

STAGING = """
apiVersion: airboss/v1
kind: Environment
metadata: {name: staging}
spec: {rank: 1, exempt: false}
"""

PEOPLE = {
    "root": Role.ADMIN,
    "dev-a": Role.ENGINEER,
    "dev-b": Role.ENGINEER,
    "dev-c": Role.ENGINEER,
    "viewer": Role.VIEWER,
}

QUICK = """
      - data
"""
WATCHED = """
      - {canary: {sli: checkout-errors}}
      - {burn_rate: {slo: checkout-availability, above: 14.4}}
      - data
"""
RISING = """
          - {expose: 1%,  bake: {least: 5s, most: 120s}}
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {expose: 50%, bake: {least: 5s, most: 120s}}
          - {expose: 100%, bake: {least: 10s, most: 120s}}
"""


def ramp(
    *,
    flag: str = "tax.engine",
    users: int = 5,
    old: str = "off",
    new: str = "on",
    steps: str = RISING,
    gates: str = WATCHED,
    on_error: str = "60s",
    on_inconclusive: str = "{hold: 60s, then: rollback}",
    title: str = "New VAT engine",
    more: str = "",
    accept: str = "",
) -> str:
    """A ramp as somebody would write it. `more` are further lines of the spec."""
    return f"""
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: {title}
  why: VAT rules change
  services: [checkout]
  owner: {{team: payments}}
  impact: {{users_percent: {users}, reversible: true, data: none}}
  rollback: {{plan: flag back to {old}}}
{more}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {{flag: {{name: {flag}, old: "{old}", new: "{new}"}}}}
        steps: {steps}
    allowance: 0.5%
    verification: {{least: 5s}}
    on_error: {{hold: {on_error}, then: rollback}}
    on_inconclusive: {on_inconclusive}
    gates: {gates}
{f"    accept_underpowered: {accept}" if accept else ""}
"""


@dataclass
class Nature:
    """How requests come out: chance of a bad answer for the old and the new side, and how many there are a second."""

    per_s: int = 400
    users: int = 50_000
    flag: str = "tax.engine"
    new: str = "on"
    bad_old: float = 0.002
    bad_new: float = 0.002
    environments: tuple[str, ...] = ("production",)
    """Where they go; each of them gets as many."""
    seen: bool = True
    """Whether the receiver hears of them."""


class Inline(ThreadPoolExecutor):
    """Runs what is handed to a thread at once, in this one: the same every time, and quicker."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def,override]
        done: Future[object] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as fault:
            if not isinstance(fault, Exception):
                raise
            done.set_exception(fault)
        return done


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: virtual time waits for no disk."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="airboss-world-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class NoFindings:
    """Looks into changes of targets that are not ours and finds nothing."""

    def inspect(self, spec, connection) -> Inspection:  # type: ignore[no-untyped-def]  # noqa: ARG002 - the port
        return Inspection()

    def pins(self, spec, connection) -> dict[str, str]:  # type: ignore[no-untyped-def]  # noqa: ARG002 - the port
        return {}


class Loud(logging.Handler):
    """Raises what the tower caught, logged and lived on with: in a test that is a fault, unless it is expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.expected = False
        self.bugs: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None and not self.expected:
            self.bugs.append(record.exc_info[1])

    def __enter__(self) -> None:
        logging.getLogger("airboss.tower").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("airboss.tower").removeHandler(self)
        if self.bugs:
            raise self.bugs.pop()


@dataclass
class World:
    """A house in virtual time."""

    folder: Path
    database: str | None = None
    seed: int = 1
    targets: Mapping[str, Target] | Callable[[ManualClock], Mapping[str, Target]] | None = None
    nature: Nature = field(default_factory=Nature)
    catalog: str = CATALOG
    route_folder: Path | None = None
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        if callable(self.targets):
            self.targets = self.targets(self.clock)
        self.loud = Loud()
        self.chance = SeededChance(self.seed)  # goes on over a restart: no ID comes twice
        self.runner = asyncio.Runner()
        self.runner.get_loop().set_default_executor(Inline(max_workers=1))
        self.telemetry = TelemetrySettings(lateness=timedelta(seconds=4))
        self.random = np.random.default_rng(self.seed)
        self.people: dict[str, Actor] = {}
        self.house = self._build()
        self._start_receiver()
        self._stock()

    def _build(self) -> House:
        return build(
            Settings(data=self.folder, database=self.database, route_folder=self.route_folder),
            clock=self.clock,
            chance=self.chance,
            engine=InlineEngine(),
            telemetry=self.telemetry,
            targets=self.targets,  # type: ignore[arg-type]
            more_inspectors={kind: NoFindings() for kind in self.targets or {}},  # type: ignore[union-attr]
        )

    def _start_receiver(self) -> None:
        self.ingest = Ingest(self.telemetry)
        self.source = self.house.buckets.begin("world", to_micros(self.clock.now()))
        self.exposures = TowerExposures(self.house.store)

    def _stock(self) -> None:
        """Make the people and the catalogue; a database that has them keeps them."""
        with self.house.store.read() as connection:
            there = {one.handle: one.id for one in self.house.identity.persons.all(connection, LOCAL)}
        for handle, role in PEOPLE.items():
            if handle not in there:
                there[handle] = self.house.identity.persons.add(AddPerson(handle=handle, role=role), LOCAL).id
            self.people[handle] = Actor(
                id=there[handle], name=handle, kind="person", role=role, scopes=None, service=None, via="session:test"
            )
        self.apply(self.catalog)

    def apply(self, documents: str, by: str = "root") -> None:
        """Apply documents, as `airboss apply -f` does."""
        for parsed in self.house.kinds.parse(documents.encode(), "documents.yaml"):
            self.house.kinds.apply(parsed, actor=self.people[by])

    def restart(self) -> None:
        """The server dies and comes back, with what was stored."""
        self.house.close()
        self.house = self._build()
        self.exposures = TowerExposures(self.house.store)

    # -- acts ------------------------------------------------------------------------------------------------------

    def propose(self, document: str | None = None, *, by: str = "dev-a") -> str:
        """Propose and submit a change; return its ID."""
        text = (document or ramp()).encode()
        change = self.house.changes.create(Create(data=text, source="change.yaml"), actor=self.people[by])
        self.submit(change.id, by=by)
        return change.id

    def submit(self, change_id: str, *, by: str = "dev-a") -> Change:
        return self.house.changes.submit(Submit(change_id=change_id), actor=self.people[by])

    def approve(self, change_id: str, by: str = "dev-b") -> None:
        self.house.approvals.vote(
            CastVote(change=change_id, verdict=Verdict.APPROVE, seen=self.change(change_id).digest or ""),
            self.people[by],
        )

    def order(
        self,
        change_id: str,
        verb: str,
        by: str = "dev-a",
        reason: str = "because",
        expected_version: int | None = None,
    ) -> Change:
        order = Order(change_id=change_id, verb=verb, reason=reason, expected_version=expected_version)
        return self.house.rollouts.order(order, self.people[by])

    def change(self, change_id: str) -> Change:
        return self.house.changes.get(change_id, actor=self.people["root"])

    def edit(self, change_id: str, document: str, by: str = "dev-a") -> Change:
        seen = self.change(change_id).version
        edit = Edit(change_id=change_id, data=document.encode(), expected_version=seen, source="change.yaml")
        return self.house.changes.edit(edit, actor=self.people[by])

    def percent(self, flag: str = "tax.engine", environment: str = "production") -> float:
        """Return what the ramp that is on is set to, 0 where none is."""
        with self.house.store.read() as connection:
            return self.house.flags.observe(connection, flag, environment=environment).ramp_percent

    def serves(self, flag: str = "tax.engine", environment: str = "production") -> str | None:
        """Return the variant of everybody outside a ramp."""
        with self.house.store.read() as connection:
            return self.house.flags.observe(connection, flag, environment=environment).serves

    def phase(self, change_id: str) -> str:
        return self.change(change_id).phase.value

    def told(self, change_id: str) -> str:
        """What somebody who asks where the change is would be told now."""
        with self.house.store.read() as connection:
            return sentences(connection, [change_id]).get(change_id, "")

    def judged(self, change_id: str) -> Judgement | None:
        """Return the analysis of a change's one unit so far."""
        with self.house.store.read() as connection:
            return judgement_of(connection, change_id, 1, "checkout@production")

    def times(self, subject: str, kind: str) -> list[datetime]:
        """When a subject's facts of one type were recorded."""
        with self.house.store.read() as connection:
            return [fact.at for fact in self.house.journal.of(connection, subject) if fact.type == kind]

    def bodies(self, subject: str, kind: str) -> list[Mapping[str, object]]:
        """The bodies of a subject's facts of one type, in order."""
        with self.house.store.read() as connection:
            return [fact.body for fact in self.house.journal.of(connection, subject) if fact.type == kind]

    def facts(self, change_id: str) -> list[str]:
        self.house.store.sequence()
        with self.house.store.read() as connection:
            return [fact.type for fact in self.house.journal.of(connection, change_id)]

    # -- time ------------------------------------------------------------------------------------------------------

    def traffic(self, step_s: int = 1) -> None:
        """Some seconds of users; the receiver counts them and writes what it has."""
        now_us = self._told_of_exposures()
        if not self.nature.seen:
            return
        with self.house.store.read() as connection:
            evaluate = self.house.flags.served(connection).compiled.evaluate
        nature, count = self.nature, self.nature.per_s * step_s * len(self.nature.environments)
        columns = Columns()
        for environment in nature.environments:
            columns.origins.append(Origin("checkout", environment, ()))
            columns.items.append(count // len(nature.environments))
        users = self.random.integers(0, nature.users, count).tolist()
        ages = self.random.integers(0, step_s * 1_000_000, count).tolist()
        for number, (user, age_us, draw) in enumerate(
            zip(users, ages, self.random.random(count).tolist(), strict=True)
        ):
            answer = evaluate(nature.flag, f"user-{user}", {})
            element = answer.arm
            if element is not None:
                columns.expose(element.encode())
            columns.resource.append(number % len(nature.environments))
            columns.start_ns.append((now_us - age_us - 20_000) * 1000)
            columns.end_ns.append((now_us - age_us) * 1000)
            columns.bad.append(draw < (nature.bad_new if answer.variant == nature.new else nature.bad_old))
        self._count(columns, now_us)

    def _told_of_exposures(self) -> int:
        """Tell the receiver what stands where; return the time in microseconds."""
        now_us = to_micros(self.clock.now())
        rows = self.exposures.since(self.clock.now() - timedelta(seconds=60))
        for change_id in self.ingest.unloaded(rows, now_us=now_us):
            self.ingest.load_subjects(change_id, self.house.buckets.subjects(change_id))
        self.ingest.update(rows, known=frozenset(), now_us=now_us)
        return now_us

    def _count(self, columns: Columns, now_us: int) -> None:
        """Let the receiver count spans and write what it has."""
        self.ingest.accept(columns, signal="traces", sender_service="checkout", received_us=now_us)
        flush = self.ingest.take(source=self.source, at_us=now_us)
        self.house.buckets.flush(flush)
        self.ingest.confirm(flush)

    def send(self, body: bytes) -> None:
        """Let a body of OTLP come in, as a service exports it (protobuf, traces)."""
        columns = ProtobufReader().read(body, "traces")
        self._count(columns, self._told_of_exposures())

    def look(self, *, most: int = 20) -> None:
        """Look at everything that is due, until nothing is. A bug that the tower logged and lived on with is raised."""

        async def all_due() -> None:
            for _ in range(most):
                due = self.house.tower.claim()
                if not due:
                    return
                for held in due:
                    await self.house.tower.look_at(held)

        with self.loud:
            self.runner.run(all_due())

    def run(self, seconds: int, *, until: Callable[[], bool] | None = None, step_s: int = 1) -> bool:
        """Let time pass, step by step; stop early when `until` holds. Return whether it did."""
        for _ in range(seconds // step_s):
            self.clock.advance(step_s)
            self.traffic(step_s)
            self.look()
            if until is not None and until():
                return True
        return until is None

    def close(self) -> None:
        self.house.close()
        self.runner.close()
