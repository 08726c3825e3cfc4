"""Steers a change from submission to its start, and from its end to its review.

Each phase has one method: read, let pure rules decide, write once. The rollout in between is `fly`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

from airboss.act.rollout import Claim, Plan, Run, claims, compile_plan, read_plan, read_run, repo, rules
from airboss.act.rollout.repo import Command
from airboss.act.targets import Targets
from airboss.changes import Change, Changes, Phase
from airboss.decide.approvals import Approvals, Outcome, Standing
from airboss.decide.calendar import Calendar, Closed
from airboss.decide.policy import ApprovalNeed, Decision, Point, Policies
from airboss.decide.policy import Outcome as Answered
from airboss.kernel import failpoints
from airboss.kernel.canonical import canonical
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, Stale
from airboss.learn.reviews import Reviews
from airboss.people.access import SYSTEM
from airboss.records.journal import Fact
from airboss.records.store import Store, Tx
from airboss.tower.clearance import Clearance, in_words

AGAIN_S: Final = 15.0
PREPARE_S: Final = 10.0
"""How long targets may take to tell their baselines: shorter than the lease."""
CALM_S: Final = 60.0

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

    def __init__(self, *, store: Store, clock: Clock, changes: Changes, policies: Policies) -> None:
        self.store = store
        self.policies = policies
        self.clock = clock
        self.changes = changes

    def scene(self, change_id: str) -> Scene | None:
        """Return what is known of a change, or None if there is none. Three queries."""
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
            )

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
                claims.release(tx, held, now=scene.now, due_at=due, sentence=step.sentence)
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


class Steering:
    """Looks at a change in every phase but the rollout."""

    def __init__(
        self,
        *,
        desk: Desk,
        approvals: Approvals,
        clearance: Clearance,
        calendar: Calendar,
        targets: Targets,
        reviews: Reviews,
        fly: Callable[[Claim, Scene], Any],
    ) -> None:
        self._desk = desk
        self._approvals = approvals
        self._clearance = clearance
        self._calendar = calendar
        self._targets = targets
        self._reviews = reviews
        self._fly = fly

    async def __call__(self, held: Claim) -> None:
        """Look at one claimed change and release the claim."""
        scene = await asyncio.to_thread(self._desk.scene, held.change_id)
        if scene is None:
            return
        match scene.change.phase:
            case Phase.IN_REVIEW:
                await asyncio.to_thread(self._review, held, scene)
            case Phase.AWAITING_APPROVAL:
                await asyncio.to_thread(self._await_people, held, scene)
            case Phase.APPROVED | Phase.SCHEDULED:
                await asyncio.to_thread(self._await_window, held, scene)
            case Phase.VALIDATING:
                await self._validate(held, scene)
            case Phase.ROLLING_OUT | Phase.VERIFYING | Phase.ROLLING_BACK | Phase.ROLLBACK_FAILED | Phase.COMPLETED:
                await self._fly(held, scene)
            case Phase.ROLLED_BACK:
                await asyncio.to_thread(self._open_review, held, scene)
            case Phase.REVIEWING:
                await asyncio.to_thread(self._await_review, held, scene)
            case Phase.DRAFT | Phase.REJECTED | Phase.CANCELLED | Phase.EXPIRED | Phase.CLOSED:
                self._desk.settle(
                    held, scene, Next(sentence=scene.change.sentence, look_in_s=None, taken=scene.commands)
                )

    # -- before people ---------------------------------------------------------------------------------------------

    def _review(self, held: Claim, scene: Scene) -> None:
        """Ask policy whether the change may pass and what it owes."""
        if _cancels(scene):
            return self._cancel(held, scene)
        with self._desk.store.read() as connection:
            asked = self._approvals.of(connection, scene.change.id, SYSTEM)
            if asked is not None and asked.closed_as == Outcome.ASKED and asked.round.decision.endswith(_short(scene)):
                sentence = "Changes were asked for: edit the change and it is reviewed again"
                return self._settle(held, scene, Next(sentence=sentence, look_in_s=None, taken=scene.commands))
            submit = self._clearance.decide(connection, scene.change, Point.SUBMIT)
            approve = self._clearance.decide(connection, scene.change, Point.APPROVE)
        decisions = (submit, approve)
        blocking = next((decision for decision in (submit, approve) if decision.outcome is Answered.BLOCK), None)
        if blocking is not None:
            sentence = f"Refused: {in_words(blocking)}"
            return self._hold_back(held, scene, blocking.point, sentence, decisions)
        disobeyed = self._clearance.disobeys(scene.change, decisions)
        if disobeyed is not None:
            return self._hold_back(held, scene, approve.point, f"Refused: {disobeyed}; edit the plan", decisions)
        lacking = [need for decision in decisions for need in decision.ruling.evidence if not need.met]
        if lacking:
            # People are asked only when the machines have spoken: nobody approves what is not there yet.
            wanted = ", ".join(sorted({f"{need.type} evidence ({need.why})" for need in lacking}))
            return self._hold_back(held, scene, Point.APPROVE, f"Waiting for {wanted}", decisions)
        needs = [need for decision in decisions for need in decision.approvals]
        if needs:
            return self._ask_people(held, scene, needs, decisions)
        return self._settle(
            held,
            scene,
            Next(
                to=Phase.APPROVED,
                sentence=in_words(approve),
                reason=in_words(approve),
                decisions=decisions,
                look_in_s=0.0,
                taken=scene.commands,
            ),
        )

    def _hold_back(
        self,
        held: Claim,
        scene: Scene,
        point: Point,
        sentence: str,
        decisions: tuple[Decision, ...] = (),
        *,
        look_in_s: float = CALM_S,
    ) -> None:
        """Keep a change where it is; the same words again are no news."""
        step = Next(sentence=sentence, look_in_s=look_in_s, taken=scene.commands)
        if scene.change.sentence != sentence:
            news = ("change.held", {"point": str(point), "sentence": sentence})
            step = replace(step, facts=(news,), decisions=decisions)
        self._settle(held, scene, step)

    def _ask_people(
        self, held: Claim, scene: Scene, needs: Sequence[ApprovalNeed], decisions: tuple[Decision, ...]
    ) -> None:
        """Open the round that all the needs together ask for."""
        asking = next(decision for decision in reversed(decisions) if decision.approvals)
        opened = self._clearance.asked(scene.change, needs)

        def also(tx: Tx, change: Change) -> None:
            self._approvals.open_round(
                tx,
                change.id,
                decision=f"{asking.id}:{_short(scene)}",
                choices=opened.choices,
                sections={str(name): found for name, found in change.section_digests().items()},
                excluded=opened.excluded(tx.connection),
                services=frozenset(change.services),
            )

        self._settle(
            held,
            scene,
            Next(
                to=Phase.AWAITING_APPROVAL,
                sentence=in_words(asking),
                reason=in_words(asking),
                decisions=decisions,
                look_in_s=0.0,
                also=also,
                taken=scene.commands,
            ),
        )

    def _await_people(self, held: Claim, scene: Scene) -> None:
        """Count the votes again; a vote made the change due, and so does the end of the round."""
        if _cancels(scene):
            return self._cancel(held, scene)
        with self._desk.store.read() as connection:
            approval = self._approvals.of(connection, scene.change.id, SYSTEM)
        if approval is None:
            raise AssertionError(f"change {scene.change.id} awaits approval without a round")
        standing = approval.standing
        sentence = _public(standing)
        left_s = (approval.round.expires_at - scene.now).total_seconds()
        target = {
            Outcome.APPROVED: Phase.APPROVED,
            Outcome.REJECTED: Phase.REJECTED,
            Outcome.ASKED: Phase.IN_REVIEW,
            Outcome.EXPIRED: Phase.EXPIRED,
        }.get(standing.outcome)
        if target is None:
            wait = min(max(left_s, 1.0), CALM_S)
            return self._settle(held, scene, Next(sentence=sentence, look_in_s=wait, taken=scene.commands))

        def first(tx: Tx) -> None:
            self._approvals.close(tx, scene.change.id, standing.outcome)

        return self._settle(
            held,
            scene,
            Next(to=target, sentence=sentence, reason=sentence, look_in_s=0.0, first=first, taken=scene.commands),
        )

    # -- before the start ------------------------------------------------------------------------------------------

    def _await_window(self, held: Claim, scene: Scene) -> None:
        """Start when the change's window is open; say when that will be."""
        if _cancels(scene):
            return self._cancel(held, scene)
        given = scene.change.expanded()
        late = given.schedule.not_after is not None and scene.now >= given.schedule.not_after
        with self._desk.store.read() as connection:
            window = self._calendar.state(connection, given, scene.now)
        if late:
            sentence = "Expired: the time in which it was to start is over"
            step = Next(to=Phase.EXPIRED, sentence=sentence, reason=sentence, look_in_s=None)
        elif isinstance(window, Closed):
            wait = CALM_S if window.opens_at is None else (window.opens_at - scene.now).total_seconds()
            move = Phase.SCHEDULED if scene.change.phase is Phase.APPROVED else None
            step = Next(to=move, sentence=window.why, reason=window.why, look_in_s=min(max(wait, 0.5), CALM_S))
        else:
            # Asked here first: until validation begins the change can still be edited, which may be the way out.
            obstacle, decision = self._clearance.before_start(scene.change, compile_plan(given))
            if obstacle is not None:
                said = () if decision is None else (decision,)
                return self._hold_back(held, scene, Point.START, _held_before(obstacle), said, look_in_s=AGAIN_S)
            step = Next(to=Phase.VALIDATING, sentence="Checking that everything still holds", look_in_s=0.0)
        return self._settle(held, scene, replace(step, taken=scene.commands))

    async def _validate(self, held: Claim, scene: Scene) -> None:
        """Check that what was approved is what would start, learn the baselines, and begin."""
        if _cancels(scene):
            # Nothing is exposed: the way back is empty, and recorded all the same.
            order = _calling_off(scene)
            ruling = rules.roll_back(scene.run, f"{order.verb} ordered", scene.now)
            plan = scene.plan or compile_plan(scene.change.expanded())
            step = Next(
                to=Phase.ROLLING_BACK,
                sentence=ruling.sentence,
                reason=f"{order.verb} ordered",
                by=order.actor,
                run=ruling.run,
                facts=ruling.facts,
                look_in_s=0.0,
                taken=scene.commands,
            )
            await asyncio.to_thread(self._desk.settle, held, scene, step, plan=plan)
            return
        plan = await asyncio.to_thread(compile_plan, scene.change.expanded())
        obstacle, decision = await asyncio.to_thread(self._clearance.before_start, scene.change, plan)
        said = () if decision is None else (decision,)
        if obstacle is not None:
            # Something moved since it was looked at a moment ago: back to waiting, where it can be edited.
            step = Next(
                to=Phase.SCHEDULED,
                sentence=_held_before(obstacle),
                reason=obstacle,
                facts=(("change.held", {"point": "start", "sentence": obstacle}),),
                decisions=said,
                look_in_s=AGAIN_S,
                taken=scene.commands,
            )
            await asyncio.to_thread(self._desk.settle, held, scene, step)
            return
        try:
            async with asyncio.timeout(PREPARE_S):
                baselines = await self._prepare(scene, plan)
        except (AirbossError, TimeoutError) as fault:
            detail = fault.detail if isinstance(fault, AirbossError) else f"no answer within {PREPARE_S:g} s"
            await asyncio.to_thread(self._hold_back, held, scene, Point.START, _held_before(detail), look_in_s=AGAIN_S)
            return
        ruling = rules.begin(plan, replace(scene.run, baselines=baselines, hold=None), scene.now)
        prepared = tuple(
            ("unit.prepared", {"unit": name, "baseline_percent": one.new_percent, "digest": one.digest})
            for name, one in sorted(baselines.items())
        )
        step = Next(
            to=Phase.ROLLING_OUT,
            sentence="Starting",
            reason="everything still holds",
            run=ruling.run,
            facts=(*prepared, *ruling.facts),
            decisions=said,
            look_in_s=0.0,
            taken=scene.commands,
        )
        await asyncio.to_thread(self._desk.settle, held, scene, step, plan=plan)

    async def _prepare(self, scene: Scene, plan: Plan) -> dict[str, Any]:
        """Learn every unit's baseline. Changes nothing people see, so it may be repeated."""
        baselines = {}
        for unit in plan.units:
            target = self._targets.of(unit.kind)
            key = f"{scene.change.id}/{scene.change.attempt}/prepare/{unit.name}"
            baselines[unit.name] = await target.prepare(unit.ref(scene.change.id), key=key)
        return baselines

    # -- after the end ---------------------------------------------------------------------------------------------

    def _open_review(self, held: Claim, scene: Scene) -> None:
        """Open the review of an ended change, in the transaction that says so."""

        def also(tx: Tx, change: Change) -> None:
            self._reviews.open_for(tx, change.id)

        step = Next(to=Phase.REVIEWING, sentence=scene.change.sentence, look_in_s=0.0, also=also, taken=scene.commands)
        self._settle(held, scene, step)

    def _await_review(self, held: Claim, scene: Scene) -> None:
        """Close the change once its review is; a small good one is closed from the facts."""
        with self._desk.store.read() as connection:
            closed = self._reviews.closed(connection, scene.change.id)
        if not closed:
            step = Next(sentence=f"{scene.change.sentence} The review is open.", look_in_s=None, taken=scene.commands)
        else:
            step = Next(to=Phase.CLOSED, sentence=scene.change.sentence, look_in_s=None, taken=scene.commands)
        self._settle(held, scene, step)

    def _cancel(self, held: Claim, scene: Scene) -> None:
        """Somebody called it off before it started."""
        order = _calling_off(scene)
        self._settle(
            held,
            scene,
            Next(
                to=Phase.CANCELLED,
                sentence=f"Called off by {order.actor_name}",
                reason="called off",
                by=order.actor,
                look_in_s=None,
                first=lambda tx: self._approvals.withdraw(tx, scene.change.id),
                taken=scene.commands,
            ),
        )

    def _settle(self, held: Claim, scene: Scene, step: Next) -> None:
        self._desk.settle(held, scene, step)


