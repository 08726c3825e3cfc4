"""From a change's facts to the draft of its review. Pure, and forgiving: a fact or a number that is not there is unknown.

Facts read, and what of them (the metrics of detection, rollback and approval time come from the same):

- change.submitted, change.approved, change.completed, change.rolled_back, change.rollback_failed: their times; `attempt`.
- policy.decided: `tier`, `obligations.review`, `exemptions`.
- vote.cast: `verdict` (who cleared the change: people or policy).
- rollout.started, exposure.reached, step.started (`step`, `percent`), step.ended (`answers`): when and how far.
- gate.answered (`gate`, `kind`, `outcome`, `numbers`, `sentence`): coverage; what was judged.
- harm.convicted (`step`, `gates`, `requests_harmed`): by which gates, with which numbers.
- rollback.started, rollback.ended (`took_s`, `requests_harmed`), rollback.failed: how it went back.
- runbook.*, exemption.used: whether there were any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from airboss.learn.reviews.model import Answer, Draft, Harm, Question, Times, Word
from airboss.records.journal import StoredFact

TIERS: Final = ("low", "medium", "high")
_ENDS: Final = {
    "change.completed": "completed",
    "change.rolled_back": "rolled back",
    "change.rollback_failed": "rollback failed",
    "change.rejected": "rejected",
    "change.cancelled": "cancelled",
    "change.expired": "expired",
}


def draft(facts: Sequence[StoredFact]) -> Draft:
    """Return what the facts of one change, in order, say about its last attempt."""
    last_start = max((place for place, fact in enumerate(facts) if fact.type == "rollout.started"), default=None)
    before = facts[:last_start] if last_start is not None else facts
    after = facts[last_start:] if last_start is not None else []
    times = times_of(before, after)
    outcome = next((_ENDS[fact.type] for fact in reversed(facts) if fact.type in _ENDS), "unknown")
    tier = _tier(facts)
    convictions = _of(after, "harm.convicted")
    gates = tuple(gate for fact in convictions[:1] for gate in _mappings(fact.body.get("gates")))
    percent = _exposure(after, times.convicted_at or times.taken_back_at)
    harm = _harm(after, gates)
    reached_production = times.exposed_at is not None
    calm = outcome == "completed" and tier == "low" and not _review_obliged(facts)
    return Draft(
        outcome=outcome,
        attempt=_attempt(facts),
        tier=tier,
        sentence=_sentence(outcome, times, gates, percent, harm),
        cleared_by=_cleared_by(before, times),
        times=times,
        harm=harm,
        convicted_by=gates,
        exposure_percent=percent,
        answers={
            Question.CHANGE_ID: _change_id(after, gates),
            Question.AUTOMATION: _automation(after, times, outcome),
            Question.ANALYSIS: _analysis(after, times, percent, outcome),
            Question.RUNBOOKS: _runbooks(facts),
            Question.EXCEPTIONS: _exceptions(facts),
        },
        for_people=reached_production and not calm,
    )


def times_of(before: Sequence[StoredFact], after: Sequence[StoredFact]) -> Times:
    """Return when what happened; `before` are the facts up to the start of the attempt, `after` those from it on."""
    convicted_at = _first(after, "harm.convicted")
    return Times(
        submitted_at=_last(before, "change.submitted"),
        cleared_at=_last(before, "change.approved"),
        started_at=_first(after, "rollout.started"),
        exposed_at=_first_exposure(after),
        convicted_at=convicted_at,
        taken_back_at=_first(after, "rollback.started"),
        back_at=_last(after, "rollback.ended") or _last(after, "change.rolled_back"),
        completed_at=_last(after, "change.completed"),
    )


# -- the five questions --------------------------------------------------------------------------------------------


def _change_id(after: Sequence[StoredFact], gates: Sequence[Mapping[str, Any]]) -> Answer:
    shares = [
        share
        for answer in _gate_answers(after)
        if "coverage" in str(answer.get("kind", "")) and (share := _number(answer, "numbers", "share_pct")) is not None
    ]
    told_apart = any(gate.get("kind") == "canary" for gate in gates)
    if shares:
        share = shares[-1]
        useful = ", and the harm was told apart by it" if told_apart else ""
        word = Word.YES if share >= 95 else Word.PARTLY if share > 0 else Word.NO
        return Answer(word=word, sentence=f"{share:g} % of the telemetry carried it{useful}.")
    if told_apart:
        return Answer(word=Word.YES, sentence="The harm was told apart by it.")
    if any(answer.get("kind") == "canary" and answer.get("outcome") == "pass" for answer in _gate_answers(after)):
        return Answer(word=Word.YES, sentence="The canary was told apart from the baseline by it.")
    return Answer(word=Word.UNKNOWN, sentence="No fact says how much of the telemetry carried it.")


def _automation(after: Sequence[StoredFact], times: Times, outcome: str) -> Answer:
    if times.started_at is None:
        return Answer(word=Word.NONE, sentence="It never started.")
    steps = len(_of(after, "step.ended"))
    if outcome == "completed":
        by_hand = len(_of(after, "step.skipped"))
        if by_hand:
            return Answer(word=Word.PARTLY, sentence=f"{steps} steps ended, {by_hand} of them skipped by a person.")
        return Answer(word=Word.YES, sentence=f"All {steps} steps ended on their gates' evidence.")
    if outcome == "rolled back":
        took = f" within {_span(times.rollback_s)}" if times.rollback_s is not None else ""
        if times.convicted_at is not None:
            return Answer(word=Word.YES, sentence=f"A gate convicted it and it was taken back{took}, by itself.")
        return Answer(word=Word.PARTLY, sentence=f"It was taken back{took}, with no gate having convicted it.")
    if outcome == "rollback failed":
        return Answer(word=Word.NO, sentence="It could not be taken back in its time; the mitigation was needed.")
    return Answer(word=Word.UNKNOWN, sentence=f"It ended {outcome}.")


def _analysis(after: Sequence[StoredFact], times: Times, percent: float | None, outcome: str) -> Answer:
    if times.convicted_at is not None:
        took = (
            f"{_span(times.detection_s)} after the first exposure" if times.detection_s is not None else "in its time"
        )
        at = f", at {percent:g} % exposure" if percent is not None else ""
        word = Word.PARTLY if percent is not None and percent >= 100 else Word.YES
        return Answer(word=word, sentence=f"It convicted {took}{at}.")
    judged = [answer for answer in _gate_answers(after) if answer.get("kind") == "canary"]
    if not judged:
        return Answer(word=Word.NONE if times.started_at is None else Word.NO, sentence="No canary gate was asked.")
    if outcome == "completed":
        passed = sum(answer.get("outcome") == "pass" for answer in judged)
        return Answer(word=Word.YES if passed else Word.NO, sentence=f"It cleared the change with {passed} passes.")
    return Answer(word=Word.NO, sentence="It had convicted nothing when the change was taken back.")


def _runbooks(facts: Sequence[StoredFact]) -> Answer:
    runs = [fact for fact in facts if fact.type.startswith("runbook.")]
    if not runs:
        return Answer(word=Word.UNKNOWN, sentence="No fact tells of a runbook being run.")
    return Answer(word=Word.UNKNOWN, sentence=f"{len(runs)} facts tell of runbooks; whether they helped is for people.")


def _exceptions(facts: Sequence[StoredFact]) -> Answer:
    decided = _of(facts, "policy.decided")
    used = len(_of(facts, "exemption.used")) + sum(len(_list(fact.body.get("exemptions"))) for fact in decided)
    if used:
        return Answer(word=Word.UNKNOWN, sentence=f"{used} were used; whether rightly is for people.")
    if decided:
        return Answer(word=Word.NONE, sentence=f"None was used in {len(decided)} decisions.")
    return Answer(word=Word.UNKNOWN, sentence="No decision of policy is recorded.")


# -- what happened -------------------------------------------------------------------------------------------------


def _sentence(
    outcome: str, times: Times, gates: Sequence[Mapping[str, Any]], percent: float | None, harm: Harm | None
) -> str:
    if outcome == "completed":
        took = f" after {_span(seconds)}" if (seconds := _seconds(times.started_at, times.completed_at)) else ""
        return f"Completed{took}."
    if times.exposed_at is None:
        return f"Ended {outcome}; nothing of it reached anybody."
    why = f": {gate}" if gates and (gate := str(gates[0].get("sentence", ""))) else ""
    at = f" at {percent:g} % exposure" if percent is not None else ""
    found = f", {_span(times.detection_s)} after the first exposure" if times.detection_s is not None else ""
    back = f", back after {_span(times.rollback_s)}" if times.rollback_s is not None else ""
    about = "" if harm is None or harm.how == "measured" else "about "
    cost = f", {about}{harm.requests:.0f} harmed" if harm is not None else ""
    return f"{outcome.capitalize()}{at}{found}{back}{cost}{why}"


def _harm(after: Sequence[StoredFact], gates: Sequence[Mapping[str, Any]]) -> Harm | None:
    """Return the measured number where a fact has it, else the excess over the baseline's rate that a gate counted.

    The excess is bad − seen · (bad_baseline / seen_baseline), never below 0, in the gate's own units: over the whole
    attempt where the gate tells that, else over its step.
    """
    for fact in reversed([*_of(after, "harm.convicted"), *_of(after, "rollback.ended")]):
        measured = _number(fact.body, "requests_harmed")
        if measured is not None:
            return Harm(requests=measured, how="measured")
    excesses = []
    for gate in gates:
        numbers = gate.get("numbers")
        if not isinstance(numbers, Mapping) or numbers.get("kind") == "latency":
            continue  # a slow request is no bad one
        excess = _excess(numbers, "attempt_")
        excesses.append(excess if excess is not None else _excess(numbers, ""))
    return max(
        (Harm(requests=excess, how="estimated") for excess in excesses if excess is not None),
        key=lambda harm: harm.requests,
        default=None,
    )


def _excess(numbers: Mapping[str, Any], span: str) -> float | None:
    bad, seen = _number(numbers, f"{span}canary_bad"), _number(numbers, f"{span}canary_seen")
    base_bad, base_seen = _number(numbers, f"{span}baseline_bad"), _number(numbers, f"{span}baseline_seen")
    if bad is None or seen is None or base_bad is None or not base_seen:
        return None
    return max(0.0, bad - seen * base_bad / base_seen)


def _cleared_by(before: Sequence[StoredFact], times: Times) -> Literal["people", "policy"] | None:
    if times.cleared_at is None:
        return None
    return "people" if any(fact.body.get("verdict") == "approve" for fact in _of(before, "vote.cast")) else "policy"


def _exposure(after: Sequence[StoredFact], until: datetime | None) -> float | None:
    """Return the largest share, in percent, that an exposure had reached by a time."""
    reached = [
        percent
        for fact in _of(after, "exposure.reached")
        if (until is None or fact.at <= until) and (percent := _number(fact.body, "percent")) is not None
    ]
    return max(reached, default=None)


def _first_exposure(after: Sequence[StoredFact]) -> datetime | None:
    reached = (fact.at for fact in _of(after, "exposure.reached") if (_number(fact.body, "percent") or 0) > 0)
    return next(reached, None) or _first(after, "step.started")


def _tier(facts: Sequence[StoredFact]) -> str | None:
    found = [str(fact.body.get("tier")) for fact in _of(facts, "policy.decided")]
    return max((tier for tier in found if tier in TIERS), key=TIERS.index, default=None)


def _review_obliged(facts: Sequence[StoredFact]) -> bool:
    obligations = (fact.body.get("obligations") for fact in _of(facts, "policy.decided"))
    return any(isinstance(found, Mapping) and bool(found.get("review")) for found in obligations)


def _attempt(facts: Sequence[StoredFact]) -> int:
    found = (_number(fact.body, "attempt") for fact in reversed(facts) if fact.type.startswith("change."))
    return int(next((number for number in found if number is not None), 1))


# -- reading bodies ------------------------------------------------------------------------------------------------


def _gate_answers(after: Sequence[StoredFact]) -> list[Mapping[str, Any]]:
    """Return every answer of a gate that a fact tells, in order."""
    told: list[Mapping[str, Any]] = []
    for fact in after:
        if fact.type == "gate.answered":
            told.append(fact.body)
        elif fact.type in {"step.ended", "rollout.verified"}:
            told += _mappings(fact.body.get("answers"))
        elif fact.type == "harm.convicted":
            told += _mappings(fact.body.get("gates"))
    return told


def _of(facts: Iterable[StoredFact], kind: str) -> list[StoredFact]:
    return [fact for fact in facts if fact.type == kind]


def _first(facts: Iterable[StoredFact], kind: str) -> datetime | None:
    return next((fact.at for fact in facts if fact.type == kind), None)


def _last(facts: Sequence[StoredFact], kind: str) -> datetime | None:
    return _first(reversed(facts), kind)


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, Mapping)]


def _number(body: object, *path: str) -> float | None:
    for name in path:
        body = body.get(name) if isinstance(body, Mapping) else None
    return float(body) if isinstance(body, int | float) and not isinstance(body, bool) else None


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _span(seconds: float | None) -> str:
    """Return a length of time as people say it."""
    if seconds is None:
        return "an unknown time"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
