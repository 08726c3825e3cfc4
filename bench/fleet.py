"""A house with many rollouts in flight, copied from one that was really started."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from airboss.act.rollout import Claim, claims, judgement_of
from airboss.act.targets import Observation, UnitRef
from airboss.bootstrap import House, build
from airboss.changes import Create, Phase, Submit
from airboss.decide.approvals import CastVote, Verdict
from airboss.decide.policy import InlineEngine
from airboss.faces.server.control import THREADS
from airboss.kernel.clock import Clock, SystemClock, to_micros
from airboss.kernel.settings import Settings
from airboss.people.access import LOCAL, Actor, Role
from airboss.people.identity import AddPerson
from airboss.testing.targets import ScriptedTarget
from airboss.tower.loop import Tower
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
"""
FLAG = """
---
apiVersion: airboss/v1
kind: Flag
metadata: {{name: {name}}}
spec:
  owner: payments
  purpose: new VAT engine
  kind: release
  services: [checkout]
  bucketing: {{version: v3, key: targetingKey}}
  definition:
    state: ENABLED
    variants: {{"on": true, "off": false}}
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
  impact: {{users_percent: 5, reversible: true, data: none}}
  rollback: {{plan: flag back to off}}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {{flag: {{name: {flag}, old: "off", new: "on"}}}}
        steps:
          - {{expose: 10%, bake: {{least: 10m, most: 24h}}}}
          - {{expose: 100%, bake: {{least: 10m, most: 24h}}}}
    allowance: 0.5%
    verification: {{least: 5s}}
    on_error: {{hold: 3600s, then: rollback}}
    on_inconclusive: {{hold: 3600s, then: rollback}}
    gates:
      - {{canary: {{sli: checkout-errors}}}}
      - {{burn_rate: {{slo: checkout-availability, above: 14.4}}}}
      - data
"""
PEOPLE = {"root": Role.ADMIN, "dev-a": Role.ENGINEER, "dev-b": Role.ENGINEER}


class Steady(ScriptedTarget):
    """Answers at once from memory, and says that what was approved is what runs."""

    async def observe(self, unit: UnitRef) -> Observation:
        self.digests[unit.unit] = unit.digest
        return await super().observe(unit)


def stocked(house: House, flags: Sequence[str]) -> dict[str, Actor]:
    """Make the people, the catalogue and some flags."""
    made = {}
    for handle, role in PEOPLE.items():
        person = house.identity.persons.add(AddPerson(handle=handle, role=role), LOCAL)
        made[handle] = Actor(
            id=person.id, name=handle, kind="person", role=role, scopes=None, service=None, via="session:bench"
        )
    for parsed in house.kinds.parse(
        (CATALOG + "".join(FLAG.format(name=name) for name in flags)).encode(), "catalog.yaml"
    ):
        house.kinds.apply(parsed, actor=made["root"])
    return made


def traffic(house: House, clock: Clock) -> None:
    """Have the receiver's core count some requests of the service, so that gates have something to read."""
    ingest, now_us = Ingest(TelemetrySettings()), to_micros(clock.now())
    source = house.buckets.begin("sole", now_us - 600_000_000)
    ingest.update([], known=frozenset(), now_us=now_us)
    columns = Columns()
    columns.origins.append(Origin("checkout", "production", ()))
    columns.items.append(5_000)
    for number in range(5_000):
        columns.resource.append(0)
        columns.start_ns.append((now_us - number * 1_000 - 20_000) * 1000)
        columns.end_ns.append((now_us - number * 1_000) * 1000)
        columns.bad.append(number % 500 == 0)
    ingest.accept(columns, signal="traces", sender_service="checkout", received_us=now_us)
    house.buckets.flush(ingest.take(source=source, at_us=now_us))


