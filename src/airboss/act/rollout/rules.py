"""The engine: pure functions from where a rollout stands and what was seen to what is to be done.

Precedence of what was seen: abort (a command, handled before) > fail > error > inconclusive > pass. Nothing advances
on missing data, on a target that does not answer, or on another digest than the approved one; taking back needs none
of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from airboss.act.rollout.model import Answer, Hold, HoldKind, Outcome, Ruling, Run, Seen, Want
from airboss.act.rollout.plan import Ask, Expose, Plan
from airboss.act.targets import Exposure, Observation
from airboss.kernel.clock import APART_MOST, rfc3339

SAME_PERCENT: Final = 1e-6
LOOK_S: Final = 1.0
CALM_LOOK_S: Final = 5.0
_RANK: Final[Mapping[Outcome, int]] = {"pass": 0, "inconclusive": 1, "error": 2, "fail": 3}

_TOLD: Final = (
    "started_at",
    "step_started_at",
    "moving_since",
    "reached_at",
    "verify_started_at",
    "rollback_started_at",
)

Facts = list[tuple[str, Mapping[str, Any]]]


def worst(answers: Iterable[Answer]) -> Outcome:
    """Return the outcome that decides; no answer at all is an error, never a pass."""
    return max((answer.outcome for answer in answers), key=_RANK.__getitem__, default="error")


def patient(answers: Iterable[Answer]) -> bool:
    """Return whether all that is undecided is no evidence against the change, so that waiting has no deadline."""
    undecided = [answer for answer in answers if answer.outcome == "inconclusive"]
    return bool(undecided) and all(answer.patient for answer in undecided)


def begin(plan: Plan, run: Run, now: datetime) -> Ruling:
    """Start the first step. The baselines must be known."""
    started = replace(run, step=0, started_at=now, step_started_at=now, moving_since=now, reached_at=None)
    return Ruling(run=started, facts=(("rollout.started", {"units": sorted(run.baselines)}), _step_fact(plan, started)))


def look(plan: Plan, run: Run, seen: Seen, now: datetime) -> Ruling:
    """Decide about a rollout that progresses, is held or is paused."""
    step = plan.steps[run.step]
    facts: Facts = []
    exposing, told, failed = heard(plan, run, seen, facts)
    if failed:
        return convict(told, failed, facts, now)
    told, unmet = standing(plan, told, exposing, seen, facts, now)
    if unmet is not None:
        return unmet
    if seen.doubt is not None:
        return trouble(plan, told, "error", seen.doubt, facts, now)
    if seen.skipped_by is not None:
        facts.append(("step.skipped", {"step": told.step + 1, "by": seen.skipped_by}))
        return _advance(plan, told, seen, facts, now)
    if isinstance(step, Ask):
        return _asking(plan, told, step, seen, facts, now)
    return _baking(plan, told, step, seen, facts, now)


def retimed(run: Run, now: datetime) -> tuple[Run, tuple[tuple[str, Mapping[str, Any]], ...]]:
    """Return the run with what a clock that ran ahead had told of it begun anew now, and the facts that say so.

    Nothing can be measured from a time that has not come: a step would last until then. Its exposure is observed again
    and its time starts over, so nothing is shortened by it. `now` must be by a clock that is believed.
    """
    told = {name: at for name in _TOLD if (at := getattr(run, name)) is not None}
    since = None if run.hold is None else run.hold.since
    ahead = max((at - now for at in (*told.values(), *([] if since is None else [since]))), default=timedelta())
    if ahead <= APART_MOST:
        return run, ()
    anew: dict[str, Any] = {name: now for name, at in told.items() if at > now}
    facts: Facts = [("rollout.retimed", {"step": run.step + 1, "ahead_s": ahead.total_seconds()})]
    if run.rollback_started_at is None and "reached_at" in anew:
        anew |= {"reached_at": None, "moving_since": now, "step_started_at": now}
    if run.hold is not None and run.hold.since > now:
        facts.append(("hold.ended", {"kind": run.hold.kind, "step": run.step + 1}))
        anew["hold"] = None
    return replace(run, **anew), tuple(facts)


def heard(plan: Plan, run: Run, seen: Seen, facts: Facts) -> tuple[Expose, Run, list[Answer]]:
    """Return the exposure in force, the run with every change of verdict told, and the gates that found harm."""
    exposing = plan.exposing(run.step)
    if exposing is None:
        raise AssertionError("a plan begins with an exposure")
    told = tell_verdicts(run, seen.answers, facts)
    return exposing, told, [answer for answer in seen.answers if answer.outcome == "fail"]


def standing(plan: Plan, run: Run, step: Expose, seen: Seen, facts: Facts, now: datetime) -> tuple[Run, Ruling | None]:
    """Return the run with the exposure standing as wanted, or what to do because it does not.

    It stands when the target answers, is healthy, shows the wanted share, and runs what was approved: nothing counts
    towards a step before, and none of it is carried over when the exposure was lost in between. What earlier stages
    exposed has to stand as well.
    """
    run, astray = _earlier(plan, run, step, seen, facts, now)
    if astray is not None:
        return run, astray
    observation = seen.units.get(step.unit)
    if observation is None:
        why = f": {seen.silent[step.unit]}" if step.unit in seen.silent else ""
        return run, trouble(plan, run, "error", f"the target of {step.unit} does not answer{why}", facts, now)
    if not observation.healthy:
        sentence = observation.sentence or f"{step.unit} is not healthy"
        return run, trouble(plan, run, "error", sentence, facts, now)
    if abs(observation.exposure.new_percent - step.percent) > SAME_PERCENT:
        return run, _converge(plan, run, step, seen, facts, now)
    if step.percent > 0 and observation.new_digest != plan.unit(step.unit).digest:
        runs = observation.new_digest or "nothing"
        run = _lost(run, step, observation, facts, now)
        return run, trouble(plan, run, "error", f"{step.unit} runs {runs}, which is not what was approved", facts, now)
    if run.reached_at is None:
        run = replace(run, reached_at=now, moving_since=None)
        facts.append(("exposure.reached", {"unit": step.unit, "percent": step.percent, "step": run.step + 1}))
    return run, None


def _earlier(plan: Plan, run: Run, step: Expose, seen: Seen, facts: Facts, now: datetime) -> tuple[Run, Ruling | None]:
    """Look at the units that earlier steps exposed: one that strayed is asked back, and nothing advances meanwhile."""
    wants: list[Want] = []
    told: list[str] = []
    for name, index in plan.standing(run.step).items():
        wanted = plan.steps[index]
        if name == step.unit or not isinstance(wanted, Expose) or name not in seen.units:
            continue
        observation = seen.units[name]
        if observation is None:
            why = f": {seen.silent[name]}" if name in seen.silent else ""
            told.append(f"the target of {name} does not answer{why}")
            continue
        away = abs(observation.exposure.new_percent - wanted.percent) > SAME_PERCENT
        wrong = wanted.percent > 0 and observation.new_digest != plan.unit(name).digest
        lost = away or wrong
        if lost and name not in run.astray:
            percent, runs = observation.exposure.new_percent, observation.new_digest
            body = {"unit": name, "wanted": wanted.percent, "observed": percent, "runs": runs}
            facts.append(("exposure.drifted", body))
            drifts = {**run.strayed, name: run.strayed.get(name, 0) + 1}
            run = replace(run, astray=(*run.astray, name), strayed=drifts)
        elif not lost and name in run.astray:
            facts.append(("exposure.restored", {"unit": name, "percent": wanted.percent, "step": index + 1}))
            run = replace(run, astray=tuple(one for one in run.astray if one != name))
        if away:
            again = run.strayed.get(name, 0)
            exposure = Exposure(new_percent=wanted.percent)
            wants.append(Want(kind="apply", unit=name, exposure=exposure, again=again))
            told.append(f"{name} is at {observation.exposure.new_percent:g} %, not {wanted.percent:g} %")
        elif wrong:
            runs = observation.new_digest or "nothing"
            told.append(f"{name} runs {runs}, which is not what was approved")
        elif not observation.healthy:
            told.append(observation.sentence or f"{name} is not healthy")
    if not told:
        return run, None
    ruling = trouble(plan, run, "error", "; ".join(told), facts, now)
    return run, ruling if ruling.move != "stay" else replace(ruling, wants=tuple(wants))


def _lost(run: Run, step: Expose, seen: Observation, facts: Facts, now: datetime) -> Run:
    """Say that an exposure that stood does so no longer."""
    if run.reached_at is None:
        return run
    body = {"unit": step.unit, "wanted": step.percent, "observed": seen.exposure.new_percent, "runs": seen.new_digest}
    facts.append(("exposure.drifted", body))
    return replace(run, reached_at=None, moving_since=now, drifts=run.drifts + 1)


def _baking(plan: Plan, run: Run, step: Expose, seen: Seen, facts: Facts, now: datetime) -> Ruling:
    """The exposure stands; the gates and the clock decide."""
    reached = known(run.reached_at)
    elapsed = (now - reached).total_seconds()
    most = step.most_s * (1 + run.extensions)
    outcome = worst(seen.answers)
    if outcome == "error":
        sentence = next((a.sentence for a in seen.answers if a.outcome == "error"), "no gate gave an answer")
        return trouble(plan, run, "error", sentence, facts, now)
    if outcome == "pass" and run.hold is not None and run.hold.kind != "policy":
        facts.append(("hold.ended", {"kind": run.hold.kind, "step": run.step + 1}))
        run = replace(run, hold=None)
    if outcome == "pass" and elapsed >= step.least_s and not run.paused:
        return _advance(plan, run, seen, facts, now)
    if outcome == "inconclusive" and run.hold is not None and run.hold.kind == "error":
        # The data is back; what is missing now is evidence, and that has its own deadline.
        facts.append(("hold.ended", {"kind": "error", "step": run.step + 1}))
        run = replace(run, hold=None)
    undecided = next((a.sentence for a in seen.answers if a.outcome == "inconclusive"), "")
    if outcome == "inconclusive" and elapsed >= most:
        return _inconclusive(plan, run, undecided, seen, facts, now)
    if run.paused:
        sentence = f"Paused at {step.percent:g} %; the gates keep watching"
    elif outcome == "pass":
        sentence = f"All gates pass at {step.percent:g} %; {step.least_s - elapsed:.0f} s of the least bake are left"
    else:
        sentence = f"Watching at {step.percent:g} %: {undecided}"
    return Ruling(run=run, facts=tuple(facts), sentence=sentence)


def _asking(plan: Plan, run: Run, step: Ask, seen: Seen, facts: Facts, now: datetime) -> Ruling:
    """A person of a group says whether to go on; the gates of the exposure in force keep watching."""
    outcome = worst(seen.answers)
    if outcome == "error":
        sentence = next((a.sentence for a in seen.answers if a.outcome == "error"), "no gate gave an answer")
        return trouble(plan, run, "error", sentence, facts, now)
    if run.hold is not None and run.hold.kind == "error":
        facts.append(("hold.ended", {"kind": "error", "step": run.step + 1}))
        run = replace(run, hold=None)
    settled = outcome == "pass" or (outcome == "inconclusive" and patient(seen.answers))
    if seen.answered_by is not None and settled and not run.paused:
        facts.append(("step.answered", {"step": run.step + 1, "by": seen.answered_by, "group": step.group}))
        return _advance(plan, run, seen, facts, now)
    deadline = known(run.step_started_at) + timedelta(seconds=step.expires_s)
    if now >= deadline:
        return _take_back(run, f"nobody of {step.group} answered by {rfc3339(deadline)}", facts, now)
    waiting = f"Waiting for {step.group} to say go on; taken back at {deadline:%H:%M} UTC if nobody does"
    if seen.answered_by is not None:
        waiting = f"{seen.answered_by} said go on; waiting for the gates to pass"
    return Ruling(run=run, facts=tuple(facts), sentence=waiting, look_in_s=LOOK_S)


def _advance(plan: Plan, run: Run, seen: Seen, facts: Facts, now: datetime) -> Ruling:
    """End the step well and begin the next, if policy still lets the change go on."""
    if seen.clearance is not None:
        # No deadline: the exposure stands as it was approved and its gates keep watching, so waiting harms nobody.
        why = (
            f"{seen.clearance} (for as long as it takes: the exposure stands as approved, and its gates keep watching)"
        )
        return begin_hold(run, "policy", why, facts, now)
    if run.hold is not None:
        facts.append(("hold.ended", {"kind": run.hold.kind, "step": run.step + 1}))
    facts.append(
        (
            "step.ended",
            {
                "step": run.step + 1,
                "after_s": (now - known(run.step_started_at)).total_seconds(),
                "answers": [answer.stored() for answer in seen.answers],
            },
        )
    )
    if run.step + 1 == len(plan.steps):
        ended = replace(run, hold=None, verify_started_at=now, extensions=0)
        return Ruling(run=ended, move="verify", facts=tuple(facts), sentence="At full exposure; verifying")
    following = plan.steps[run.step + 1]
    begun = replace(
        run,
        step=run.step + 1,
        step_started_at=now,
        # A question keeps the exposure it found, and with it the moment that was reached.
        reached_at=run.reached_at if isinstance(following, Ask) else None,
        moving_since=None if isinstance(following, Ask) else now,
        extensions=0,
        hold=None,
        verdicts={},
    )
    facts.append(_step_fact(plan, begun))
    if isinstance(following, Ask):
        return Ruling(run=begun, facts=tuple(facts), sentence=f"Waiting for {following.group} to say go on")
    want = Want(kind="apply", unit=following.unit, exposure=Exposure(new_percent=following.percent), again=begun.drifts)
    return Ruling(run=begun, wants=(want,), facts=tuple(facts), sentence=f"Moving to {following.percent:g} %")


def _converge(plan: Plan, run: Run, step: Expose, seen: Seen, facts: Facts, now: datetime) -> Ruling:
    """Observed is not wanted: ask for it (again), and say so when it had been there before.

    A target that refuses, or has not moved in the time the step may take, holds the rollout while it is asked on; at
    the deadline of a hold it is taken back, so a rollout never waits for a target for ever.
    """
    observation = seen.units[step.unit]
    if observation is None:
        raise AssertionError("a target that did not answer cannot be asked for more")
    run = _lost(run, step, observation, facts, now)
    want = Want(kind="apply", unit=step.unit, exposure=Exposure(new_percent=step.percent), again=run.drifts)
    moving = f"{step.unit} from {observation.exposure.new_percent:g} % to {step.percent:g} %"
    since = run.moving_since or known(run.step_started_at)
    late = now >= since + timedelta(seconds=step.most_s)
    if seen.fault is None and not late:
        return Ruling(run=run, wants=(want,), facts=tuple(facts), sentence=f"Moving {moving}", look_in_s=LOOK_S / 2)
    why = f"the target did not move {moving}: {seen.fault or f'not within {step.most_s:g} s'}"
    ruling = trouble(plan, run, "error", why, facts, now)
    return ruling if ruling.move != "stay" else replace(ruling, wants=(want,))


def _inconclusive(plan: Plan, run: Run, why: str, seen: Seen, facts: Facts, now: datetime) -> Ruling:
    """The step may take no longer and the evidence is not in: hold, then do what the plan says."""
    hold = run.hold
    if hold is None or hold.kind != "inconclusive":
        return begin_hold(run, "inconclusive", why, facts, now)
    if patient(seen.answers):
        return Ruling(run=run, facts=tuple(facts), sentence=f"Needs you: {why}", look_in_s=CALM_LOOK_S)
    if hold.asked_until is not None:
        if seen.answered_by is not None and not run.paused:
            facts.append(("step.answered", {"step": run.step + 1, "by": seen.answered_by, "group": "operators"}))
            return _advance(plan, run, seen, facts, now)
        if now >= hold.asked_until:
            return _take_back(run, f"the evidence stayed inconclusive and nobody decided: {why}", facts, now)
    elif now >= hold.since + timedelta(seconds=plan.on_inconclusive_hold_s):
        if plan.on_inconclusive == "extend" and run.extensions < plan.most_extensions:
            extended = replace(run, hold=None, extensions=run.extensions + 1)
            facts.append(("step.extended", {"step": run.step + 1, "extensions": extended.extensions}))
            return Ruling(run=extended, facts=tuple(facts), sentence="Extended once more to gather evidence")
        if plan.on_inconclusive == "ask":
            until = now + timedelta(seconds=plan.ask_expires_s)
            asked = replace(run, hold=replace(hold, asked_until=until, sentence=why))
            facts.append(("hold.asked", {"step": run.step + 1, "until": rfc3339(until)}))
            return Ruling(run=asked, facts=tuple(facts), sentence=f"Needs you: {why}")
        return _take_back(run, f"the evidence stayed inconclusive: {why}", facts, now)
    lead = "Needs you" if hold.asked_until is not None else "Held"
    return Ruling(run=run, facts=tuple(facts), sentence=f"{lead}: {why}")


def trouble(plan: Plan, run: Run, kind: HoldKind, why: str, facts: Facts, now: datetime) -> Ruling:
    """A gate or a target is in error: hold, and take back at the deadline."""
    if run.hold is None or run.hold.kind != kind:
        return begin_hold(run, kind, why, facts, now)
    if now >= run.hold.since + timedelta(seconds=plan.on_error_hold_s):
        return _take_back(run, f"held for {plan.on_error_hold_s:g} s and still: {why}", facts, now)
    return Ruling(run=run, facts=tuple(facts), sentence=f"Held: {why}")


def begin_hold(run: Run, kind: HoldKind, why: str, facts: Facts, now: datetime) -> Ruling:
    if run.hold is None or run.hold.kind != kind:
        facts.append(("hold.begun", {"kind": kind, "step": run.step + 1, "sentence": why}))
        run = replace(run, hold=Hold(kind=kind, since=now, sentence=why))
    look_in_s = CALM_LOOK_S if kind == "policy" else LOOK_S
    return Ruling(run=run, facts=tuple(facts), sentence=f"Held: {why}", look_in_s=look_in_s)


def convict(run: Run, failed: list[Answer], facts: Facts, now: datetime) -> Ruling:
    """A gate found harm: say with which numbers, and take everything back."""
    facts.append(
        (
            "harm.convicted",
            {
                "step": run.step + 1,
                "gates": [answer.stored() for answer in failed],
                "after_s": max(0.0, (now - run.reached_at).total_seconds()) if run.reached_at is not None else 0.0,
            },
        )
    )
    return _take_back(replace(run, convicted=True), failed[0].sentence, facts, now)


def _take_back(run: Run, why: str, facts: Facts, now: datetime) -> Ruling:
    ruling = roll_back(run, why, now)
    return replace(ruling, facts=(*facts, *ruling.facts))


def roll_back(run: Run, why: str, now: datetime) -> Ruling:
    """Begin taking back, from whatever state. The effects follow from what is observed."""
    begun = replace(run, hold=None, paused=False, rollback_started_at=now, rollback_reason=why)
    return Ruling(
        run=begun,
        move="roll_back",
        facts=(("rollback.started", {"step": run.step + 1, "sentence": why}),),
        sentence=f"Taking back: {why}",
        look_in_s=0.0,
    )


def taking_back(plan: Plan, run: Run, seen: Seen, now: datetime) -> Ruling:
    """Bring every unit that is not at its baseline back to it, dependants first.

    A unit that was never prepared has no baseline and was never touched. A unit past its point of no return is left
    to its mitigation. At the deadline the rollback has failed, with each unit's state in the fact.
    """
    touched = [name for name in run.baselines if not plan.unit(name).point_of_no_return]
    away = [name for name in touched if not at_baseline(run, name, seen.units.get(name))]
    started = known(run.rollback_started_at)
    if not away and seen.settled:
        took_s = max(0.0, (now - started).total_seconds())
        ended: Facts = [("rollback.ended", {"took_s": took_s, "units": sorted(touched)})]
        return Ruling(run=run, move="rolled_back", facts=tuple(ended), sentence=f"Taken back: {run.rollback_reason}")
    if away and now >= started + timedelta(seconds=plan.rollback_budget_s):
        states: dict[str, Any] = {name: state_of(seen.units.get(name)) for name in sorted(touched)}
        return Ruling(
            run=run,
            move="rollback_failed",
            facts=(("rollback.failed", {"units": states}),),
            sentence=f"Rollback failed: {', '.join(away)} would not go back; {mitigation_of(plan)}",
        )
    # A wave waits for the ones before it; a unit that fails does not stop those that do not depend on it.
    stuck: set[str] = set()
    wanted: list[Want] = []
    for wave in plan.reverse(touched):
        wanted += [
            Want(kind="revert", unit=name, again=seen.reverts.get(name, 0))
            for name in wave
            if name in away and not _dependants(plan, name) & stuck
        ]
        stuck |= {name for name in wave if name in away}
    sentence = (
        f"Taking back {', '.join(away)}: {run.rollback_reason}" if away else "Taken back; letting old effects expire"
    )
    return Ruling(run=run, wants=tuple(wanted), sentence=sentence, look_in_s=LOOK_S / 2)


def mitigation_of(plan: Plan) -> str:
    """Return what to do where going back fails, as an instruction."""
    return "use the mitigation now" if plan.runbook is None else f"follow the runbook {plan.runbook} now"


def stranded(plan: Plan, run: Run, seen: Seen, now: datetime) -> Ruling | None:
    """After a rollback failed nothing is ordered any more, but what is seen counts: taken back by hand is taken back.

    Returns None while a unit is not observed at its baseline.
    """
    touched = [name for name in run.baselines if not plan.unit(name).point_of_no_return]
    if not seen.settled or not all(at_baseline(run, name, seen.units.get(name)) for name in touched):
        return None
    took_s = max(0.0, (now - known(run.rollback_started_at)).total_seconds())
    ended: Facts = [("rollback.ended", {"took_s": took_s, "units": sorted(touched), "by_hand": True})]
    sentence = f"Taken back outside of Airboss: {run.rollback_reason}"
    return Ruling(run=run, move="rolled_back", facts=tuple(ended), sentence=sentence)


def at_baseline(run: Run, unit: str, observation: Observation | None) -> bool:
    """Return whether a unit is observed where it was before the first exposure."""
    if observation is None:
        return False
    return abs(observation.exposure.new_percent - run.baselines[unit].new_percent) <= SAME_PERCENT


def _dependants(plan: Plan, name: str) -> set[str]:
    return {unit.name for unit in plan.units if name in unit.needs}


def tell_verdicts(run: Run, answers: tuple[Answer, ...], facts: Facts) -> Run:
    """Record each gate whose verdict is another than the last one told; before the exposure stands there is none."""
    if run.reached_at is None:
        return run
    told = dict(run.verdicts)
    for answer in answers:
        if told.get(answer.gate) != answer.outcome:
            facts.append(("gate.answered", {"step": run.step + 1, **answer.stored()}))
            told[answer.gate] = answer.outcome
    return run if told == run.verdicts else replace(run, verdicts=told)


def _step_fact(plan: Plan, run: Run) -> tuple[str, Mapping[str, Any]]:
    step = plan.steps[run.step]
    body: dict[str, Any] = {"step": run.step + 1, "of": len(plan.steps), "kind": step.kind}
    if isinstance(step, Expose):
        body |= {"unit": step.unit, "percent": step.percent, "least_s": step.least_s, "most_s": step.most_s}
    else:
        body |= {"group": step.group, "expires_s": step.expires_s}
    return "step.started", body


def state_of(observation: Observation | None) -> str:
    """Return where a unit was seen, in words for a fact."""
    return "no answer" if observation is None else f"{observation.exposure.new_percent:g} %"


def known(at: datetime | None) -> datetime:
    if at is None:
        raise AssertionError("the engine looks at a rollout that was never started")
    return at
