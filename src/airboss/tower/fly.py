"""Flies a rollout: observe, judge, let the rules decide, record what is meant, then make the world match.

Effects are recorded as intents with their facts, carried out after the commit, and observed by the next look. Normal
running uses the same code as recovery: whoever claims the change next sees what is wanted and what is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from airboss.act.rollout import (
    Claim,
    Expose,
    Plan,
    Rollouts,
    Ruling,
    Run,
    Seen,
    Want,
    claims,
    repo,
    rules,
    verification,
)
from airboss.act.rollout.repo import Command, Effect, ExposureRow
from airboss.act.targets import Exposure, Observation, Targets
from airboss.changes import Change, Phase
from airboss.decide.policy import Decision
from airboss.kernel import failpoints, spans
from airboss.kernel.clock import APART_MOST
from airboss.kernel.errors import AirbossError
from airboss.people.access import SYSTEM
from airboss.records.store import Tx
from airboss.tower.clearance import Clearance
from airboss.tower.desk import Desk, FactPart, Next, Scene
from airboss.tower.judge import NOTHING_JUDGED, Judge, Judged
from airboss.tower.loop import LEASE_S
from airboss.tower.steer import AGAIN_S, taken_back_again

EFFECT_S: Final = 10.0
"""Deadline of an effect: shorter than the lease, so that no effect outlives the right to cause it."""
OBSERVE_S: Final = 3.0
STRANDED_LOOK_S: Final = 15.0
"""How often a failed rollback is looked at: somebody may be mending it by hand."""
TARGET_AWAY: Final = "the target did not answer"

log = logging.getLogger("airboss.tower")

_PHASES: Final[Mapping[str, Phase]] = {
    "verify": Phase.VERIFYING,
    "complete": Phase.COMPLETED,
    "roll_back": Phase.ROLLING_BACK,
    "rolled_back": Phase.ROLLED_BACK,
    "rollback_failed": Phase.ROLLBACK_FAILED,
}


class Flight:
    """Looks at changes between their start and their end."""

    def __init__(
        self,
        *,
        desk: Desk,
        targets: Targets,
        judge: Judge,
        clearance: Clearance,
        rollouts: Rollouts,
        open_review: Callable[[Tx, Change], None],
    ) -> None:
        self._desk = desk
        self._rollouts = rollouts
        self._open_review = open_review
        self._targets = targets
        self._judge = judge
        self._clearance = clearance

    async def __call__(self, held: Claim, scene: Scene) -> None:
        """Look at one change and release the claim."""
        if scene.plan is None:
            raise AssertionError(f"change {scene.change.id} is {scene.change.phase} without a plan")
        match scene.change.phase:
            case Phase.COMPLETED:
                await self._finish(held, scene, scene.plan)
            case Phase.ROLLBACK_FAILED:
                await self._stranded(held, scene, scene.plan)
            case Phase.ROLLING_BACK:
                await self._take_back(held, scene, scene.plan)
            case _:
                await self._go_on(held, scene, scene.plan)

    # -- forwards --------------------------------------------------------------------------------------------------

    async def _go_on(self, held: Claim, scene: Scene, plan: Plan) -> None:
        """Rolling out or verifying."""
        run, orders = _ordered(scene)
        skip = next((one for one in scene.commands if one.verb == "promote" and one.step == run.step), None)
        back = next((command for command in scene.commands if command.verb in ("abort", "rollback")), None)
        if back is not None:
            # Taking back asks nobody: no telemetry, no policy, no gate.
            ruling = rules.roll_back(run, f"{back.verb} ordered", scene.now)
            await self._write(held, scene, plan, ruling, by=back.actor, orders=orders)
            return
        if scene.doubt is None:
            run, anew = rules.retimed(run, scene.now)
            orders += anew
        units, silent = await self._observe(scene, plan, sorted(plan.standing(run.step)))
        judged = await asyncio.to_thread(self._judge.look, scene, plan, run)
        seen = Seen(
            units=units,
            silent=silent,
            answers=judged.answers,
            doubt=scene.doubt,
            fault=_refusal(scene, plan, run),
            answered_by=skip.actor if skip is not None and _asks(plan, run) else None,
            skipped_by=skip.actor if skip is not None and not _asks(plan, run) else None,
        )
        decision: Decision | None = None
        if scene.change.phase is Phase.VERIFYING:
            ruling = verification.verifying(plan, run, seen, scene.now)
        else:
            ruling = rules.look(plan, run, seen, scene.now)
            if _advances(ruling, run):
                # Only now does policy matter: ask it, and let the rules decide again with its answer.
                obstacle, decision = await asyncio.to_thread(self._clearance.before_promotion, scene.change)
                ruling = rules.look(plan, run, replace(seen, clearance=obstacle), scene.now)
        said = (decision,) if decision is not None and ruling.facts else ()
        # An order to go on waits until it can be carried out, or the step it was given for is over.
        done = _advances(ruling, run) or ruling.move != "stay"
        taken = [one for one in scene.commands if done or one is not skip]
        await self._write(held, scene, plan, ruling, orders=orders, said=said, judged=judged, taken=taken)

    async def _observe(
        self, scene: Scene, plan: Plan, names: Sequence[str]
    ) -> tuple[dict[str, Observation | None], dict[str, str]]:
        """Ask the targets what is there; one that does not answer in time is None. Say also why, where that is known."""
        silent: dict[str, str] = {}

        async def one(name: str) -> Observation | None:
            unit = plan.unit(name)
            try:
                async with asyncio.timeout(OBSERVE_S):
                    return await self._targets.of(unit.kind).observe(unit.ref(scene.change.id, scene.change.attempt))
            except AirbossError as fault:
                silent[name] = fault.detail
                return None
            except TimeoutError:
                silent[name] = f"not within {OBSERVE_S:g} s"
                return None
            except Exception:
                # Vendor exceptions stop at the adapter; one that does not must not keep the other units from help.
                log.exception("the %s target of %s broke while it was observed", unit.kind, name)
                return None

        return dict(zip(names, await asyncio.gather(*(one(name) for name in names)), strict=True)), silent

    # -- backwards -------------------------------------------------------------------------------------------------

    async def _take_back(self, held: Claim, scene: Scene, plan: Plan) -> None:
        """Rolling back: needs targets and nothing else."""
        run, anew = rules.retimed(scene.run, scene.now)  # also by a clock that is doubted: taking back waits for nobody
        units, _ = await self._observe(scene, plan, sorted(scene.run.baselines))
        reverts = Counter(
            effect.unit
            for effect in scene.effects
            if effect.kind == "revert"
            and effect.attempt == scene.change.attempt
            and effect.done_at is not None
            and _over(effect, scene)
        )
        ruling = rules.taking_back(
            plan, run, Seen(units=units, settled=_settled(scene, run), reverts=reverts), scene.now
        )
        await self._write(held, scene, plan, ruling, orders=anew)

    async def _stranded(self, held: Claim, scene: Scene, plan: Plan) -> None:
        """Rollback failed: a person has it tried again or says it was mitigated, or it is seen back where it was."""
        order = next((one for one in scene.commands if one.verb in ("retry", "abort", "rollback", "mitigated")), None)
        if order is not None and order.verb != "mitigated":
            step = taken_back_again(scene, order)
            await asyncio.to_thread(self._desk.settle, held, scene, step)
            return
        units, _ = await self._observe(scene, plan, sorted(scene.run.baselines))
        if order is not None:
            states = {name: rules.state_of(units.get(name)) for name in sorted(scene.run.baselines)}
            step = replace(
                self._reviewing(scene),
                sentence="Rollback failed; mitigated by hand",
                reason="mitigated by hand",
                by=order.actor,
                facts=(("rollback.mitigated", {"by": order.actor, "reason": order.reason, "units": states}),),
            )
            await asyncio.to_thread(self._desk.settle, held, scene, step)
            return
        ruling = rules.stranded(plan, scene.run, Seen(units=units, settled=_settled(scene, scene.run)), scene.now)
        if ruling is not None:
            await self._write(held, scene, plan, ruling)
            return
        sentence = (
            f"{scene.change.sentence}. Retry when the target answers again, or say that it was mitigated by hand; "
            "taken back by hand, it is seen"
        )
        step = Next(sentence=sentence, look_in_s=STRANDED_LOOK_S, taken=scene.commands)
        await asyncio.to_thread(self._desk.settle, held, scene, step)

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _finish(self, held: Claim, scene: Scene, plan: Plan) -> None:
        """Completed: make full exposure the new normal, watch until the rollback window ends, then open the review."""
        back = next((command for command in scene.commands if command.verb == "rollback"), None)
        if back is not None:
            ruling = rules.roll_back(scene.run, f"{back.verb} ordered", scene.now)
            await self._write(held, scene, plan, ruling, by=back.actor)
            return
        wants = tuple(Want(kind="finish", unit=name) for name in sorted(scene.run.baselines))
        left = [want for want in wants if not _done(scene, want)]
        if left:
            faults = [last.fault for want in left if (last := _last(scene, want)) is not None and last.fault]
            told = (
                f"Completed, but the target cannot make it the new normal yet: {faults[0]}" if faults else "Completed"
            )
            ruling = Ruling(run=scene.run, wants=tuple(left), sentence=told, look_in_s=1.0)
            await self._write(held, scene, plan, ruling)
            return
        if plan.rollback_window_s > 0 and await self._watch(held, scene, plan):
            return
        step = self._reviewing(scene)
        if scene.doubt is not None and plan.rollback_window_s > 0:
            step = Next(sentence=f"Completed; {scene.doubt}", look_in_s=AGAIN_S)
        await asyncio.to_thread(self._desk.settle, held, scene, step)

    async def _watch(self, held: Claim, scene: Scene, plan: Plan) -> bool:
        """Look at a completed change; return whether it is watched on."""
        completed_at = scene.change.ended_at
        if completed_at is None:
            raise AssertionError(f"change {scene.change.id} is completed since never")
        units, _ = await self._observe(scene, plan, sorted(plan.standing(scene.run.step)))
        judged = await asyncio.to_thread(self._judge.look, scene, plan, scene.run)
        seen = Seen(units=units, answers=judged.answers)
        ruling = verification.watching(plan, scene.run, seen, completed_at, scene.now)
        if ruling is None:
            return False
        await self._write(held, scene, plan, ruling, judged=judged)
        return True

    def _reviewing(self, scene: Scene) -> Next:
        """A finished change goes where a rolled back one goes: to its review."""
        return Next(
            to=Phase.REVIEWING,
            sentence=scene.change.sentence,
            look_in_s=0.0,
            also=self._open_review,
            taken=scene.commands,
        )

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _write(
        self,
        held: Claim,
        scene: Scene,
        plan: Plan,
        ruling: Ruling,
        *,
        by: str = SYSTEM.id,
        orders: tuple[FactPart, ...] = (),
        said: tuple[Decision, ...] = (),
        judged: Judged = NOTHING_JUDGED,
        taken: Sequence[Command] | None = None,
    ) -> None:
        """Record a ruling and its intents in one transaction, carry the intents out, release the claim."""
        wants = [want for want in ruling.wants if _due(scene, want)]
        intents = [self._intent(scene, held, want) for want in wants]
        facts = (*orders, *ruling.facts)
        moved = ruling.move != "stay"

        def also(tx: Tx, change: Change) -> None:
            for intent in intents:
                repo.intend(tx, intent, scene.now)
            self._note_exposure(tx, scene, plan, ruling)
            if ruling.run.convicted and not scene.run.convicted:
                self._block(tx, change, plan, ruling)
            self._judge.keep(tx, change, judged, scene.now)

        step = Next(
            sentence=ruling.sentence,
            look_in_s=ruling.look_in_s,
            to=_PHASES[ruling.move] if moved else None,
            reason=ruling.sentence if moved else "",
            by=by,
            run=ruling.run if facts or moved else None,
            facts=facts,
            decisions=said,
            also=also if intents or facts or moved or judged.new is not None else None,
            taken=scene.commands if taken is None else taken,
        )
        change = await asyncio.to_thread(self._desk.settle, held, scene, step, keep=bool(intents))
        if not intents:
            return
        await asyncio.gather(*(self._carry_out(scene, plan, held, intent) for intent in intents))

        def release() -> None:
            now = self._desk.clock.now()
            due = now + timedelta(seconds=min(ruling.look_in_s, AGAIN_S))
            with self._desk.store.write() as tx:
                urgent = change.phase is Phase.ROLLING_BACK
                claims.release(tx, held, now=now, due_at=due, sentence=ruling.sentence, urgent=urgent)

        await asyncio.to_thread(release)

    def _intent(self, scene: Scene, held: Claim, want: Want) -> Effect:
        deadline = min(scene.now + timedelta(seconds=EFFECT_S), held.lease_until - timedelta(seconds=LEASE_S / 5))
        return Effect(
            key=want.key(scene.change.id, scene.change.attempt),
            change_id=scene.change.id,
            attempt=scene.change.attempt,
            kind=want.kind,
            unit=want.unit,
            percent=None if want.exposure is None else want.exposure.new_percent,
            fence=held.fence,
            deadline_at=deadline,
            tries=0,
            done_at=None,
            fault=None,
        )

    async def _carry_out(self, scene: Scene, plan: Plan, held: Claim, intent: Effect) -> None:
        """Do one recorded effect, within its deadline, and remember how it went. Observing is the next look's work.

        Somebody who lost the claim meanwhile, or woke up too late, leaves the effect to whoever has it now.
        """
        failpoints.reach("tower.before_effect")
        if not await asyncio.to_thread(self._mine, held):
            return
        failpoints.reach("tower.before_target")
        unit = plan.unit(intent.unit)
        ref = unit.ref(scene.change.id, scene.change.attempt)
        # Asked last: whoever slept since the claim was looked at has no time left, and the timeout below counts from now.
        left_s = (intent.deadline_at - self._desk.clock.now()).total_seconds()
        if left_s <= 0:
            return
        fault: str | None = None
        telling = spans.span(f"{unit.kind} {intent.kind}", change=scene.change.id, unit=intent.unit, effect=intent.key)
        try:
            with telling:
                async with asyncio.timeout(left_s):
                    target = self._targets.of(unit.kind)
                    if intent.kind == "apply":
                        await target.apply(ref, Exposure(new_percent=intent.percent or 0.0), key=intent.key)
                    elif intent.kind == "revert":
                        await target.revert(ref, scene.run.baselines[intent.unit], key=intent.key)
                    else:
                        await target.finish(ref, key=intent.key)
        except AirbossError as refusal:
            fault = refusal.detail
        except TimeoutError:
            fault = TARGET_AWAY
        except failpoints.Reached:
            raise
        except Exception as bug:
            log.exception("the %s target of %s broke at %s", unit.kind, unit.name, intent.key)
            fault = f"the target broke: {bug!r}"
        failpoints.reach("tower.after_effect")

        def record() -> None:
            with self._desk.store.write() as tx:
                repo.record_result(tx, intent.key, intent.fence, now=self._desk.clock.now(), fault=fault)

        await asyncio.to_thread(record)
        failpoints.reach("tower.after_effect_recorded")

    def _mine(self, held: Claim) -> bool:
        with self._desk.store.read() as connection:
            return claims.unfenced(connection, held)

    def _note_exposure(self, tx: Tx, scene: Scene, plan: Plan, ruling: Ruling) -> None:
        """Tell telemetry which exposure stands since when, in the transaction of the fact that says so."""
        change, now = scene.change, scene.now
        for kind, body in ruling.facts:
            if kind == "exposure.reached":
                repo.end_exposures(tx, change.id, now, unit=str(body["unit"]))
                repo.open_exposure(tx, _standing_row(scene, plan, str(body["unit"]), plan.exposing_at(scene.run.step)))
            elif kind == "exposure.restored":
                repo.open_exposure(tx, _standing_row(scene, plan, str(body["unit"]), int(body["step"]) - 1))
            elif kind == "exposure.drifted":
                repo.end_exposures(tx, change.id, now, unit=str(body["unit"]))
        for want in ruling.wants:
            if want.kind == "apply":
                # From here on the old exposure does not stand; the next look says when the new one does.
                repo.end_exposures(tx, change.id, now, unit=want.unit)
        if ruling.move in ("roll_back", "complete"):
            repo.end_exposures(tx, change.id, now)

    def _block(self, tx: Tx, change: Change, plan: Plan, ruling: Ruling) -> None:
        """Keep the convicted version from starting again, with a fact of its own."""
        for unit in plan.units:
            if unit.name in ruling.run.baselines:
                self._rollouts.block(tx, unit, change.id, ruling.run.rollback_reason)


def _standing_row(scene: Scene, plan: Plan, name: str, step: int) -> ExposureRow:
    """Return the exposure that stands from now on: a unit's, as a step wants it."""
    unit, wanted = plan.unit(name), plan.steps[step]
    if not isinstance(wanted, Expose):
        raise TypeError(f"step {step + 1} of change {scene.change.id} exposes nothing")
    return ExposureRow(
        change_id=scene.change.id,
        unit=unit.name,
        attempt=scene.change.attempt,
        step=step,
        service=unit.service,
        environment=unit.environment,
        percent=wanted.percent,
        kind=unit.kind,
        from_at=scene.now,
        to_at=None,
    )


