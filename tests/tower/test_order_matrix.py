"""Every order in every state a change can be in, as the API takes it: done, or refused with a way out and no trace.

One world a database serves all states: each change has a flag or an environment of its own.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.faces.api.desk import BASE, InMemory
from tests.tower.invariants import check
from tests.tower.test_targets import DIGEST, RELEASE
from tests.tower.world import CATALOG, QUICK, Nature, World, quick_folder, ramp

from airboss.act.rollout import LEGAL, read_run
from airboss.changes import Create, Phase
from airboss.decide.approvals import CastVote, Verdict
from airboss.faces.api import create_app
from airboss.learn.reviews import CloseReview
from airboss.people.access import TokenScope
from airboss.people.identity import IssueToken
from airboss.testing import ManualClock
from airboss.testing.targets import ScriptedTarget

PLACES = tuple(f"place-{number}" for number in range(8))
FLAGS = tuple(f"flag-{number}" for number in range(30))
STEPS = """
          - {expose: 10%, bake: {least: 3s, most: 300s}}
          - {expose: 100%, bake: {least: 3s, most: 300s}}
"""
FLAG = CATALOG[CATALOG.index("apiVersion: airboss/v1\nkind: Flag") :]
ENVIRONMENT = """
apiVersion: airboss/v1
kind: Environment
metadata: {name: %s}
spec: {rank: 2, exempt: false}
"""


def _catalog(flags: Sequence[str], places: Sequence[str]) -> str:
    parts = (FLAG.replace("tax.engine", name) for name in flags), (ENVIRONMENT % name for name in places)
    return "\n---\n".join([CATALOG, *itertools.chain(*parts)])


@dataclass
class Works:
    """A world, its API, and how to bring a change into each state by what people and production do."""

    world: World
    target: ScriptedTarget
    client: httpx.Client
    flags: Iterator[str]
    places: Iterator[str]

    def drive(self, change: str, there: Callable[[], bool], *, step_s: int = 1, most: int = 150) -> None:
        """Let time pass, a look at a time, until something is so; whoever is asked says yes."""
        for _ in range(most):
            if there():
                return
            self.world.clock.advance(step_s)
            self.world.traffic()
            self.world.look(most=1)
            if not there() and self.world.phase(change) == "awaiting_approval":
                self.world.approve(change)
        raise AssertionError(f"{self.world.phase(change)}: {self.world.told(change)}")

    def to(self, change: str, phase: str, outcome: str | None = None) -> str:
        def there() -> bool:
            seen = self.world.change(change)
            return seen.phase == phase and outcome in (None, seen.outcome)

        self.drive(change, there)
        return change

    def ramp(self, *, users: int = 5, more: str = "", window: bool = False) -> str:
        """Propose a ramp of a flag nobody else moves."""
        text = ramp(flag=next(self.flags), users=users, steps=STEPS, gates=QUICK, more=more)
        if window:
            text = text.replace("rollback: {plan: flag back to off}", "rollback: {plan: flag back to off, window: 1h}")
        return self.world.propose(text)

    def out(self, *, users: int = 5) -> str:
        change = self.ramp(users=users)
        self.drive(change, lambda: "exposure.reached" in self.world.facts(change))
        return change

    def released(self) -> tuple[str, str]:
        """A release in a place of its own, at 10 %; return it and its unit."""
        place = next(self.places)
        unit = f"checkout@{place}"
        self.target.digests[unit] = DIGEST
        stages = f"""
      - environment: {place}
        target: {{scripted: {{name: checkout}}}}
        steps: {STEPS}"""
        change = self.world.propose(RELEASE % stages)
        self.drive(change, lambda: self.target.percent(unit) == 10)
        self.world.look(most=1)
        return change, unit

    def rolling_back(self) -> str:
        change, unit = self.released()
        self.target.scripts[unit] = type(self.target.script)(away=True)
        self.world.order(change, "abort")
        return self.to(change, "rolling_back")

    def rollback_failed(self) -> str:
        change = self.rolling_back()
        self.drive(change, lambda: self.world.phase(change) == "rollback_failed", step_s=60)
        return change

    def mitigated(self) -> str:
        change = self.rollback_failed()
        self.world.order(change, "mitigated")
        return self.to(change, "reviewing")

    def back(self) -> str:
        change = self.out(users=40)
        self.world.order(change, "abort")
        return self.to(change, "reviewing", "rolled back")

    def paused(self) -> str:
        change = self.out()
        self.world.order(change, "pause")
        self.world.look(most=1)
        return change

    def held(self) -> str:
        change = self.out()
        flag = self.world.change(change).expanded().stages[0].target.params["name"]
        self.world.house.flags.kill(flag, "totals are wrong", actor=self.world.people["root"])
        self.drive(change, lambda: "hold.begun" in self.world.facts(change))
        return change

    def rejected(self) -> str:
        change = self.to(self.ramp(users=40), "awaiting_approval")
        seen = self.world.change(change).digest or ""
        vote = CastVote(change=change, verdict=Verdict.REJECT, seen=seen, comment="not on a Friday")
        self.world.house.approvals.vote(vote, self.world.people["dev-b"])
        self.world.look(most=1)
        return change

    def draft(self) -> str:
        text = ramp(flag=next(self.flags), steps=STEPS, gates=QUICK).encode()
        made = self.world.house.changes.create(Create(data=text, source="c.yaml"), actor=self.world.people["dev-a"])
        return str(made.id)

    def cancelled(self) -> str:
        change = self.ramp(users=40)
        self.world.order(change, "abort")
        self.world.look(most=1)
        return change

    def expired(self) -> str:
        start = f"{self.world.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        change = self.ramp(more=f"  schedule: {{not_after: {start}}}")
        return self.to(change, "expired")

    def closed(self) -> str:
        change = self.back()
        person = self.world.people["dev-b"]
        with self.world.house.store.read() as connection:
            review = self.world.house.reviews.of(connection, change, person)
        assert review is not None
        self.world.house.reviews.close(CloseReview(review=review.id, verdict="unknown", answers={}), person)
        return self.to(change, "closed")

    def give(self, change: str, verb: str, **more: Any) -> httpx.Response:
        return self.client.post(f"/api/v1/changes/{change}/orders", json={"verb": verb, "reason": "because", **more})

    def kept(self, change: str) -> list[Any]:
        """Everything that is kept of a change."""
        with self.world.house.store.read() as connection:
            return [
                connection.execute(sa.text(f"SELECT * FROM {table} WHERE {column} = :id"), {"id": change}).all()
                for table, column in (
                    ("change", "id"),
                    ("command", "change_id"),
                    ("effect", "change_id"),
                    ("wake", "change_id"),
                    ("exposure", "change_id"),
                    ("fact", "subject"),
                )
            ]


STATES: Mapping[str, tuple[Phase, Callable[[Works], str]]] = {
    "draft": (Phase.DRAFT, Works.draft),
    "in review": (Phase.IN_REVIEW, lambda it: it.ramp()),
    "awaiting approval": (Phase.AWAITING_APPROVAL, lambda it: it.to(it.ramp(users=40), "awaiting_approval")),
    "approved": (Phase.APPROVED, lambda it: it.to(it.ramp(), "approved")),
    "scheduled": (
        Phase.SCHEDULED,
        lambda it: it.to(it.ramp(more="  schedule: {not_before: 2027-06-01T00:00:00Z}"), "scheduled"),
    ),
    "validating": (Phase.VALIDATING, lambda it: it.to(it.ramp(), "validating")),
    "rolling out": (Phase.ROLLING_OUT, Works.out),
    "rolling out, paused": (Phase.ROLLING_OUT, Works.paused),
    "rolling out, held": (Phase.ROLLING_OUT, Works.held),
    "verifying": (Phase.VERIFYING, lambda it: it.to(it.ramp(), "verifying")),
    "completed": (Phase.COMPLETED, lambda it: it.to(it.ramp(window=True), "completed")),
    "rejected": (Phase.REJECTED, Works.rejected),
    "cancelled": (Phase.CANCELLED, Works.cancelled),
    "expired": (Phase.EXPIRED, Works.expired),
    "rolling back": (Phase.ROLLING_BACK, Works.rolling_back),
    "rolled back": (Phase.REVIEWING, Works.back),
    "rollback failed": (Phase.ROLLBACK_FAILED, Works.rollback_failed),
    "mitigated": (Phase.REVIEWING, Works.mitigated),
    "closed": (Phase.CLOSED, Works.closed),
}
ALREADY = {
    ("rolling back", "abort"), ("rolling back", "rollback"), ("rolling back", "retry"),
    ("rolled back", "abort"), ("rolled back", "rollback"), ("closed", "abort"), ("closed", "rollback"),
    ("cancelled", "abort"), ("cancelled", "rollback"), ("mitigated", "mitigated"),
}  # fmt: skip
"""What is so already: whoever orders it is shown the change as it is."""
REVIEWED = {"rolled back": ("retry",), "mitigated": ("rollback",)}
"""What is possible of what is being reviewed."""
ENDS = {
    "abort": ("cancelled", "rolled back"),
    "rollback": ("rolled back",),
    "mitigated": ("rollback failed",),
}


def _possible(state: str) -> list[str]:
    phase = STATES[state][0]
    if phase is Phase.REVIEWING:
        return list(REVIEWED[state])
    return [verb for verb, phases in LEGAL.items() if phase in phases]


@pytest.fixture(scope="module")
def works() -> Iterator[Works]:
    """One world on SQLite for all states."""
    with quick_folder() as folder:
        yield from _works(folder / "world", None, FLAGS, PLACES)


@pytest.fixture
def works_anywhere(request: pytest.FixtureRequest) -> Iterator[Works]:
    """A world of a test's own, on the database it asks for."""
    url = str(request.getfixturevalue("postgresql_url")) if request.param == "postgresql" else None
    with quick_folder() as folder:
        yield from _works(folder / "world", url, FLAGS[:6], ())


