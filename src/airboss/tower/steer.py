"""Steers a change from submission to its start, and from its end to its review.

Each phase has one method: read, let pure rules decide, write once. The rollout in between is `fly`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from airboss.act.rollout import Claim, Plan, Run, compile_plan, rules
from airboss.act.rollout.repo import Command
from airboss.act.targets import Targets
from airboss.changes import Change, Phase
from airboss.decide.approvals import Approval, Approvals, Choice, Outcome, Standing, asks_no_more, unite
from airboss.decide.calendar import Calendar, Closed
from airboss.decide.policy import ApprovalNeed, Decision, Point
from airboss.decide.policy import Outcome as Answered
from airboss.kernel.clock import APART_MOST
from airboss.kernel.errors import AirbossError
from airboss.learn.reviews import Reviews
from airboss.people.access import SYSTEM
from airboss.records.store import Tx
from airboss.tower.clearance import Clearance, in_words
from airboss.tower.desk import Desk, Next, Scene

AGAIN_S: Final = 15.0
PREPARE_S: Final = 10.0
"""How long targets may take to tell their baselines: shorter than the lease."""
CALM_S: Final = 60.0

_TIMED: Final = frozenset({Phase.IN_REVIEW, Phase.AWAITING_APPROVAL, Phase.APPROVED, Phase.SCHEDULED, Phase.VALIDATING})
"""Phases that end by what time it is, among other things, and that hold nothing exposed."""


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
        if scene is None or (scene.doubt is not None and await asyncio.to_thread(self._held_by_the_clock, held, scene)):
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

    def _held_by_the_clock(self, held: Claim, scene: Scene) -> bool:
        """Return whether a change waits because the clock is doubted: windows, votes and ages mean nothing by a wrong one.

        Calling it off never waits; other orders stay until they can be carried out.
        """
        if scene.change.phase not in _TIMED or _cancels(scene):
            return False
        self._settle(held, scene, Next(sentence=f"Held: {scene.doubt}", look_in_s=AGAIN_S))
        return True

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
            block = self._clearance.block(connection, compile_plan(scene.change.expanded()))
        if asked is not None and _opened_ahead(asked, scene):
            return self._expire(held, scene)
        decisions = (submit, approve)
        blocking = next((decision for decision in (submit, approve) if decision.outcome is Answered.BLOCK), None)
        if blocking is not None:
            sentence = f"Refused: {in_words(blocking)}{'' if block is None else f'; {block}'}"
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
        # What was asked of people about this very content stays asked, whatever the packs in force say by now.
        before = asked.round.choices if asked is not None and asked.round.decision.endswith(_short(scene)) else ()
        if needs or before:
            return self._ask_people(held, scene, needs, decisions, before=before)
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
        self,
        held: Claim,
        scene: Scene,
        needs: Sequence[ApprovalNeed],
        decisions: tuple[Decision, ...],
        *,
        before: Sequence[Choice] = (),
    ) -> None:
        """Open the round that all the needs together ask for, and what was asked before about the same content."""
        asking = next((decision for decision in reversed(decisions) if decision.approvals), decisions[-1])
        opened = self._clearance.asked(scene.change, needs)
        words = in_words(asking) if needs else "Waiting for what was asked before other packs came in force"

        def also(tx: Tx, change: Change) -> None:
            self._approvals.open_round(
                tx,
                change.id,
                decision=f"{asking.id}:{_short(scene)}",
                choices=unite(opened.choices, before),
                sections={str(name): found for name, found in change.section_digests().items()},
                excluded=opened.excluded(tx.connection),
                services=frozenset(change.services),
            )

        self._settle(
            held,
            scene,
            Next(
                to=Phase.AWAITING_APPROVAL,
                sentence=words,
                reason=words,
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
            outdated = self._desk.policies.outdated(connection, scene.change.id)
        if approval is None:
            raise AssertionError(f"change {scene.change.id} awaits approval without a round")
        if outdated:
            return self._decided_anew(held, scene, approval)
        if _opened_ahead(approval, scene):
            return self._expire(held, scene)
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

    def _decided_anew(self, held: Claim, scene: Scene, approval: Approval | None) -> None:
        """Ask policy again, for other packs are in force than when it spoke last.

        Where nothing more is asked than people are, or have, agreed to, the new decisions are kept and all goes on;
        else the change is reviewed again. Votes on what did not change count in the next round.
        """
        with self._desk.store.read() as connection:
            points = (Point.SUBMIT, Point.APPROVE)
            decisions = tuple(self._clearance.decide(connection, scene.change, point) for point in points)
        needs = [need for decision in decisions for need in decision.approvals]
        wanted = self._clearance.asked(scene.change, needs).choices
        passes = all(
            decision.outcome is not Answered.BLOCK and all(need.met for need in decision.ruling.evidence)
            for decision in decisions
        )
        asked = () if approval is None else approval.round.choices
        if passes and asks_no_more(wanted, asked) and self._clearance.disobeys(scene.change, decisions) is None:
            step = Next(sentence=scene.change.sentence, look_in_s=0.0, decisions=decisions, taken=scene.commands)
        else:
            sentence = "In review again: other policy packs came in force"
            step = Next(
                to=Phase.IN_REVIEW,
                sentence=sentence,
                reason=sentence,
                look_in_s=0.0,
                decisions=decisions,
                first=lambda tx: self._approvals.supersede(tx, scene.change.id),
                taken=scene.commands,
            )
        self._settle(held, scene, step)

    def _expire(self, held: Claim, scene: Scene) -> None:
        """End a change whose round is of a clock that ran ahead: it would end too late, and its votes have no order."""
        sentence = "Expired: people were asked by a clock that ran ahead; propose it again"
        step = Next(
            to=Phase.EXPIRED,
            sentence=sentence,
            reason=sentence,
            look_in_s=None,
            first=lambda tx: self._approvals.withdraw(tx, scene.change.id),
            taken=scene.commands,
        )
        self._settle(held, scene, step)

    # -- before the start ------------------------------------------------------------------------------------------

    def _await_window(self, held: Claim, scene: Scene) -> None:
        """Start when the change's window is open; say when that will be."""
        if _cancels(scene):
            return self._cancel(held, scene)
        given = scene.change.expanded()
        late = given.schedule.not_after is not None and scene.now >= given.schedule.not_after
        with self._desk.store.read() as connection:
            window = self._calendar.state(connection, given, scene.now)
            outdated = self._desk.policies.outdated(connection, scene.change.id)
            approval = self._approvals.of(connection, scene.change.id, SYSTEM) if outdated else None
        if outdated and not late:
            return self._decided_anew(held, scene, approval)
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
            baselines[unit.name] = await target.prepare(unit.ref(scene.change.id, scene.change.attempt), key=key)
        return baselines

    # -- after the end ---------------------------------------------------------------------------------------------

    def _open_review(self, held: Claim, scene: Scene) -> None:
        """Open the review of an ended change, in the transaction that says so."""

        def also(tx: Tx, change: Change) -> None:
            self._reviews.open_for(tx, change.id)

        step = Next(to=Phase.REVIEWING, sentence=scene.change.sentence, look_in_s=0.0, also=also, taken=scene.commands)
        self._settle(held, scene, step)

    def _await_review(self, held: Claim, scene: Scene) -> None:
        """Close the change once its review is, or begin it again; a small good one is closed from the facts."""
        again = next((command for command in scene.commands if command.verb == "retry"), None)
        if again is not None:
            return self._settle(held, scene, _begun_again(scene, again))
        back = next((command for command in scene.commands if command.verb == "rollback"), None)
        if back is not None:
            return self._settle(held, scene, taken_back_again(scene, back))
        with self._desk.store.read() as connection:
            closed = self._reviews.closed(connection, scene.change.id)
        if not closed:
            step = Next(sentence=f"{scene.change.sentence} The review is open.", look_in_s=None, taken=scene.commands)
        else:
            step = Next(to=Phase.CLOSED, sentence=scene.change.sentence, look_in_s=None, taken=scene.commands)
        return self._settle(held, scene, step)

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


