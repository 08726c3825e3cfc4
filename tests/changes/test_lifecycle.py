"""The lifecycle as a machine: whatever is tried, only legal moves happen, each with its fact."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.changes.desk import DEV, RAMP, Desk

from airboss.changes import FACTS, MOVES, OVER, STARTED, Create, Phase, Submit, row_digest
from airboss.kernel.errors import Refused, Stale
from airboss.kernel.ids import TimeOrderedIds
from airboss.people.access import SYSTEM
from airboss.records.journal import Fact, Journal
from airboss.records.store import open_store
from airboss.testing import ManualClock, SeededChance


def test_every_phase_can_be_reached_and_left():
    """From a draft every phase is reachable, and from every phase an end is."""
    reached, waiting = {Phase.DRAFT}, [Phase.DRAFT]
    while waiting:
        for after in MOVES[waiting.pop()] - reached:
            reached.add(after)
            waiting.append(after)
    assert reached == set(Phase)
    assert {Phase.CLOSED, Phase.REJECTED, Phase.CANCELLED, Phase.EXPIRED} == OVER
    assert set(FACTS) == set(Phase)


@pytest.mark.parametrize("phase", sorted(STARTED - {Phase.ROLLING_BACK}))
def test_whatever_has_started_can_be_taken_back(phase):
    """Rolling back is legal from every phase in which the change may be in the world."""
    assert Phase.ROLLING_BACK in MOVES[phase]


class Life(RuleBasedStateMachine):
    """Two people with their own picture of one change, moving it as they like."""

    @initialize()
    def propose(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        clock, chance = ManualClock(), SeededChance(3)
        ids = TimeOrderedIds(clock, chance)
        self.store = open_store(f"sqlite:///{Path(self.folder.name) / 'life.db'}", clock=clock)
        self.store.create()
        journal = Journal(self.store, clock=clock, ids=ids, chance=chance)
        journal.open()
        self.desk = Desk(self.store, journal, clock, ids).furnish()
        created = self.desk.changes.create(Create(data=RAMP), actor=DEV)
        self.seen = [created, created]
        self.now = created
        self.transitions = 1

    @rule(who=st.integers(0, 1), to=st.sampled_from(Phase))
    def move(self, who: int, to: Phase) -> None:
        held = self.seen[who]
        try:
            with self.store.write() as tx:
                moved = self.desk.changes.move(tx, held, to=to, by=SYSTEM, reason="tried")
        except Refused:
            assert to not in MOVES[held.phase]
        except Stale:
            assert held.version != self.now.version
        else:
            assert held.version == self.now.version
            assert to in MOVES[held.phase]
            self._happened(who, moved)

    @rule(who=st.integers(0, 1), fence=st.booleans())
    def decide(self, who: int, fence: bool) -> None:
        held = self.seen[who]
        fact = Fact(subject=held.id, type="change.decided", actor="system")
        try:
            with self.store.write() as tx:
                moved = self.desk.changes.advance(tx, held, facts=[fact], run=b"{}", raise_fence=fence)
        except Stale:
            assert held.version != self.now.version
        except Refused:
            assert held.phase in OVER
        else:
            assert moved.fence == held.fence + fence
            self._happened(who, moved)

    @precondition(lambda self: self.now.phase is Phase.DRAFT)
    @rule(who=st.integers(0, 1))
    def submit(self, who: int) -> None:
        moved = self.desk.changes.submit(Submit(change_id=self.now.id), actor=DEV)
        assert moved.spec is not None
        self._happened(who, moved)

    @rule(who=st.integers(0, 1))
    def look(self, who: int) -> None:
        self.seen[who] = self.desk.changes.get(self.now.id, actor=DEV)
        assert self.seen[who] == self.now

    def _happened(self, who: int, moved) -> None:
        self.seen[who] = self.now = moved
        self.transitions += 1

    @invariant()
    def facts_are_transitions(self) -> None:
        """One fact a transition, numbered without gap, the last with the digest of the row; closed iff over."""
        if not hasattr(self, "now"):
            return
        facts = self.desk.facts(self.now.id)
        assert [fact.subject_seq for fact in facts] == list(range(1, self.transitions + 1))
        assert self.now.version == self.transitions
        last = json.loads(facts[-1].stored)
        assert last["state_digest"] == row_digest(self.now)
        assert ("closes_after" in last) == (self.now.phase in OVER)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=8, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