def _works(folder: Path, url: str | None, flags: Sequence[str], places: Sequence[str]) -> Iterator[Works]:
    folder.mkdir()
    scripted: list[ScriptedTarget] = []

    def targets(clock: ManualClock) -> dict[str, ScriptedTarget]:
        scripted.append(ScriptedTarget(clock))
        return {"scripted": scripted[0]}

    nature = Nature(per_s=10, environments=("production", *places))
    world = World(folder, database=url, targets=targets, nature=nature, catalog=_catalog(flags, places))
    token = world.house.identity.tokens.issue(
        IssueToken(label="of a test", scopes=frozenset({TokenScope.READ, TokenScope.OPERATE}), days=1, personal=True),
        world.people["dev-a"],
    )
    client = httpx.Client(transport=InMemory(create_app(world.house)), base_url=BASE)
    client.headers["Authorization"] = f"Bearer {token.secret}"
    yield Works(world, scripted[0], client, iter(flags), iter(places))
    check(world.house, audit=False)
    world.close()


NOT_AGAIN = {
    ("rolling out, paused", verb) for verb in ("pause", "abort", "rollback")
} | {("rolling out, held", verb) for verb in ("pause", "resume", "rollback")}  # fmt: skip
"""Possible there, and shown by the plain state."""


@pytest.mark.parametrize("state", STATES)
def test_each_order_is_refused_with_what_is_possible_or_done_once(works: Works, state: str):
    """What does not fit: one stable code, a way out, and not a row of the change is another. What fits, ordered twice, is
    one order and one fact, and within moments it is what the change does.
    """
    phase, reach = STATES[state]
    change = reach(works)
    assert works.world.phase(change) == phase
    possible = _possible(state)
    _refuses_the_rest(works, change, state, possible)
    for number, verb in enumerate(one for one in possible if (state, one) not in NOT_AGAIN):
        if number:
            change = reach(works)
        _does(works, change, state, verb)