CALLS_OFF: Final = frozenset({"abort", "rollback"})


def _calling_off(scene: Scene) -> Command:
    return next(command for command in scene.commands if command.verb in CALLS_OFF)


def _held_before(obstacle: str) -> str:
    return f"Held before the start: {obstacle}"


def _cancels(scene: Scene) -> bool:
    return any(command.verb in CALLS_OFF for command in scene.commands)


def _short(scene: Scene) -> str:
    """Return what tells one content of a change from the next, for the identity of a round."""
    return (scene.change.digest or "")[-16:]


def _public(standing: Standing) -> str:
    """Return where approval stands without naming people, because facts and rows keep it."""
    match standing.outcome:
        case Outcome.APPROVED:
            return "Approved"
        case Outcome.REJECTED:
            return "Rejected by an approver"
        case Outcome.ASKED:
            return "An approver asked for changes: edit the change and it is reviewed again"
        case Outcome.EXPIRED:
            return "Expired: not enough approvals in time"
        case _:
            missing = ", ".join(f"{open_.count} of {open_.group}" for open_ in standing.missing)
            return f"Waiting for approval: {missing or 'nobody can give it'}"


def _stored_run(change: Change) -> Mapping[str, Any] | None:
    return None if change.run is None else cast("Mapping[str, Any]", json.loads(change.run))
