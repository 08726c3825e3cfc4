"""A day in the life of a house, from a seed: changes with and without harm, people with orders, and everything that fails.

Time is virtual and steps in seconds while something is in flight; the rest of the day is jumped over. The same seed
gives the same day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from tests.tower.world import CATALOG, Nature, World, ramp

from airboss.changes import OVER, Phase
from airboss.kernel.clock import to_micros
from airboss.kernel.errors import AirbossError
from airboss.learn.reviews import CloseReview
from airboss.people.access import LOCAL
from airboss.testing.targets import Unsteady
from airboss.watch.telemetry import Columns, Origin

STEP_S = 20
CALM_S = 180
"""A step while nothing is in flight and people still have something to do."""
STANDING = frozenset({Phase.ROLLING_OUT, Phase.VERIFYING, Phase.ROLLING_BACK, Phase.ROLLBACK_FAILED})
"""Phases in which somebody may meet the new side because of the change."""
HARM = 0.06
"""How much more often the new side of a harmful change answers badly."""
STEPS = """
          - {expose: 2%,  bake: {least: 20s, most: 300s}}
          - {expose: 20%, bake: {least: 20s, most: 300s}}
          - {expose: 100%, bake: {least: 30s, most: 300s}}
"""
FLAG = CATALOG.split("---")[-1]


Fault = tuple[datetime, Callable[[], None]]
"""When something goes wrong, and what happens then."""


@dataclass
class Flight:
    """One change of the day, as the simulation knows it and Airboss does not."""

    number: int
    flag: str
    new: str
    harm: float
    at: datetime
    change: str | None = None


@dataclass
class Day:
    """The world and its script."""

    folder: Path
    seed: int
    changes: int = 20
    database: str | None = None
    flags: tuple[str, ...] = ("tax", "search", "basket", "login", "prices")
    log: list[str] = field(default_factory=list)
    phases: dict[str, Phase] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng([self.seed, 7])
        names = [f"{name}.flag" for name in self.flags]
        more = "---".join(FLAG.replace("tax.engine", name) for name in names)
        self.world = World(
            self.folder,
            database=self.database,
            seed=self.seed,
            catalog=CATALOG + "---" + more,
            nature=Nature(per_s=60),
        )
        self.world.traffic = self._traffic  # type: ignore[method-assign]
        self._steady()
        self.begin = self.world.clock.now()
        self.flights = [self._flight(number, names) for number in range(self.changes)]
        self.faults = sorted(self._faults(), key=lambda one: one[0])

    # -- the script ------------------------------------------------------------------------------------------------

    def _somewhen(self, hours: float = 20.0) -> datetime:
        return self.begin + timedelta(seconds=int(self.chance.integers(0, int(hours * 3600))))

    def _flight(self, number: int, names: list[str]) -> Flight:
        harm = HARM if self.chance.random() < 0.35 else 0.0
        flag = names[int(self.chance.integers(len(names)))]
        return Flight(number=number, flag=flag, new="on", harm=harm, at=self._somewhen())

    def _faults(self) -> list[Fault]:  # noqa: C901 - a table of what may go wrong
        """What goes wrong, mostly while something is in flight: each a moment and what happens then."""
        faults: list[Fault] = []

        def around(flight: Flight) -> datetime:
            return flight.at + timedelta(seconds=int(self.chance.integers(20, 400)))

        def lasting(at: datetime, on: Callable[[], None], off: Callable[[], None], least: int, most: int) -> None:
            faults.append((at, on))
            faults.append((at + timedelta(seconds=int(self.chance.integers(least, most))), off))

        for flight in self.flights:
            draw = self.chance.random()
            at = around(flight)
            if draw < 0.15:
                faults.append((at, lambda flight=flight: self._order(flight, "abort")))  # type: ignore[misc]
            elif draw < 0.30:
                faults.append((at, self._restart))
            elif draw < 0.45:
                lasting(at, lambda: self._hear(on=False), lambda: self._hear(on=True), 20, 240)
            elif draw < 0.60:
                lasting(at, lambda: self._line(away=True), lambda: self._line(away=False), 10, 300)
            elif draw < 0.70:
                faults.append((at, self._lose_answers))
            elif draw < 0.80:
                pause = flight
                lasting(
                    at,
                    lambda flight=pause: self._order(flight, "pause"),  # type: ignore[misc]
                    lambda flight=pause: self._order(flight, "resume"),  # type: ignore[misc]
                    30,
                    300,
                )
            elif draw < 0.90:
                faults.append((at, lambda number=flight.number: self._freeze(number)))  # type: ignore[misc]
        return faults

    # -- what happens ----------------------------------------------------------------------------------------------

    def _steady(self) -> None:
        adapters = self.world.house.targets._adapters
        self.line = Unsteady(adapters["flag"])
        adapters["flag"] = self.line

    def _restart(self) -> None:
        script = self.line.script
        self.world.restart()
        self._steady()
        self.line.script = script

    def _hear(self, *, on: bool) -> None:
        self.world.nature.seen = on

    def _line(self, *, away: bool) -> None:
        self.line.script.away = away

    def _lose_answers(self) -> None:
        self.line.script.loses_answers = 2

    def _freeze(self, number: int) -> None:
        starts = self.world.clock.now()
        self.world.apply(
            "apiVersion: airboss/v1\nkind: Window\n"
            f"metadata: {{name: freeze-{number}}}\n"
            f"spec: {{allow: false, zone: UTC, starts: {starts:%Y-%m-%dT%H:%M}, lasts: 10m, reason: a delivery}}\n"
        )

    def _order(self, flight: Flight, verb: str) -> None:
        if flight.change is not None:
            self._try(lambda: self.world.order(str(flight.change), verb, by="dev-b"))

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except AirbossError as refusal:
            self.log.append(f"{(self.world.clock.now() - self.begin).total_seconds():.0f} {refusal.code}")

    def _propose(self, flight: Flight) -> None:
        served = self.world.serves(flight.flag) or "off"
        flight.new = "off" if served == "on" else "on"
        users = 5 if flight.number % 3 else 40
        document = ramp(
            flag=flight.flag,
            users=users,
            old=served,
            new=flight.new,
            steps=STEPS,
            on_error="120s",
            on_inconclusive="{hold: 60s, then: extend}",
            title=f"change {flight.number}",
        )

        def propose() -> None:
            flight.change = self.world.propose(document)

        self._try(propose)

    def _people(self) -> None:
        """Approve what waits, lift what was mended, retry what stuck, close the reviews. Mostly within minutes."""
        for flight in self.flights:
            if flight.change is None or self.chance.random() > 0.2:
                continue
            phase = self.phases[flight.change]
            if phase is Phase.AWAITING_APPROVAL:
                self._try(lambda flight=flight: self.world.approve(str(flight.change)))  # type: ignore[misc]
            elif phase is Phase.IN_REVIEW:
                for block in self.world.house.rollouts.blocked(self.world.people["dev-a"]):
                    self._lift(block.service, block.digest)
            elif phase is Phase.ROLLBACK_FAILED:
                self._order(flight, "retry")
            elif phase is Phase.REVIEWING:
                self._try(lambda flight=flight: self._review(flight))  # type: ignore[misc]

    def _lift(self, service: str, digest: str) -> None:
        people = self.world.people
        self._try(lambda: self.world.house.rollouts.lift(service, digest, "mended", people["dev-b"]))

    def _review(self, flight: Flight) -> None:
        house = self.world.house
        with house.store.read() as connection:
            review = house.reviews.of(connection, str(flight.change), self.world.people["dev-b"])
        if review is not None:
            house.reviews.close(CloseReview(review=review.id), self.world.people["dev-b"])

    # -- users -----------------------------------------------------------------------------------------------------

    def _traffic(self, step_s: int = 1) -> None:
        """Every user meets every flag that is being ramped; a request goes wrong for any of them."""
        world, clock = self.world, self.world.clock
        now_us = to_micros(clock.now())
        rows = world.exposures.since(clock.now() - timedelta(seconds=60))
        for change_id in world.ingest.unloaded(rows, now_us=now_us):
            world.ingest.load_subjects(change_id, world.house.buckets.subjects(change_id))
        world.ingest.update(rows, known=frozenset(), now_us=now_us)
        if not world.nature.seen:
            return
        with world.house.store.read() as connection:
            evaluate = world.house.flags.served(connection).compiled.evaluate
        meeting = [flight for flight in self.flights if self.phases.get(flight.change or "") in STANDING]
        count = world.nature.per_s * step_s
        columns = Columns()
        columns.origins.append(Origin("checkout", "production", ()))
        columns.items.append(count)
        users = world.random.integers(0, world.nature.users, count).tolist()
        ages = world.random.integers(0, step_s * 1_000_000, count).tolist()
        for user, age_us, draw in zip(users, ages, world.random.random(count).tolist(), strict=True):
            chance = world.nature.bad_old
            for flight in meeting:
                answer = evaluate(flight.flag, f"user-{user}", {})
                if answer.arm is not None:
                    columns.expose(answer.arm.encode())
                if answer.variant == flight.new:
                    chance += flight.harm
            columns.resource.append(0)
            columns.start_ns.append((now_us - age_us - 20_000) * 1000)
            columns.end_ns.append((now_us - age_us) * 1000)
            columns.bad.append(draw < chance)
        world.ingest.accept(columns, signal="traces", sender_service="checkout", received_us=now_us)
        flush = world.ingest.take(source=world.source, at_us=now_us)
        world.house.buckets.flush(flush)
        world.ingest.confirm(flush)

    # -- the day ---------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Let the day pass, and then as much of the night as it takes for the last change to be over."""
        waiting = sorted(self.flights, key=lambda one: (one.at, one.number))
        faults = list(self.faults)
        for _ in range(20_000):
            now = self.world.clock.now()
            while faults and faults[0][0] <= now:
                faults.pop(0)[1]()
            while waiting and waiting[0].at <= now:
                self._propose(waiting.pop(0))
            moving = self._moving()
            if not waiting and not faults and not moving:
                return
            step_s = self._step_s(now, moving, waiting, faults)
            self.world.clock.advance(step_s)
            self._people()
            if step_s == STEP_S:
                self._traffic(step_s)
            self.world.look()
        raise AssertionError(f"not over: {[(one.number, one.change) for one in self._moving()]}")

    def _moving(self) -> list[Flight]:
        page = self.world.house.changes.list(actor=LOCAL, limit=200)
        self.phases = {item.id: item.phase for item in page.items}
        return [one for one in self.flights if one.change is not None and self.phases[one.change] not in OVER]

    def _step_s(self, now: datetime, moving: list[Flight], waiting: list[Flight], faults: list[Fault]) -> int:
        """Return how far to go: small steps while something may be exposed, else to the next thing that happens."""
        if any(self.phases[str(flight.change)] is not Phase.REVIEWING for flight in moving):
            return STEP_S
        due = [one.at for one in waiting[:1]] + [one[0] for one in faults[:1]]
        left_s = int((min(due) - now).total_seconds()) + 1 if due else CALM_S
        return max(STEP_S + 1, min(left_s, CALM_S) if moving else left_s)

    def outcomes(self) -> dict[int, str | None]:
        """Return how each change ended, None where it could not even be proposed."""
        return {
            flight.number: None if flight.change is None else self.world.change(flight.change).outcome
            for flight in self.flights
        }

    def story(self) -> list[tuple[str, str]]:
        """Return the kinds of subjects and facts of the whole journal, in order."""
        self.world.house.store.sequence()
        with self.world.house.store.read() as connection:
            facts = self.world.house.journal.read(connection, limit=1_000_000)
        return [(fact.subject.partition("_")[0].partition("/")[0], fact.type) for fact in facts]

    def close(self) -> None:
        self.world.close()