def _refuses_the_rest(works: Works, change: str, state: str, possible: Sequence[str]) -> None:
    before = works.kept(change)
    for verb in [*LEGAL, "explode"]:
        if verb in possible:
            continue
        answer = works.give(change, verb)
        told = answer.json()
        if (state, verb) in ALREADY:
            assert (answer.status_code, told["phase"]) == (200, works.world.phase(change)), (verb, told)
        elif verb == "explode":
            assert (answer.status_code, told["code"]) == (422, "order-unknown")
        else:
            assert (answer.status_code, told["code"]) == (409, "order-not-possible"), (verb, told)
            assert told["way_out"]
            assert all(one in told["way_out"] for one in possible), (verb, told)
        assert works.kept(change) == before, verb
    if possible:
        stale = works.give(change, possible[0], expected_version=10_000)
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
        assert works.kept(change) == before


def _does(works: Works, change: str, state: str, verb: str) -> None:
    stage = works.world.change(change).expanded().stages[0]
    facts = works.world.facts(change).count("change.commanded")
    answers = [works.give(change, verb) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert works.world.facts(change).count("change.commanded") == facts + 1
    if state == "rolling out, held" and verb == "promote":
        # Nothing is skipped over a kill switch: the order waits for the exposure to be what it should be.
        works.world.look(most=1)
        assert read_run(_run(works, change)).step == 0
        works.world.house.flags.unkill(stage.target.params["name"], actor=works.world.people["root"])
    works.target.scripts.pop(f"checkout@{stage.environment}", None)
    match verb:
        case "pause" | "resume":
            works.world.look(most=1)
            assert read_run(_run(works, change)).paused is (verb == "pause")
        case "promote":
            works.drive(change, lambda: read_run(_run(works, change)).step == 1)
        case "retry" if state == "rolled back":
            works.drive(change, lambda: works.world.change(change).attempt == 2)
        case _:
            ends = ENDS.get(verb, ("rolled back",))
            works.drive(change, lambda: works.world.change(change).outcome in ends)
            return
    works.world.order(change, "abort")  # out of the way of the next


def _run(works: Works, change: str) -> Mapping[str, Any]:
    kept = works.world.change(change).run
    assert kept is not None
    return dict(json.loads(kept)["run"])


PAIRS = [
    ("rolling out", "abort", "abort"),
    ("rolling out", "abort", "promote"),
    ("rolling out", "pause", "resume"),
    ("rolling out", "promote", "promote"),
    ("awaiting approval", "abort", "abort"),
    ("rolled back", "retry", "retry"),
]


@pytest.mark.parametrize("works_anywhere", ["sqlite", "postgresql"], indirect=True)
def test_two_people_at_once_are_both_answered_truthfully(works_anywhere: Works):
    """From two threads at the same moment: what is the same is one order; what differs is both kept, and the one that
    takes back wins.
    """
    works = works_anywhere
    for state, left, right in PAIRS if works.world.database is None else PAIRS[:3]:
        change = STATES[state][1](works)
        before = works.world.facts(change).count("change.commanded")
        answers = _at_once(works, change, (left, {}), (right, {}))
        assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
        assert works.world.facts(change).count("change.commanded") == before + len({left, right}), (state, left, right)
        _comes_out(works, change, left)


def _comes_out(works: Works, change: str, verb: str) -> None:
    match verb:
        case "abort":
            works.drive(change, lambda: works.world.change(change).outcome in ENDS["abort"])
            assert "step.skipped" not in works.world.facts(change)
        case "retry":
            works.drive(change, lambda: works.world.change(change).attempt == 2)
        case "promote":
            works.drive(change, lambda: "step.skipped" in works.world.facts(change))
            assert works.world.facts(change).count("step.skipped") == 1
        case _:
            works.world.look(most=1)
            last = [body["verb"] for body in works.world.bodies(change, "change.commanded")][-1]
            assert read_run(_run(works, change)).paused is (last == "pause")


@pytest.mark.parametrize("works_anywhere", ["sqlite", "postgresql"], indirect=True)
def test_an_order_and_the_towers_own_look_at_once_lose_nothing(works_anywhere: Works):
    """People order while the tower is in the middle of its look: every order is taken up, none twice."""
    works = works_anywhere
    change = works.out()
    verbs = itertools.cycle(("pause", "resume"))
    for _ in range(12):
        verb = next(verbs)
        works.world.clock.advance(1)
        works.world.traffic()
        thread = threading.Thread(target=works.give, args=(change, verb))
        thread.start()
        works.world.look(most=1)
        thread.join(20)
        works.world.look(most=1)
        assert read_run(_run(works, change)).paused is (verb == "pause")
    told = works.world.facts(change)
    assert (told.count("rollout.paused"), told.count("rollout.resumed")) == (6, 6)


def _at_once(works: Works, change: str, *orders: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
    answers: dict[int, httpx.Response] = {}
    start = threading.Barrier(len(orders))

    def send(number: int, verb: str, more: dict[str, Any]) -> None:
        start.wait(20)
        answers[number] = works.give(change, verb, **more)

    threads = [threading.Thread(target=send, args=(number, *order)) for number, order in enumerate(orders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [answers[number] for number in range(len(orders))]
