"""People and the tower act in any order, production misbehaves, the server dies: what must always hold, holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.tower.invariants import check
from tests.tower.test_orders import FREEZE
from tests.tower.world import PEOPLE, QUICK, Nature, World, quick_folder, ramp

from airboss.changes import Cancel
from airboss.decide.approvals import CastVote, Verdict
from airboss.kernel.errors import AirbossError
from airboss.testing.targets import Unsteady

STEPS = """
          - {expose: 5%, bake: {least: 5s, most: 30s}}
          - {ask: payments-leads, expires: 2m}
          - {expose: 100%, bake: {least: 5s, most: 30s}}
"""
PLAIN = """
          - {expose: 20%, bake: {least: 5s, most: 30s}}
          - {expose: 20%, bake: {least: 5s, most: 30s}}
          - {expose: 100%, bake: {least: 5s, most: 30s}}
"""
DOCUMENTS = [
    ramp(users=users, steps=steps, gates=QUICK, on_error="30s", on_inconclusive=f"{{hold: 10s, then: {then}}}")
    for users, steps, then in ((5, PLAIN, "extend"), (5, STEPS, "ask"), (40, PLAIN, "rollback"), (40, STEPS, "extend"))
]
people = st.sampled_from(sorted(PEOPLE))
documents = st.sampled_from(DOCUMENTS)
verbs = st.sampled_from(["pause", "resume", "promote", "promote", "abort", "rollback", "retry"])


class Lifecycle(RuleBasedStateMachine):
    """One flag, a handful of changes to it, and everybody at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = World(self.stack.enter_context(quick_folder()), nature=Nature(per_s=10))
        self.changes: list[str] = []
        self._behind_a_bad_line()

    def _behind_a_bad_line(self) -> None:
        adapters = self.world.house.targets._adapters
        self.line = Unsteady(adapters["flag"])
        adapters["flag"] = self.line

    @contextlib.contextmanager
    def _refused(self) -> Iterator[None]:
        """What people do may be refused, in words; anything else is a fault."""
        try:
            yield
        except AirbossError as refusal:
            if not refusal.detail:
                raise

    def _one(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.changes[-3:]), label="change")

    # -- people ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.changes) < 5)
    @rule(document=documents, by=people)
    def propose(self, document: str, by: str) -> None:
        with self._refused():
            self.changes.append(self.world.propose(document, by=by))

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), document=documents, by=people)
    def edit(self, data: st.DataObject, document: str, by: str) -> None:
        with self._refused():
            self.world.edit(self._one(data), document, by)

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), by=people, verdict=st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, *Verdict]))
    def vote(self, data: st.DataObject, by: str, verdict: Verdict) -> None:
        change = self._one(data)
        seen = self.world.change(change).digest or ""
        with self._refused():
            vote = CastVote(change=change, verdict=verdict, seen=seen, comment="as I see it")
            self.world.house.approvals.vote(vote, self.world.people[by])

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), by=people, verb=verbs)
    def order(self, data: st.DataObject, by: str, verb: str) -> None:
        with self._refused():
            self.world.order(self._one(data), verb, by)

    @precondition(lambda self: self.changes)
    @rule(data=st.data(), by=people)
    def cancel(self, data: st.DataObject, by: str) -> None:
        change = self._one(data)
        with self._refused():
            cancel = Cancel(change_id=change, reason="not now", expected_version=self.world.change(change).version)
            self.world.house.changes.cancel(cancel, actor=self.world.people[by])

    @rule(on=st.booleans())
    def kill_switch(self, on: bool) -> None:
        flags, root = self.world.house.flags, self.world.people["root"]
        with self._refused():
            if on:
                flags.kill("tax.engine", "support calls", actor=root)
            else:
                flags.unkill("tax.engine", actor=root)

    @rule()
    def freeze(self) -> None:
        with self._refused():
            self.world.apply(FREEZE)

    # -- production ------------------------------------------------------------------------------------------------

    @rule(seen=st.booleans())
    def telemetry(self, seen: bool) -> None:
        self.world.nature.seen = seen

    @rule(away=st.booleans(), loses=st.integers(0, 2), swallows=st.integers(0, 2))
    def target(self, away: bool, loses: int, swallows: int) -> None:
        self.line.script.away = away
        self.line.script.loses_answers = loses
        self.line.script.swallows = swallows

    # -- time and the server ---------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 2, 6, 20]))
    def time_passes(self, seconds: int) -> None:
        self.world.run(seconds, step_s=1 if seconds < 6 else 3)

    @rule(most=st.integers(1, 2))
    def a_moment(self, most: int) -> None:
        self.world.clock.advance(0.25)
        self.world.look(most=most)

    @rule(seconds=st.sampled_from([60, 400, 4000, 300_000]))
    def time_jumps(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self.world.traffic()
        self.world.look()

    @rule()
    def restart(self) -> None:
        script = self.line.script
        self.world.restart()
        self._behind_a_bad_line()
        self.line.script = script

    # -- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        check(self.world.house, audit=False)

    def teardown(self) -> None:
        try:
            check(self.world.house)
            self._nobody_waits_for_ever()
        finally:
            self.world.close()
            self.stack.close()

    def _nobody_waits_for_ever(self) -> None:
        """With the target back and every change aborted, all are over soon and nobody has a new side by them."""
        self.line.script = type(self.line.script)()
        for change in self.changes:
            for verb in ("abort", "retry"):
                with self._refused():
                    self.world.order(change, verb)
        for _ in range(8):
            self.world.clock.advance(15)
            self.world.look()
        over = {"reviewing", "closed", "cancelled", "rejected", "expired"}
        assert {self.world.phase(change) for change in self.changes} <= over
        check(self.world.house)


Lifecycle.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is told as it came: making it smaller takes minutes
    suppress_health_check=list(HealthCheck),
)


class TestLifecycle(Lifecycle.TestCase):
    """Whatever people, production and time do in whatever order: transitions, facts, effects and exposure agree."""


@pytest.mark.slow
@pytest.mark.timeout(3_600)
class TestLifecycleAtLength(Lifecycle.TestCase):
    """The same, for longer and from other beginnings each time."""

    settings = settings(
        max_examples=150,
        stateful_step_count=60,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
