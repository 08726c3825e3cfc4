"""The tower's desk: what is read of a change before a look, what a look comes to, and the one way it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from airboss.act.rollout import Claim, Plan, Run, claims, read_plan, read_run, repo
from airboss.act.rollout.repo import Command
from airboss.changes import Change, Changes, Phase
from airboss.decide.policy import Decision, Policies
from airboss.kernel import failpoints
from airboss.kernel.canonical import canonical
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, Stale
from airboss.people.access import SYSTEM
from airboss.records.journal import Fact
from airboss.records.store import Store, Tx

FactPart = tuple[str, Mapping[str, Any]]
"""A fact's type and body; subject and actor are the change's and the tower's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the tower reads of a change before it looks: one snapshot."""

    change: Change
    plan: Plan | None
    run: Run
    commands: Sequence[Command]
    effects: Sequence[repo.Effect]
    now: datetime
    shared: datetime
    """`now` by the clock that leases and deadlines of effects are measured by."""
    doubt: str | None = None
    """Why `now` cannot be believed, None where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What a look comes to: perhaps another phase, perhaps facts, and when to look again (None: when poked)."""

    sentence: str
    look_in_s: float | None
    to: Phase | None = None
    reason: str = ""
    by: str = SYSTEM.id
    run: Run | None = None
    outcome: str | None = None
    attempt: int | None = None
    facts: tuple[FactPart, ...] = ()
    decisions: tuple[Decision, ...] = ()
    """What policy said, to be kept with what followed from it."""
    first: Callable[[Tx], None] | None = None
    """What must be said before the change moves, because its record may close."""
    also: Callable[[Tx, Change], None] | None = None
    """Rows of other rooms that belong into the same transaction."""
    taken: Sequence[Command] = ()


class Desk:
    """Reads scenes and writes what a look came to; shared by the two steering parts."""

    def __init__(
        self, *, store: Store, clock: Clock, changes: Changes, policies: Policies, doubt: Callable[[], str | None]
    ) -> None:
        self.store = store
        self._doubt = doubt
        self.policies = policies
        self.clock = clock
        self.changes = changes

    def scene(self, change_id: str) -> Scene | None:
        """Return what is known of a change, or None if there is none. Three queries, and now and then the clock's own."""
        doubt = self._doubted()
        with self.store.read() as connection:
            found = next(iter(self.changes.read_many(connection, [change_id])), None)
            if found is None:
                return None
            stored = _stored_run(found)
            return Scene(
                change=found,
                plan=None if stored is None else read_plan(stored["plan"]),
                run=Run() if stored is None else read_run(stored["run"]),
                commands=repo.waiting_commands(connection, change_id),
                effects=repo.effects_of(connection, change_id),
                now=self.clock.now(),
                shared=self.store.now(connection),
                doubt=doubt,
            )

    def _doubted(self) -> str | None:
        """Return why the clock is doubted. That it could not be asked keeps nothing from being taken back."""
        try:
            return self._doubt()
        except AirbossError as fault:
            return f"the clock could not be held against the record: {fault.detail}"

    def settle(self, held: Claim, scene: Scene, step: Next, *, keep: bool = False, plan: Plan | None = None) -> Change:
        """Write what a look came to, in one transaction. With `keep` the claim stays, because effects follow.

        Raises Stale when somebody raised the fence or moved the change meanwhile.
        """
        failpoints.reach("tower.before_decide")
        change = scene.change
        with self.store.write() as tx:
            if step.to is not None or step.facts or step.decisions or step.taken or step.also is not None:
                tx.lock(change.id)
                if not claims.still_held(tx, held):
                    raise Stale(f"somebody else took over change {change.id}")
                if step.first is not None:
                    step.first(tx)
                for decision in step.decisions:
                    self.policies.record(tx, decision, subject=change.id)
                change = self._move(tx, scene, step, plan)
                if step.taken:
                    repo.take(tx, step.taken, scene.now)
                if step.also is not None:
                    step.also(tx, change)
            if not keep:
                due = None if step.look_in_s is None else scene.now + timedelta(seconds=step.look_in_s)
                urgent = change.phase is Phase.ROLLING_BACK
                claims.release(tx, held, now=scene.now, due_at=due, sentence=step.sentence, urgent=urgent)
        failpoints.reach("tower.after_decide")
        return change

    def _move(self, tx: Tx, scene: Scene, step: Next, plan: Plan | None) -> Change:
        """Write the change's row with the facts that explain it; nothing to explain means nothing to write."""
        change = scene.change
        facts = [Fact(subject=change.id, type=kind, actor=SYSTEM.id, body=dict(body)) for kind, body in step.facts]
        kept = plan if plan is not None else scene.plan
        run = step.run if step.run is not None else scene.run
        stored = None if kept is None else canonical({"format": 1, "plan": kept.stored(), "run": run.stored()})
        if step.to is not None:
            return self.changes.move(
                tx,
                change,
                to=step.to,
                by=replace(SYSTEM, id=step.by),
                reason=step.reason,
                sentence=step.sentence,
                facts=facts,
                run=stored,
                outcome=step.outcome,
                attempt=step.attempt,
            )
        if not facts:
            if step.run is not None and step.run != scene.run:
                raise AssertionError(f"change {change.id} would change without a fact")
            return change
        return self.changes.advance(tx, change, facts=facts, run=stored, sentence=step.sentence)


def _stored_run(change: Change) -> Mapping[str, Any] | None:
    return None if change.run is None else cast("Mapping[str, Any]", json.loads(change.run))
