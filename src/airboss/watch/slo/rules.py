"""Budgets and burn rates, from summed counts. Pure: counts and the time are arguments. Missing data is not zero."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from airboss.kernel.errors import Invalid
from airboss.watch.slo.model import (
    FAST,
    RULES_30D,
    Answer,
    Before,
    BudgetStatus,
    BudgetUse,
    BurnAnswer,
    BurnRule,
    GateAnswer,
    Indicator,
    IndicatorKind,
    Objective,
    Slo,
)
from airboss.watch.telemetry import WindowCounts, bin_lower_us

_PERIOD: Final = timedelta(days=30)
_LEAST_OBSERVED: Final = 0.8
"""Part of the short window that must have been watched before it may fail."""
_LEAST_WATCHED: Final = timedelta(seconds=20)
"""How long it must have been watched before it may pass: the gate asks whether the budget burns now, and asks again each
second, so a server that has just started need not wait for the window to fill."""
_NOTHING_BEFORE: Final[Mapping[str, Before]] = MappingProxyType({})
_SLACK: Final = 1e-9
"""Relative, for 0.1 / (1 − 0.9) is not 1 in binary."""


def events(indicator: Indicator, objective: Objective, counts: WindowCounts) -> tuple[int, int] | None:
    """Return (total, bad) events of a window, None when durations were not kept for it.

    A duration limit inside a histogram bin is rounded down to the bin's start, so bad is never too small (by at most one
    bin, 9 % of the limit).
    """
    if indicator.kind is IndicatorKind.STATUS:
        return counts.total, counts.bad
    if counts.hist is None or objective.limit_us is None:
        return None
    # The edge itself is good: +1e-9 keeps log2 of an exact edge from falling below it.
    good_bins = min(max(math.floor(8 * math.log2(objective.limit_us) + 1e-9), 0), len(counts.hist))
    return counts.total, counts.total - int(counts.hist[:good_bins].sum())


def effective_limit_us(objective: Objective) -> float | None:
    """Return the duration that is in fact held against: the start of the bin the limit lies in."""
    if objective.limit_us is None:
        return None
    return bin_lower_us(max(math.floor(8 * math.log2(objective.limit_us) + 1e-9), 0))


def budget(slo: Slo, objective: Objective, indicator: Indicator, counts: WindowCounts) -> BudgetStatus:
    """Return how much of the error budget is spent, by events summed over the window."""
    found = events(indicator, objective, counts)
    total, bad = found or (0, 0)
    known = found is not None and total > 0
    spent = bad / (total * objective.allowed) if known else None
    if found is None:
        sentence = f"The budget of {slo.name} is unknown: durations are not kept for {_told(counts.window)}."
    elif spent is None:
        sentence = f"The budget of {slo.name} is unknown: no events in {_told(counts.window)}."
    else:
        sentence = (
            f"{slo.name} has {1 - spent:.1%} of its budget left: {bad:,} of {total:,} events were bad "
            f"in {_told(counts.window)}, {total * objective.allowed:,.1f} are allowed."
        )
        if counts.observed < _LEAST_OBSERVED * counts.window:
            sentence += f" Only {_told(counts.observed)} of it were observed."
    return BudgetStatus(
        slo=slo.name,
        objective=objective.name,
        target=objective.target,
        window=slo.window,
        known=known,
        total=total,
        bad=bad,
        spent=spent,
        left=None if spent is None else 1 - spent,
        observed=counts.observed,
        sentence=sentence,
    )


def budget_use(
    slo: Slo, objective: Objective, indicator: Indicator, *, during: Sequence[WindowCounts], period: WindowCounts
) -> BudgetUse:
    """Return what the stretches of time in `during` cost the budget of `period`, the objective's whole window."""
    found = [events(indicator, objective, one) for one in during]
    known = [one for one in found if one is not None]
    total, bad = sum(one[0] for one in known), sum(one[1] for one in known)
    length = sum((one.window for one in during), timedelta())
    rate = burn_rate(total, bad, objective) if len(known) == len(found) else None
    # A window that is not summed up to the end yet never makes the share larger than the budget of what was seen.
    allowed = max(period.total, total) * objective.allowed
    spent = None if rate is None else bad / allowed
    if len(known) < len(found):
        sentence = f"What {slo.name} lost is unknown: durations are not kept for so long."
    elif spent is None:
        sentence = f"What {slo.name} lost is unknown: no events in {_told(length)}."
    else:
        sentence = (
            f"{slo.name} lost {spent:.1%} of its budget in {_told(length)}, burning {_rate(rate)}: "
            f"{bad:,} of {total:,} events were bad."
        )
    return BudgetUse(
        slo=slo.name, objective=objective.name, total=total, bad=bad, spent=spent, burn=rate, sentence=sentence
    )


def burn_rate(total: int, bad: int, objective: Objective) -> float | None:
    """Return how many times faster than allowed the budget burns; None without events."""
    return bad / total / objective.allowed if total else None


