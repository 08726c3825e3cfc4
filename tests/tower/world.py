"""A small production in virtual time: a house, its people, users who come and go, and the receiver that counts them.

Everything is the real thing but the clock, the chance and the network: spans are counted by the ingest's own core, arms
come from the evaluator the SDK uses, policy is judged by its own engine (in this process).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from airboss.act.targets import Target
from airboss.bootstrap import House, build
from airboss.changes import Change, Create, Submit
from airboss.decide.approvals import CastVote, Verdict
from airboss.decide.policy import InlineEngine
from airboss.kernel.clock import to_micros
from airboss.kernel.settings import Settings
from airboss.people.access import LOCAL, Actor, Role
from airboss.people.identity import AddPerson
from airboss.testing import ManualClock, SeededChance
from airboss.tower.exposures import TowerExposures
from airboss.watch.telemetry import Columns, Ingest, Origin, TelemetrySettings

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

RAMP = """
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: New VAT engine
  why: VAT rules change
  services: [checkout]
  owner: {{team: payments}}
  impact: {{users_percent: {users}, reversible: true, data: none}}
  rollback: {{plan: flag back to off}}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {{flag: {{name: tax.engine, old: "off", new: "on"}}}}
        steps:
          - {{expose: 1%,  bake: {{least: 5s, most: {most}}}}}
          - {{expose: 10%, bake: {{least: 5s, most: {most}}}}}
          - {{expose: 50%, bake: {{least: 5s, most: {most}}}}}
          - {{expose: 100%, bake: {{least: 10s, most: {most}}}}}
    allowance: 0.5%
    verification: {{least: 5s}}
    gates:
      - {{canary: {{sli: checkout-errors}}}}
      - {{burn_rate: {{slo: checkout-availability, above: 14.4}}}}
      - data
"""


@dataclass
class Nature:
    """How requests come out: chance of a bad answer for the old and the new side, and how many there are a second."""

    per_s: int = 400
    users: int = 50_000
    bad_old: float = 0.002
    bad_new: float = 0.002
    seen: bool = True
    """Whether the receiver hears of them."""


@dataclass
class World:
    """A house in virtual time."""

    folder: Path
    database: str | None = None
    seed: int = 1
    targets: Mapping[str, Target] | None = None
    nature: Nature = field(default_factory=Nature)

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.telemetry = TelemetrySettings(lateness=timedelta(seconds=4))
        self.random = np.random.default_rng(self.seed)
        self.people: dict[str, Actor] = {}
        self.house = self._build()
        self._start_receiver()
        self._stock()

    def _build(self) -> House:
        return build(
            Settings(data=self.folder, database=self.database),
            clock=self.clock,
            chance=SeededChance(self.seed),
            engine=InlineEngine(),
            telemetry=self.telemetry,
            targets=self.targets,
        )

    def _start_receiver(self) -> None:
        self.ingest = Ingest(self.telemetry)
        self.source = self.house.buckets.begin("world", to_micros(self.clock.now()))
        self.exposures = TowerExposures(self.house.store)

    def _stock(self) -> None:
        if not self.people:
            for handle, role in (("root", Role.ADMIN), ("dev-a", Role.ENGINEER), ("dev-b", Role.ENGINEER)):
                person = self.house.identity.persons.add(AddPerson(handle=handle, role=role), LOCAL)
                self.people[handle] = Actor(
                    id=person.id, name=handle, kind="person", role=role, scopes=None, service=None, via="session:test"
                )
            for parsed in self.house.kinds.parse(CATALOG.encode(), "catalog.yaml"):
                self.house.kinds.apply(parsed, actor=self.people["root"])

    def restart(self) -> None:
        """The server dies and comes back, with what was stored."""
        self.house.close()
        self.house = self._build()
        self.exposures = TowerExposures(self.house.store)

    # -- acts ------------------------------------------------------------------------------------------------------

    def propose(self, *, users: int = 5, most: str = "120s", by: str = "dev-a", document: str | None = None) -> str:
        """Propose and submit a ramp; return its ID."""
        text = document or RAMP.format(users=users, most=most)
        change = self.house.changes.create(Create(data=text.encode(), source="ramp.yaml"), actor=self.people[by])
        self.house.changes.submit(Submit(change_id=change.id), actor=self.people[by])
        return change.id

    def approve(self, change_id: str, by: str = "dev-b") -> None:
        self.house.approvals.vote(
            CastVote(change=change_id, verdict=Verdict.APPROVE, seen=self.change(change_id).digest or ""),
            self.people[by],
        )

    def change(self, change_id: str) -> Change:
        return self.house.changes.get(change_id, actor=self.people["root"])

    def facts(self, change_id: str) -> list[str]:
        self.house.store.sequence()
        with self.house.store.read() as connection:
            return [fact.type for fact in self.house.journal.of(connection, change_id)]

    # -- time ------------------------------------------------------------------------------------------------------

    def traffic(self) -> None:
        """One second of users; the receiver counts them and writes what it has."""
        now_us = to_micros(self.clock.now())
        with self.house.store.read() as connection:
            snapshot = self.house.flags.served(connection).compiled
        columns = Columns()
        columns.origins.append(Origin("checkout", "production", ()))
        columns.items.append(self.nature.per_s)
        for user in self.random.integers(0, self.nature.users, self.nature.per_s).tolist():
            answer = snapshot.evaluate("tax.engine", f"user-{user}", {})
            element = answer.arm
            if element is not None:
                columns.expose(element.encode())
            bad = self.random.random() < (self.nature.bad_new if answer.value else self.nature.bad_old)
            columns.resource.append(0)
            end_us = now_us - int(self.random.integers(0, 1_000_000))
            columns.start_ns.append((end_us - 20_000) * 1000)
            columns.end_ns.append(end_us * 1000)
            columns.bad.append(bool(bad))
        rows = self.exposures.since(self.clock.now() - timedelta(seconds=60))
        for change_id in self.ingest.unloaded(rows):
            self.ingest.load_subjects(change_id, self.house.buckets.subjects(change_id))
        self.ingest.update(rows, known=frozenset(), now_us=now_us)
        if self.nature.seen:
            self.ingest.accept(columns, signal="traces", sender_service="checkout", received_us=now_us)
            flush = self.ingest.take(source=self.source, at_us=now_us)
            self.house.buckets.flush(flush)
            self.ingest.confirm(flush)

    def look(self, *, most: int = 20) -> None:
        """Look at everything that is due, until nothing is."""

        async def all_due() -> None:
            for _ in range(most):
                due = self.house.tower.claim()
                if not due:
                    return
                for held in due:
                    await self.house.tower.look_at(held)

        asyncio.run(all_due())

    def run(self, seconds: int, *, until: Callable[[], bool] | None = None, step_s: int = 1) -> bool:
        """Let time pass, second by second; stop early when `until` holds. Return whether it did."""
        for _ in range(seconds // step_s):
            self.clock.advance(step_s)
            self.traffic()
            self.look()
            if until is not None and until():
                return True
        return until is None

    def close(self) -> None:
        self.house.close()