async def started(house: House, people: dict[str, Actor], flags: Sequence[str]) -> list[str]:
    """Take a ramp of each flag through policy, approval and plan; return their IDs when all are judged at their first
    step."""
    changes = []
    for flag in flags:
        data = RAMP.format(flag=flag).encode()
        change = house.changes.create(Create(data=data, source="change.yaml"), actor=people["dev-a"])
        house.changes.submit(Submit(change_id=change.id), actor=people["dev-a"])
        changes.append(change.id)
    unvoted, unjudged = set(changes), set(changes)
    until = time.monotonic() + 30 + len(flags)
    while unjudged and time.monotonic() < until:
        for held in house.tower.claim():
            await house.tower.look_at(held)
        for change_id in sorted(unvoted):
            now = house.changes.get(change_id, actor=people["root"])
            if now.phase is Phase.AWAITING_APPROVAL:
                vote = CastVote(change=change_id, verdict=Verdict.APPROVE, seen=now.digest or "")
                house.approvals.vote(vote, people["dev-b"])
                unvoted.discard(change_id)
        with house.store.read() as connection:
            unjudged -= {name for name in unjudged if judgement_of(connection, name, 1, "checkout@production")}
        await asyncio.sleep(0.05)  # noqa: TID251 - the house runs in real time
    for change_id in sorted(unjudged):
        now = house.changes.get(change_id, actor=people["root"])
        raise AssertionError(f"a ramp did not start: {now.phase}: {now.sentence}")
    return changes


def _copy(house: House, change_id: str, count: int) -> None:
    """Write the rows of a change under so many other IDs."""
    with house.store.write() as tx:
        for table, key in (
            ("change", "id"),
            ("exposure", "change_id"),
            ("judgement", "change_id"),
            ("wake", "change_id"),
        ):
            query = sa.text(f"SELECT * FROM {table} WHERE {key} = :id")
            rows = [dict(row) for row in tx.execute(query, {"id": change_id}).mappings()]
            assert rows, f"the ramp has no row in {table}"
            names = list(rows[0])
            insert = sa.text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(':' + n for n in names)})")
            copies = [
                {
                    name: value.replace(change_id, f"{change_id[:-5]}{number:05d}") if isinstance(value, str) else value
                    for name, value in row.items()
                }
                for number in range(count)
                for row in rows
            ]
            tx.execute(insert, copies)


@dataclass(frozen=True, slots=True)
class Fleet:
    """A house whose tower has many rollouts to look at."""

    house: House

    def watched(self, seconds: float) -> tuple[float, list[float]]:
        """Run the tower for so long. Return looks a second, and the greatest lag at each tenth of a second."""
        return asyncio.run(self._watched(seconds))

    async def _watched(self, seconds: float) -> tuple[float, list[float]]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        done, lags, steering = 0, list[float](), self.house.steering

        async def counted(held: Claim) -> None:
            nonlocal done
            await steering(held)
            done += 1

        tower = Tower(store=self.house.store, clock=self.house.clock, owner="srv_bench", look=counted)
        stop = asyncio.Event()
        running = asyncio.create_task(tower.run(stop))
        began = time.monotonic()
        while (spent := time.monotonic() - began) < seconds:
            await asyncio.sleep(0.1)  # noqa: TID251
            lags.append(await asyncio.to_thread(self._lag))
        stop.set()
        await running
        return done / spent, lags

    def _lag(self) -> float:
        with self.house.store.read() as connection:
            return claims.lag(connection, self.house.clock.now())


@contextmanager
def flying(count: int) -> Iterator[Fleet]:
    """Give a house with so many ramps at their first step, looked at each second."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        house = build(
            Settings(data=Path(folder).resolve()), clock=clock, engine=InlineEngine(), targets={"flag": Steady(clock)}
        )
        try:
            people = stocked(house, ["tax.engine"])
            traffic(house, clock)
            (change_id,) = asyncio.run(started(house, people, ["tax.engine"]))
            _copy(house, change_id, count)
            yield Fleet(house)
        finally:
            house.close()