def rules_for(window: timedelta) -> tuple[BurnRule, ...]:
    """Return the burn rules for an SLO window: the same shares of budget in the same times (factor ∝ window)."""
    return tuple(replace(rule, factor=rule.factor * (window / _PERIOD)) for rule in RULES_30D)


def rules_of_gate(above: float) -> tuple[BurnRule, ...]:
    """Return the burn rules of a gate: the pair of one hour at `above`, the slower ones in the Workbook's proportions,
    but never below 1, at which the budget just lasts.
    """
    slower = (replace(rule, factor=max(1.0, rule.factor * above / FAST.factor)) for rule in RULES_30D[1:])
    return (replace(FAST, factor=above), *slower)


def unite(
    answers: Sequence[tuple[BurnRule, BurnAnswer]],
    exposed: timedelta,
    before: Mapping[str, Before] = _NOTHING_BEFORE,
    *,
    compared: bool = False,
) -> GateAnswer:
    """Return which of a gate's pairs decides, and what it comes to. The first pair is the gate's own, and always asked.

    A slower pair adds reasons to stop and never one to go on: with too little data it is left out. It speaks when it
    burns and `exposed`, how long the change has been out, covers its short window. One that pages fails then; one that
    is a ticket is inconclusive, so the rollout holds and asks, and convicts nobody. A pair that pages and burnt before
    the change was out so long is inconclusive too.

    `before` says by pair how it burnt before the change was out, where that is known. A burn that began before convicts
    nobody while no more than the bound came on top of it: the gate is undecided, without a deadline. `compared`: a canary
    beside its own baseline was found harmless now. Then such a burn is told and not held against the change, and one
    that got worse is undecided.
    """
    own = answers[0][1]
    if own.answer is Answer.ERROR:
        return _as_said(own, own.answer)
    held = [
        one
        for number, (rule, said) in enumerate(answers)
        if said.answer is Answer.FAIL
        and (one := _held_against(rule, said, exposed, before.get(rule.name), compared=compared, own=not number))
        is not None
    ]
    for wanted in (Answer.FAIL, Answer.INCONCLUSIVE):
        # What has a deadline comes before what has none.
        for one in sorted(held, key=lambda one: one.patient):
            if one.answer is wanted:
                return one
    if own.answer is Answer.INCONCLUSIVE or not held:
        return _as_said(own, own.answer)
    return held[0]


def _held_against(
    rule: BurnRule, said: BurnAnswer, exposed: timedelta, before: Before | None, *, compared: bool, own: bool
) -> GateAnswer | None:
    """Return what a pair that burns comes to, None where it says nothing yet."""
    page = rule.severity == "page"
    if not own and not page and exposed < rule.short:
        return None
    if before is not None and before.began:
        numbers = (
            f"{said.sentence} It burnt {_rate(before.short)} in the {_told(rule.short)} before the change was out, and "
            f"{_rate(before.since_long)} since"
        )
        if not before.worse and compared:
            return GateAnswer(
                said=said,
                answer=Answer.PASS,
                before=before,
                sentence=f"{numbers}; the canary is no worse than what runs beside it, so it is not held against the change.",
            )
        if not before.worse or compared:
            return GateAnswer(
                said=said,
                answer=Answer.INCONCLUSIVE,
                before=before,
                patient=True,
                sentence=f"{numbers}: it began before, so it takes nothing back; go on by hand (promote) if this is the mend.",
            )
        more = f"{numbers}: what came on top is beyond {rule.factor:.4g} by itself."
        return GateAnswer(said=said, answer=Answer.FAIL if page else Answer.INCONCLUSIVE, sentence=more, before=before)
    fails = page and (own or exposed >= rule.short)
    return GateAnswer(
        said=said, answer=Answer.FAIL if fails else Answer.INCONCLUSIVE, sentence=said.sentence, before=before
    )


def _as_said(said: BurnAnswer, answer: Answer) -> GateAnswer:
    return GateAnswer(said=said, answer=answer, sentence=said.sentence)


def compare(
    rule: BurnRule,
    objective: Objective,
    indicator: Indicator,
    *,
    before: WindowCounts,
    since: WindowCounts,
    recent: WindowCounts,
) -> Before:
    """Hold a pair that burns against how it burnt before a change was out.

    `before` is the rule's short window that ended when the change came out; `since` and `recent` end now and begin then, or
    as long ago as the rule's long and short window. Too few events before mean that nothing is known to have burnt.
    """
    was, long, short = (events(indicator, objective, counts) or (0, 0) for counts in (before, since, recent))
    rate = burn_rate(*was, objective)
    since_long, since_short = burn_rate(*long, objective), burn_rate(*short, objective)
    bound = rule.factor * (1 - _SLACK)
    began = rate is not None and rate >= bound and was[1] >= rule.least_bad
    on_top = [None if one is None or rate is None else one - rate for one in (since_long, since_short)]
    worse = long[0] >= rule.least_events and all(more is not None and more >= bound for more in on_top)
    return Before(began=began, worse=worse, short=rate, since_long=since_long, since_short=since_short)


