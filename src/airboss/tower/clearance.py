"""Asks policy at each point where facts may have moved, and says what stands in the way.

What was approved is pinned; what is about to happen is compared with it here, before each exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from airboss.act.rollout import Plan, compile_plan, repo, unmet
from airboss.changes import EXECUTED, Change, Changes, section_digests
from airboss.decide.approvals import Approvals, Choice, choices_of
from airboss.decide.calendar import Calendar, Closed, state
from airboss.decide.policy import ApprovalNeed, Decision, Outcome, Point, Policies, sentence
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError
from airboss.people.access import SYSTEM
from airboss.records.store import Store
from airboss.tower.facts import PolicyFacts

Persons = Callable[[Connection, Sequence[str]], Mapping[str, Mapping[str, str]]]
"""Principals by ID: id, name (the handle), kind, role."""

UNKNOWN_PERSON: Final[Mapping[str, str]] = {"name": "unknown", "kind": "system", "role": "viewer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a round asks for, and who played which part in the change."""

    choices: tuple[Choice, ...]
    excluded: Callable[[Connection], Mapping[str, frozenset[str]]]


class Clearance:
    """Decisions of policy about changes."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        changes: Changes,
        policies: Policies,
        approvals: Approvals,
        calendar: Calendar,
        facts: PolicyFacts,
        persons: Persons,
    ) -> None:
        self._calendar = calendar
        self._store = store
        self._clock = clock
        self._changes = changes
        self._policies = policies
        self._approvals = approvals
        self._facts = facts
        self._persons = persons

    def decide(self, connection: Connection, change: Change, point: Point) -> Decision:
        """Ask policy about a change at a point. The engine failing is a decision that blocks, not an error."""
        requester = self._persons(connection, [change.requester]).get(change.requester)
        actor = {"id": change.requester, **(requester or UNKNOWN_PERSON)}
        facts = self._facts.of(connection, change, change.expanded(), actor, self._clock.now())
        return self._policies.decide(point, facts)

    def asked(self, change: Change, needs: Sequence[ApprovalNeed]) -> Asked:
        """Return the round that needs of policy ask for together."""

        def excluded(connection: Connection) -> Mapping[str, frozenset[str]]:
            parts = {"requester": [change.requester], "authors": list(change.authors)}
            known = self._persons(connection, [change.requester, *change.authors])
            # Somebody nobody knows any more stays excluded, by ID: an exclusion never falls silently.
            return {
                part: frozenset(known[one]["name"] if one in known else one for one in who)
                for part, who in parts.items()
            }

        return Asked(choices=choices_of(needs), excluded=excluded)

    def disobeys(self, change: Change, decisions: Sequence[Decision]) -> str | None:
        """Return which obligation the plan of a change does not meet, if there is one."""
        plan = compile_plan(change.expanded())
        return next((words for decision in decisions for words in unmet(decision.obligations, plan)), None)

    def before_start(self, change: Change, plan: Plan) -> tuple[str | None, Decision | None]:
        """Return what stands in the way of the first exposure, if anything, and what policy said."""
        with self._store.read() as connection:
            block = self.block(connection, plan)
            if block is not None:
                return block, None
            drift = self._drift(connection, change)
            if drift is not None:
                return drift, None
            lacking = self._lacking(connection, change)
            if lacking is not None:
                return lacking, None
            decision = self.decide(connection, change, Point.START)
            closed = self._closed(connection, change, decision)
            return closed or self._obstacle(connection, change, decision), decision

    def block(self, connection: Connection, plan: Plan) -> str | None:
        """Return which version of a plan was convicted and is blocked, and the way out, if one is. A query a unit."""
        for unit in plan.units:
            found = repo.blocked(connection, unit.service, unit.digest)
            if found is not None:
                return (
                    f"this version of {unit.service} was taken back by change {found.change_id} "
                    f"({found.sentence}); a person must lift the block: airboss version lift {unit.service} {unit.digest}"
                )
        return None

    def before_promotion(self, change: Change) -> tuple[str | None, Decision]:
        """Return what stands in the way of the next exposure, if anything, and what policy said."""
        with self._store.read() as connection:
            decision = self.decide(connection, change, Point.PROMOTE)
            drift = self._drift(connection, change)
            return drift or self._obstacle(connection, change, decision), decision

    def _drift(self, connection: Connection, change: Change) -> str | None:
        """Return how what would be carried out differs from what was approved, if it does."""
        if change.spec is None:
            raise AssertionError(f"change {change.id} starts without a spec")
        approved = change.section_digests()
        now = section_digests(change.spec)
        moved = sorted(str(section) for section in EXECUTED if approved.get(section) != now[section])
        if moved:
            return f"the {' and '.join(moved)} of this change is not what was approved"
        given = change.expanded()
        try:
            seen = self._changes.pins(connection, given)
        except AirbossError as fault:
            return fault.detail
        for subject, digest in sorted(given.pinned.items()):
            if seen.get(subject) != digest:
                return f"{subject} was changed after it was approved; edit the change to have it reviewed again"
        return None

    def _lacking(self, connection: Connection, change: Change) -> str | None:
        """Return what machines have not said yet and its kind expects, if anything. No policy need ask for it."""
        expected = change.expanded().evidence
        told = self._facts.evidence(connection, change, self._clock.now()) if expected else {}
        missing = [kind for kind in expected if not told.get(kind, {}).get("green")]
        if not missing:
            return None
        return (
            f"it starts once {' and '.join(missing)} is green for what it carries; "
            f"tell it: airboss change evidence {change.id} --green --source …"
        )

    def _closed(self, connection: Connection, change: Change, decision: Decision) -> str | None:
        """Return why the schedule policy asks for does not let the change start now, if it does not."""
        asked, now = decision.ruling.schedule, self._clock.now()
        if asked.not_before is not None and now < asked.not_before:
            return f"policy lets it start at {asked.not_before:%Y-%m-%d %H:%M} UTC"
        windows, reach = self._calendar.windows(connection), self._calendar.reach(connection, change.expanded())
        for name in asked.windows:
            answer = state(windows, reach, now, named=name)
            if isinstance(answer, Closed):
                return f"policy lets it start only in the window {name}: {answer.why}"
        return None

    def _obstacle(self, connection: Connection, change: Change, decision: Decision) -> str | None:
        """Return why a decision does not let the change go on. Approvals that were given count."""
        if decision.outcome is Outcome.ALLOW:
            return None
        if decision.outcome is Outcome.BLOCK:
            return in_words(decision)
        missing = [need for need in decision.ruling.evidence if not need.met]
        if missing:
            return in_words(decision)
        approval = self._approvals.of(connection, change.id, SYSTEM)
        given = set() if approval is None or approval.closed_as != "approved" else approval.round.groups
        wanted = {seats.group for need in decision.approvals for seats in need.groups}
        if wanted <= given:
            return None
        return (
            f"policy now also asks for {', '.join(sorted(wanted - given))}; edit the change to have it reviewed again"
        )


def in_words(decision: Decision) -> str:
    """Return a decision in one sentence that names its reasons, and for a refusal the way out."""
    if decision.outcome is not Outcome.BLOCK:
        return sentence(decision)
    first = decision.denials[0]
    more = len(decision.denials) - 1
    rest = f" (and {more} more reason{'s' if more > 1 else ''})" if more else ""
    return f"{first.message}{rest}. Way out: {first.way_out}"
