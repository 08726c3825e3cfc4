"""Edits against votes: whatever is edited and said, in any order, a decision rests only on votes for what is decided.

The model knows nothing of digests: it remembers what each section said when somebody voted. A vote counts where the
sections it answers for say again what they said then, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, combinations, permutations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.tower.invariants import check
from tests.tower.world import CATALOG, Nature, World, quick_folder

from airboss.decide.approvals import Approval, CastVote, Outcome, Verdict
from airboss.kernel.errors import AirbossError
from airboss.people.access import LOCAL, Actor, Role
from airboss.people.identity import AddPerson

SECTIONS = ("intent", "scope", "payload", "plan", "way_back", "schedule", "presentation")
BOUND = frozenset(SECTIONS) - {"presentation"}
GROUPS = {
    "builders": {"dev-a", "v-1", "v-2", "v-3"},
    "operators": {"v-3", "v-4"},
    "leads": {"dev-a", "v-1", "v-5"},
    "legal": {"v-2", "v-5"},
    "security": {"v-4", "v-6"},
}
VOTERS = [f"v-{number}" for number in range(1, 7)]
LASTS = timedelta(hours=72)


@dataclass(frozen=True)
class Asked:
    """What the pack below asks of one group."""

    group: str
    least: int
    covers: frozenset[str]


ALL = (Asked("builders", 2, frozenset({"payload", "plan"})), Asked("operators", 1, frozenset({"way_back", "schedule"})))
SOME = (
    Asked("leads", 1, BOUND),
    Asked("legal", 1, frozenset({"intent", "scope"})),
    Asked("security", 1, frozenset({"payload", "scope"})),
)
TAKE = 2

PACK = """
---
apiVersion: airboss/v1
kind: PolicyPack
metadata: {name: votes, version: 1}
spec:
  owner: platform
  layer: compliance
  rules:
    - id: BUILT-AND-RUN
      title: Two who build and one who runs it
      at: [approve]
      when: 'change.kind == "flag-ramp"'
      effect:
        require_approval:
          all_of:
            - {group: builders, least: 2, covers: [payload, plan]}
            - {group: operators, least: 1, covers: [way_back, schedule]}
          distinct_from: [requester, authors]
    - id: TWO-OF-THREE
      title: Two of three
      at: [approve]
      when: 'change.kind == "flag-ramp"'
      effect:
        require_approval:
          any_of:
            - {group: leads}
            - {group: legal, covers: [intent, scope]}
            - {group: security, covers: [payload, scope]}
          take: 2
          distinct_from: [requester, authors]
  tests:
    - name: a ramp
      at: approve
      input: {change: {kind: flag-ramp}}
      expect: {fired: [BUILT-AND-RUN, TWO-OF-THREE]}
    - name: a release
      at: approve
      input: {change: {kind: service-release}}
      expect: {not_fired: [BUILT-AND-RUN, TWO-OF-THREE]}
"""
ORGANISATION = "".join(
    f"---\napiVersion: airboss/v1\nkind: Group\nmetadata: {{name: {name}}}\nspec: {{members: [{', '.join(sorted(who))}]}}\n"
    for name, who in GROUPS.items()
)


def document(said: Mapping[str, int]) -> str:
    """Return a change whose every section says one of three things."""
    return f"""
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: Title {said["presentation"]}
  why: Reason {said["intent"]}
  services: [checkout]
  regions: [region-{said["scope"]}]
  artifact: {{version: "1.{said["payload"]}", digest: "sha256:{str(said["payload"]) * 64}"}}
  owner: {{team: payments}}
  impact: {{users_percent: 5, reversible: true, data: none}}
  rollback: {{plan: way back {said["way_back"]}}}
  schedule: {{not_before: "2099-01-0{said["schedule"] + 1}T00:00:00Z"}}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {{flag: {{name: tax.engine, old: "off", new: "on"}}}}
        steps:
          - {{expose: 5%, bake: {{least: 5s, most: {30 + said["plan"]}s}}}}
          - {{expose: 100%, bake: {{least: 5s, most: 30s}}}}
    gates: [data]