def _over(effect: Effect, scene: Scene) -> bool:
    """Return whether the time of an effect has passed; one further ahead than any is by a clock that ran ahead."""
    return effect.deadline_at <= scene.shared or effect.deadline_at - scene.shared > APART_MOST


def _settled(scene: Scene, run: Run) -> bool:
    """Return whether no order to expose can still arrive. Accepted is not done, so the time of each is waited for.

    Where its deadline says nothing, it began before taking back did, which ended everybody's right to begin another.
    """
    began = run.rollback_started_at
    waited = began is not None and (scene.now - began).total_seconds() >= EFFECT_S
    return all(
        effect.deadline_at <= scene.shared or (waited and _over(effect, scene))
        for effect in scene.effects
        if effect.kind == "apply" and effect.attempt == scene.change.attempt
    )


def _ordered(scene: Scene) -> tuple[Run, tuple[FactPart, ...]]:
    """Return the run after the orders that only change it, and their facts."""
    run = scene.run
    facts: list[FactPart] = []
    for command in scene.commands:
        if command.verb == "pause" and not run.paused:
            run = replace(run, paused=True)
            facts.append(("rollout.paused", {"by": command.actor, "step": run.step + 1}))
        elif command.verb == "resume" and run.paused:
            run = replace(run, paused=False)
            facts.append(("rollout.resumed", {"by": command.actor, "step": run.step + 1}))
    return run, tuple(facts)


