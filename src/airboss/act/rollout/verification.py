"""At full exposure: gates keep watching, closely until the change is completed, then calmly until its rollback window ends.

Pure, like `rules`. Harm that shows only here is taken back as anywhere else, and is told of the canary that let it
through: a false negative.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from airboss.act.rollout.model import Answer, Ruling, Run, Seen
from airboss.act.rollout.plan import Expose, Plan
from airboss.act.rollout.rules import (
    SAME_PERCENT,
    Facts,
    begin_hold,
    convict,
    heard,
    known,
    patient,
    standing,
    trouble,
    worst,
)

LONGEST_LOOK_S: Final = 60.0
LOOKS_LEAST: Final = 20
"""A short window is looked at at least so often."""


def verifying(plan: Plan, run: Run, seen: Seen, now: datetime) -> Ruling:
    """Decide about a change at full exposure that is not completed yet.

    Its time begins anew when the exposure was lost in between.
    """
    facts: Facts = []
    exposing, told, failed = heard(plan, run, seen, facts)
    if failed:
        _tell_missed(plan, run, failed, facts, "verifying")
        return convict(told, failed, facts, now)
    told, unmet = standing(plan, told, exposing, seen, facts, now)
    if unmet is not None:
        return unmet
    if seen.doubt is not None:
        return trouble(plan, told, "error", seen.doubt, facts, now)
    if run.reached_at is None:
        told = replace(told, verify_started_at=now)
    elapsed = (now - known(told.verify_started_at)).total_seconds()
    outcome = worst(seen.answers)
    if outcome == "error":
        sentence = next((a.sentence for a in seen.answers if a.outcome == "error"), "no gate gave an answer")
        return trouble(plan, told, "error", sentence, facts, now)
    if told.hold is not None and (outcome == "pass" or told.hold.kind == "error"):
        facts.append(("hold.ended", {"kind": told.hold.kind, "step": told.step + 1}))
        told = replace(told, hold=None)
    if elapsed >= plan.verify_s and outcome == "pass":
        facts.append(("rollout.verified", {"after_s": elapsed, "answers": [a.stored() for a in seen.answers]}))
        return Ruling(run=told, move="complete", facts=tuple(facts), sentence="Completed")
    if outcome == "inconclusive" and elapsed >= 4 * plan.verify_s:
        why = next((a.sentence for a in seen.answers if a.outcome == "inconclusive"), "")
        if patient(seen.answers):
            held = begin_hold(told, "inconclusive", why, facts, now)
            return replace(held, sentence=f"Needs you: {why}")
        return trouble(plan, told, "inconclusive", why, facts, now)
    left = max(0.0, plan.verify_s - elapsed)
    sentence = f"At 100 %, verifying: {left:.0f} s left" if left else f"At 100 %, verifying: {seen.answers[0].sentence}"
    return Ruling(run=told, facts=tuple(facts), sentence=sentence)


def watch_look_s(plan: Plan) -> float:
    """Return how many seconds lie between two looks at a completed change."""
    return max(1.0, min(LONGEST_LOOK_S, plan.rollback_window_s / LOOKS_LEAST))


def watching(plan: Plan, run: Run, seen: Seen, completed_at: datetime, now: datetime) -> Ruling | None:
    """Decide about a completed change in its rollback window; None when the watch is over, with nothing to tell.

    Harm takes it back. What production shows is otherwise left alone: a unit that is no longer where the change left it
    was moved by somebody else since, and then there is nothing of this change to watch or to take back. Data that is
    missing is told and moves nothing: the change is completed, and a person may order a rollback all the same.
    """
    ends_at = completed_at + timedelta(seconds=plan.rollback_window_s)
    if now >= ends_at:
        return None
    if any(_moved_on(plan, name, index, seen) for name, index in plan.standing(run.step).items()):
        return None
    facts: Facts = []
    _, told, failed = heard(plan, run, seen, facts)
    if failed:
        _tell_missed(plan, run, failed, facts, "completed")
        if all(plan.unit(name).point_of_no_return for name in run.baselines):
            # Nothing can be taken back: it is told once, by the gate's changed verdict, and is a person's to mend.
            why = f"Needs you: {failed[0].sentence}; it cannot be taken back, use the mitigation now"
            return Ruling(run=told, facts=tuple(facts), sentence=why, look_in_s=watch_look_s(plan))
        return convict(told, failed, facts, now)
    outcome = worst(seen.answers)
    until = f"watched until {ends_at:%Y-%m-%d %H:%M} UTC"
    if outcome in ("error", "inconclusive"):
        why = next((a.sentence for a in seen.answers if a.outcome == outcome), "no gate gave an answer")
        sentence = f"Completed and {until}, though nothing can be said now: {why}"
    else:
        sentence = f"Completed and {until}: harm until then takes it back"
    return Ruling(run=told, facts=tuple(facts), sentence=sentence, look_in_s=watch_look_s(plan))


def _moved_on(plan: Plan, name: str, index: int, seen: Seen) -> bool:
    step, observation = plan.steps[index], seen.units.get(name)
    if observation is None or not isinstance(step, Expose):
        return False
    return abs(observation.exposure.new_percent - step.percent) > SAME_PERCENT


def _tell_missed(plan: Plan, run: Run, failed: list[Answer], facts: Facts, phase: str) -> None:
    """Say that a canary let harm through, where there was one; once in a rollout."""
    canaries = sorted(
        {gate.id for step in plan.steps if isinstance(step, Expose) for gate in step.gates if gate.kind == "canary"}
    )
    first = not any(run.verdicts.get(answer.gate) == "fail" for answer in failed)
    if canaries and first:
        facts.append(("canary.missed", {"gates": canaries, "found_by": [one.gate for one in failed], "phase": phase}))