"""


@dataclass(frozen=True)
class Said:
    """What somebody said, about which content."""

    person: str
    verdict: Verdict
    content: Mapping[str, int]


people = st.sampled_from([*VOTERS, "dev-a", "dev-b"])


class Votes(RuleBasedStateMachine):
    """One change at a time, edited and voted on until it is over; then the next."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = World(
            self.stack.enter_context(quick_folder()),
            nature=Nature(per_s=1, seen=False),
            catalog=CATALOG + ORGANISATION + PACK,
        )
        for handle in VOTERS:
            added = self.world.house.identity.persons.add(AddPerson(handle=handle, role=Role.ENGINEER), LOCAL)
            self.world.people[handle] = Actor(
                id=added.id,
                name=handle,
                kind="person",
                role=Role.ENGINEER,
                scopes=None,
                service=None,
                via="session:test",
            )

    @initialize()
    def begin(self) -> None:
        self._propose()

    def _propose(self) -> None:
        self.content = dict.fromkeys(SECTIONS, 0)
        self.authors = {"dev-a"}
        self.said: list[Said] = []
        self.digests: list[str] = []
        self.round: str | None = None
        self.round_authors: frozenset[str] = frozenset()
        self.ends: datetime | None = None
        self.change = self.world.propose(document(self.content))
        self._look()

    def _look(self) -> None:
        self.world.look()
        seen = self.world.change(self.change)
        if seen.digest is not None and seen.digest not in self.digests:
            self.digests.append(seen.digest)
        approval = self._approval()
        if approval is not None and approval.closed_at is None and approval.round.id != self.round:
            self.round, self.round_authors = approval.round.id, frozenset(self.authors)
            self.ends = self.world.clock.now() + LASTS

    def _approval(self) -> Approval | None:
        with self.world.house.store.read() as connection:
            return self.world.house.approvals.of(connection, self.change, self.world.people["root"])

    # -- the model -------------------------------------------------------------------------------------------------

    def _may(self, asked: Asked) -> set[str]:
        return GROUPS[asked.group] - {"dev-a"} - self.round_authors

    def _approvals(self, person: str) -> list[Said]:
        """What somebody approved and did not take back since."""
        standing: list[Said] = []
        for one in self.said:
            if one.person == person and one.verdict is Verdict.APPROVE:
                standing.append(one)
            elif one.person == person and one.verdict is Verdict.ASK:
                standing = []
        return standing

    def _holds(self, person: str, asked: Asked) -> bool:
        return person in self._may(asked) and any(
            all(one.content[section] == self.content[section] for section in asked.covers)
            for one in self._approvals(person)
        )

    def _agreed(self) -> bool:
        """Try every way: do distinct people fill every seat?"""
        for taken in combinations(SOME, TAKE):
            seats = list(chain.from_iterable([asked] * asked.least for asked in (*ALL, *taken)))
            for order in permutations(VOTERS, len(seats)):
                if all(self._holds(person, asked) for person, asked in zip(order, seats, strict=True)):
                    return True
        return False

    # -- what people do --------------------------------------------------------------------------------------------

    @rule(
        section=st.sampled_from(SECTIONS), says=st.integers(0, 2), by=st.sampled_from(["dev-a"] * 5 + ["dev-b", "v-6"])
    )
    def edit(self, section: str, says: int, by: str) -> None:
        """Change one section; others must be left exactly as they are."""
        before = self.world.change(self.change)
        after = {**self.content, section: says}
        self.world.edit(self.change, document(after), by)
        now = self.world.change(self.change)
        moved = {str(name) for name, found in now.section_digests().items() if before.section_digests()[name] != found}
        assert moved == ({section} if after != self.content else set())
        if after != self.content:
            self.authors.add(by)
        self.content = after
        if moved - {"presentation"}:
            assert now.phase.value == "in_review"

    @rule(
        person=people, verdict=st.sampled_from([Verdict.APPROVE] * 12 + [Verdict.ASK, Verdict.ABSTAIN, Verdict.COMMENT])
    )
    def vote(self, person: str, verdict: Verdict) -> None:
        """Say something about what is there; whoever may not is refused and counts for nothing."""
        self._cast(person, verdict)

    @rule(persons=st.permutations(VOTERS))
    def all_approve(self, persons: list[str]) -> None:
        """Everybody approves, one after the other."""
        for person in persons[:5]:
            self._cast(person, Verdict.APPROVE)

    @precondition(lambda self: len(self.digests) > 1)
    @rule(person=people, data=st.data())
    def vote_on_what_was(self, person: str, data: st.DataObject) -> None:
        """A vote that saw another content is refused."""
        now = self.world.change(self.change).digest
        seen = data.draw(st.sampled_from([digest for digest in self.digests if digest != now]), label="seen")
        before = self.world.facts(self.change).count("vote.cast")
        with pytest.raises(AirbossError) as refusal:
            self._say(person, Verdict.APPROVE, seen)
        assert refusal.value.code in ("change-moved-on", "no-approval-asked")
        assert self.world.facts(self.change).count("vote.cast") == before

    @rule(person=st.sampled_from(VOTERS))
    def reject(self, person: str) -> None:
        """One no ends it, once enough was said to make that rare."""
        if len(self.said) > 8 and self._cast(person, Verdict.REJECT):
            self._look()
            assert self.world.phase(self.change) == "rejected"

    @rule(hours=st.sampled_from([1, 30, 80]))
    def wait(self, hours: int) -> None:
        """Time passes; a round that lasts too long ends."""
        self.world.clock.advance(hours * 3600)

    def _say(self, person: str, verdict: Verdict, seen: str) -> None:
        command = CastVote(change=self.change, verdict=verdict, seen=seen, comment="as I see it")
        self.world.house.approvals.vote(command, self.world.people[person])

    def _refusal(self, person: str, verdict: Verdict) -> str | None:
        try:
            self._say(person, verdict, self.world.change(self.change).digest or "")
        except AirbossError as refusal:
            return refusal.code
        return None

    def _cast(self, person: str, verdict: Verdict) -> bool:
        may = {one for asked in (*ALL, *SOME) for one in self._may(asked)}
        over = self.ends is not None and self.world.clock.now() >= self.ends
        refused = self._refusal(person, verdict)
        if refused is not None:
            assert refused in ("no-approval-asked", "round-over", "already-approved") or person not in may
            return False
        if verdict is not Verdict.COMMENT:
            assert person in may
            assert not over
        self.said.append(Said(person, verdict, dict(self.content)))
        return True

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def votes_count_where_they_were_meant(self) -> None:
        """While people are asked: seats, what is stale and whether it is enough are what the model says."""
        approval = self._approval()
        if approval is None or approval.closed_at is not None or self.world.phase(self.change) != "awaiting_approval":
            return
        standing = approval.standing
        seated = [seat.person for seat in standing.seats]
        assert len(seated) == len(set(seated))
        for seat in standing.seats:
            assert any(self._holds(seat.person, asked) for asked in (*ALL, *SOME) if asked.group == seat.group)
        if standing.outcome is not Outcome.ASKED:
            assert (standing.outcome is Outcome.APPROVED) == self._agreed()
        void = {
            person
            for person in VOTERS
            if self._approvals(person)
            and any(person in self._may(asked) for asked in (*ALL, *SOME))
            and not any(self._holds(person, asked) for asked in (*ALL, *SOME))
        }
        assert set(standing.stale) == void

    @invariant()
    def a_decision_rests_on_votes_for_what_it_decides(self) -> None:
        """The tower looks: approved exactly when the model agrees about the very content; ended, the next one begins."""
        asked = self._approval()
        waits = self.world.phase(self.change) == "awaiting_approval" and asked is not None
        outcome = asked.standing.outcome if asked is not None and waits else None
        self._look()
        phase = self.world.phase(self.change)
        if phase in ("approved", "scheduled"):
            assert self._agreed()
        if outcome is Outcome.APPROVED:
            assert phase in ("approved", "scheduled")
        if phase in ("rejected", "expired", "cancelled"):
            self._propose()

    def teardown(self) -> None:
        check(self.world.house)
        self.world.close()
        self.stack.close()


Votes.TestCase.settings = settings(
    max_examples=6,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestVotes = Votes.TestCase