def taken_back_again(scene: Scene, order: Command) -> Next:
    """A rollback that failed is tried once more, with all its time."""
    run = replace(scene.run, rollback_started_at=scene.now, rollback_retries=scene.run.rollback_retries + 1)
    return Next(
        to=Phase.ROLLING_BACK,
        sentence=f"Taking back again: {scene.run.rollback_reason}",
        reason=f"{order.verb} ordered",
        by=order.actor,
        run=run,
        facts=(("rollback.retried", {"retries": run.rollback_retries}),),
        look_in_s=0.0,
        taken=scene.commands,
    )


def _begun_again(scene: Scene, order: Command) -> Next:
    """What was taken back waits for its start once more: the votes stand, everything else is asked anew."""
    attempt = scene.change.attempt + 1
    sentence = f"Attempt {attempt}, ordered by {order.actor_name}"
    return Next(
        to=Phase.SCHEDULED,
        sentence=sentence,
        reason="retry ordered",
        by=order.actor,
        attempt=attempt,
        run=Run(),
        facts=(("change.retried", {"attempt": attempt}),),
        look_in_s=0.0,
        taken=scene.commands,
    )


CALLS_OFF: Final = frozenset({"abort", "rollback"})


def _calling_off(scene: Scene) -> Command:
    return next(command for command in scene.commands if command.verb in CALLS_OFF)


def _held_before(obstacle: str) -> str:
    return f"Held before the start: {obstacle}"


def _cancels(scene: Scene) -> bool:
    return any(command.verb in CALLS_OFF for command in scene.commands)


def _opened_ahead(approval: Approval, scene: Scene) -> bool:
    """Return whether a round was opened at a time that has not come."""
    return approval.round.opened_at - scene.now > APART_MOST


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
