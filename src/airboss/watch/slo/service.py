"""Budgets and burn gates over live telemetry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from airboss.kernel.errors import Unavailable
from airboss.watch.slo.model import (
    FAST,
    Answer,
    BudgetStatus,
    BudgetUse,
    BurnAnswer,
    BurnRule,
    Indicator,
    IndicatorKind,
    Slo,
)
from airboss.watch.slo.rules import budget, budget_use, check_rule, judge_burn
from airboss.watch.telemetry import TelemetryReader

MAX_AGE: Final = timedelta(seconds=60)


class Objectives:
    """Asks telemetry for the windows a rule needs, and applies the rule."""

    def __init__(self, telemetry: TelemetryReader) -> None:
        self._telemetry = telemetry

    def budgets(self, slo: Slo, indicator: Indicator, environment: str, *, now: datetime) -> list[BudgetStatus]:
        """Return the budget of each objective. Raises Unavailable when the store does not answer."""
        where = indicator.environment or environment
        (counts,) = self._telemetry.window_counts(
            indicator.service, where, [slo.window], at=now, durations=_needs(indicator)
        )
        return [budget(slo, objective, indicator, counts) for objective in slo.objectives]

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
        objective = slo.strictest
        for rule in rules:
            check_rule(rule, objective)
        where = indicator.environment or environment
        windows = sorted({window for rule in rules for window in (rule.long, rule.short)})
        try:
            newest = self._telemetry.freshness(indicator.service, where, now=now)
            found = self._telemetry.window_counts(
                indicator.service, where, windows, at=now, durations=_needs(indicator)
            )
            counted = dict(zip(windows, found, strict=True))
        except Unavailable as fault:
            return [_unknown(slo, rule, f"{slo.name} cannot be judged: {fault.detail}.") for rule in rules]
        return [
            judge_burn(
                slo,
                objective,
                indicator,
                rule,
                long=counted[rule.long],
                short=counted[rule.short],
                newest=newest,
                now=now,
                max_age=max_age,
            )
            for rule in rules
        ]


def _needs(indicator: Indicator) -> bool:
    """Return whether events are told good from bad by how long they took."""
    return indicator.kind is not IndicatorKind.STATUS


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
