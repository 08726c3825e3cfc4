"""Budgets and burn gates over live telemetry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from airboss.kernel.errors import Unavailable
from airboss.watch.slo.model import (
    FAST,
    Answer,
    Before,
    BudgetStatus,
    BudgetUse,
    BurnAnswer,
    BurnRule,
    Indicator,
    IndicatorKind,
    Slo,
    Standing,
)
from airboss.watch.slo.rules import budget, budget_use, burn_rate, check_rule, compare, events, judge_burn
from airboss.watch.telemetry import Asked, Sums, TelemetryReader, WindowCounts

MAX_AGE: Final = timedelta(seconds=60)
_HOUR: Final = timedelta(hours=1)


class Objectives:
    """Asks telemetry for the windows a rule needs, and applies the rule."""

    def __init__(self, telemetry: TelemetryReader) -> None:
        self._telemetry = telemetry

    def budgets(self, slo: Slo, indicator: Indicator, environment: str, *, now: datetime) -> list[BudgetStatus]:
        """Return the budget of each objective. Raises Unavailable when the store does not answer."""
        return list(self.standings([(slo, indicator, environment)], now=now)[0].budgets)

    def standings(self, asked: Sequence[tuple[Slo, Indicator, str]], *, now: datetime) -> list[Standing]:
        """Return how SLOs stand, each by its indicator, in its indicator's environment or the one given; all that are about
        statuses by one read. Raises Unavailable when the store does not answer.
        """
        found = self._counted([(indicator, where, (slo.window, _HOUR)) for slo, indicator, where in asked], now)
        return [
            Standing(
                budgets=tuple(budget(slo, one, indicator, sums.windows[0]) for one in slo.objectives),
                burn=_burn(indicator, slo, sums.windows[1]),
                newest=sums.newest,
            )
            for (slo, indicator, _), sums in zip(asked, found, strict=True)
        ]

    def use(
        self, slo: Slo, indicator: Indicator, environment: str, spans: Sequence[tuple[datetime, datetime]]
    ) -> BudgetUse:
        """Return what the budget of the strictest objective lost in stretches of time (from, to), at least one.

        Raises Unavailable when the store does not answer.
        """
        where, until = indicator.environment or environment, max(end for _, end in spans)
        during = []
        for start, end in spans:
            length = max(end - start, timedelta(microseconds=1))
            during += self._telemetry.window_counts(
                indicator.service, where, [length], at=end, durations=_needs(indicator)
            )
        (period,) = self._telemetry.window_counts(
            indicator.service, where, [slo.window], at=until, durations=_needs(indicator)
        )
        return budget_use(slo, slo.strictest, indicator, during=during, period=period)

    def burn(
        self,
        slo: Slo,
        indicator: Indicator,
        environment: str,
        *,
        now: datetime,
        rule: BurnRule = FAST,
        max_age: timedelta = MAX_AGE,
    ) -> BurnAnswer:
        """Return one burn rule's answer on the strictest objective, like `burns`."""
        (said,) = self.burns(slo, indicator, environment, now=now, rules=[rule], max_age=max_age)
        return said

    def burns(
        self,
        slo: Slo,
        indicator: Indicator,
        environment: str,
        *,
        now: datetime,
        rules: Sequence[BurnRule],
        max_age: timedelta = MAX_AGE,
    ) -> list[BurnAnswer]:
        """Return the answers of burn rules on the strictest objective, in their order. A store that does not answer is
        an error, never a pass.

        Raises Invalid for a rule that cannot fail at this target.
        """
        (said,) = self.burns_of([(slo, indicator, environment, rules)], now=now, max_age=max_age)
        return said

    def burns_of(
        self,
        asked: Sequence[tuple[Slo, Indicator, str, Sequence[BurnRule]]],
        *,
        now: datetime,
        max_age: timedelta = MAX_AGE,
    ) -> list[list[BurnAnswer]]:
        """Return what `burns` would of many SLOs; all that are about statuses by one read."""
        for slo, _, _, rules in asked:
            for rule in rules:
                check_rule(rule, slo.strictest)
        windows = [tuple({window: None for rule in rules for window in (rule.long, rule.short)}) for *_, rules in asked]
        places = [(indicator, where, lengths) for (_, indicator, where, _), lengths in zip(asked, windows, strict=True)]
        try:
            found = self._counted(places, now)
        except Unavailable as fault:
            return [
                [_unknown(slo, rule, f"{slo.name} cannot be judged: {fault.detail}.") for rule in rules]
                for slo, _, _, rules in asked
            ]
        answers = []
        for (slo, indicator, _, rules), sums in zip(asked, found, strict=True):
            counted = {counts.window: counts for counts in sums.windows}
            answers.append(
                [
                    judge_burn(
                        slo,
                        slo.strictest,
                        indicator,
                        rule,
                        long=counted[rule.long],
                        short=counted[rule.short],
                        newest=sums.newest,
                        now=now,
                        max_age=max_age,
                    )
                    for rule in rules
                ]
            )
        return answers

    def _counted(self, asked: Sequence[tuple[Indicator, str, tuple[timedelta, ...]]], now: datetime) -> list[Sums]:
        """Return what indicators counted in windows that end now, and the newest sample of each, in the given order.

        Counts are moved on from question to question, of all indicators by one read; durations are read, one by one.
        """
        moved = [number for number, (indicator, _, _) in enumerate(asked) if not _needs(indicator)]
        places = [
            Asked(service=indicator.service, environment=indicator.environment or environment, windows=windows)
            for indicator, environment, windows in asked
        ]
        found = dict(zip(moved, self._telemetry.sums_of([places[number] for number in moved], at=now), strict=True))
        for number, place in enumerate(places):
            if number not in found:
                newest = self._telemetry.freshness(place.service, place.environment, now=now)
                counts = self._telemetry.window_counts(place.service, place.environment, place.windows, at=now)
                found[number] = Sums(windows=tuple(counts), newest=newest)
        return [found[number] for number in range(len(asked))]

    def before(
        self,
        slo: Slo,
        indicator: Indicator,
        environment: str,
        *,
        out: datetime,
        now: datetime,
        rules: Sequence[BurnRule],
    ) -> dict[str, Before]:
        """Return by rule how it burnt before a change came out (at `out`) and since, on the strictest objective.

        Raises Unavailable when the store does not answer.
        """
        where, known = indicator.environment or environment, _needs(indicator)
        least = timedelta(microseconds=1)
        since = {window: max(min(window, now - out), least) for rule in rules for window in (rule.long, rule.short)}

        def counted(windows: Iterable[timedelta], at: datetime) -> dict[timedelta, WindowCounts]:
            asked = sorted(set(windows))
            found = self._telemetry.window_counts(indicator.service, where, asked, at=at, durations=known)
            return dict(zip(asked, found, strict=True))

        earlier, later = counted((rule.short for rule in rules), out), counted(since.values(), now)
        return {
            rule.name: compare(
                rule,
                slo.strictest,
                indicator,
                before=earlier[rule.short],
                since=later[since[rule.long]],
                recent=later[since[rule.short]],
            )
            for rule in rules
        }


def _needs(indicator: Indicator) -> bool:
    """Return whether events are told good from bad by how long they took."""
    return indicator.kind is not IndicatorKind.STATUS


def _burn(indicator: Indicator, slo: Slo, counts: WindowCounts) -> float | None:
    """Return how fast the budget of the strictest objective was spent in a window."""
    found = events(indicator, slo.strictest, counts)
    return None if found is None else burn_rate(*found, slo.strictest)


def _unknown(slo: Slo, rule: BurnRule, sentence: str) -> BurnAnswer:
    return BurnAnswer(
        answer=Answer.ERROR,
        slo=slo.name,
        objective=slo.strictest.name,
        rule=rule.name,
        bound=rule.factor,
        burn_long=None,
        burn_short=None,
        total_long=0,
        bad_long=0,
        total_short=0,
        bad_short=0,
        newest=None,
        age=None,
        sentence=sentence,
    )