def _asks(plan: Plan, run: Run) -> bool:
    """Return whether the rollout waits for a person's word."""
    hold = run.hold
    return plan.steps[run.step].kind == "ask" or (hold is not None and hold.asked_until is not None)


def _advances(ruling: Ruling, run: Run) -> bool:
    return ruling.move == "verify" or ruling.run.step != run.step


def _last(scene: Scene, want: Want) -> Effect | None:
    key = want.key(scene.change.id, scene.change.attempt)
    return next((effect for effect in scene.effects if effect.key == key), None)


def _refusal(scene: Scene, plan: Plan, run: Run) -> str | None:
    """Return what the target said when it was last asked for the exposure in force."""
    exposing = plan.exposing(run.step)
    if exposing is None:
        return None
    wanted = Want(kind="apply", unit=exposing.unit, exposure=Exposure(new_percent=exposing.percent), again=run.drifts)
    last = _last(scene, wanted)
    return None if last is None else last.fault


def _done(scene: Scene, want: Want) -> bool:
    last = _last(scene, want)
    return last is not None and last.done_at is not None


def _due(scene: Scene, want: Want) -> bool:
    """Return whether to cause an effect now: not while the same one may still arrive, nor at once after a fault."""
    last = _last(scene, want)
    if last is None:
        return True
    if last.fault is not None:
        begun = last.deadline_at - timedelta(seconds=EFFECT_S)
        waited = scene.shared >= begun + timedelta(seconds=min(2.0**last.tries, EFFECT_S))
        return waited or (last.deadline_at > scene.shared and _over(last, scene))
    return _over(last, scene)