def can_fail(rule: BurnRule, objective: Objective) -> bool:
    """Return whether a rule can fail: with every event bad the budget burns at 1 / (1 − target)."""
    return rule.factor * objective.allowed < 1


def check_rule(rule: BurnRule, objective: Objective) -> None:
    """Raise Invalid for a rule that could never fail."""
    if not can_fail(rule, objective):
        raise Invalid(
            f"burn rule {rule.name} can never fail: at a target of {objective.target:.10g} the fastest burn is "
            f"{1 / objective.allowed:.4g}, below its factor {rule.factor:.4g}",
            code="burn-rule-cannot-fail",
            way_out="lower the factor, or raise the target",
        )
    if not timedelta() < rule.short < rule.long:
        raise Invalid(
            f"burn rule {rule.name} has a short window of {rule.short} and a long one of {rule.long}",
            code="burn-rule-windows",
            way_out="make the long window longer than the short one",
        )


def judge_burn(
    slo: Slo,
    objective: Objective,
    indicator: Indicator,
    rule: BurnRule,
    *,
    long: WindowCounts,
    short: WindowCounts,
    newest: datetime | None,
    now: datetime,
    max_age: timedelta,
) -> BurnAnswer:
    """Say whether the budget burns too fast: fail when both windows do, error on stale data, inconclusive on too little.

    Raises Invalid for a rule that cannot fail, and AssertionError when the windows are not the rule's.
    """
    check_rule(rule, objective)
    assert (long.window, short.window) == (rule.long, rule.short), "the counts are of the rule's windows"
    found_long, found_short = events(indicator, objective, long), events(indicator, objective, short)
    total_long, bad_long = found_long or (0, 0)
    total_short, bad_short = found_short or (0, 0)
    burn_long, burn_short = burn_rate(total_long, bad_long, objective), burn_rate(total_short, bad_short, objective)
    age = None if newest is None else now - newest
    held = rule.factor * (1 - _SLACK)
    burning = burn_long is not None and burn_long >= held and burn_short is not None and burn_short >= held
    numbers = (
        f"{slo.name} burns {_rate(burn_long)} over {_told(rule.long)} and {_rate(burn_short)} over {_told(rule.short)}; "
        f"the bound is {rule.factor:.4g}"
    )
    if age is None or age > max_age:
        answer = Answer.ERROR
        told = "there are none" if age is None else f"the newest is {_told(age)} old"
        sentence = f"{slo.name} cannot be judged: samples may be {_told(max_age)} old, and {told}."
    elif found_long is None or found_short is None:
        answer, sentence = Answer.ERROR, f"{slo.name} cannot be judged: durations are not kept for {_told(rule.long)}."
    elif short.observed < (_LEAST_OBSERVED * rule.short if burning else _LEAST_WATCHED):
        answer = Answer.INCONCLUSIVE
        sentence = f"{slo.name} was observed for only {_told(short.observed)} of the last {_told(rule.short)}."
    elif total_long < rule.least_events or not total_short:
        answer = Answer.INCONCLUSIVE
        sentence = (
            f"{numbers}, with {total_long:,} and {total_short:,} events; at least {rule.least_events:,} are needed."
        )
    elif burning and bad_long < rule.least_bad:
        answer = Answer.INCONCLUSIVE
        sentence = f"{numbers}, by only {bad_long} bad of {total_long:,} events; {rule.least_bad} are needed to fail."
    elif burning:
        answer = Answer.FAIL
        sentence = f"{numbers}: {bad_long:,} of {total_long:,} and {bad_short:,} of {total_short:,} events were bad."
    else:
        answer = Answer.PASS
        sentence = f"{numbers}; {bad_long:,} of {total_long:,} events were bad."
    return BurnAnswer(
        answer=answer,
        slo=slo.name,
        objective=objective.name,
        rule=rule.name,
        bound=rule.factor,
        burn_long=burn_long,
        burn_short=burn_short,
        total_long=total_long,
        bad_long=bad_long,
        total_short=total_short,
        bad_short=bad_short,
        newest=newest,
        age=age,
        sentence=sentence,
    )


def span(length: timedelta) -> str:
    """Return a window's name as numbers carry it: 5m, 1h, 3d."""
    seconds = length.total_seconds()
    size, unit = next(
        (size, unit) for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")) if seconds >= size
    )
    return f"{seconds / size:g}{unit}"


def _rate(burn: float | None) -> str:
    return "at an unknown rate" if burn is None else f"{burn:.3g}×"


def _told(length: timedelta) -> str:
    """Return a length of time as a person says it: 28 d, 90 min, 5 s."""
    seconds = length.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
