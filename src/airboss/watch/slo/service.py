"""Budgets and burn gates over live telemetry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from airboss.kernel.errors import Unavailable
from airboss.watch.slo.model import FAST, Answer, BudgetStatus, BurnAnswer, BurnRule, Indicator, Slo
from airboss.watch.slo.rules import budget, check_rule, judge_burn
from airboss.watch.telemetry import TelemetryReader

MAX_AGE: Final = timedelta(seconds=60)


class Objectives:
    """Asks telemetry for the windows a rule needs, and applies the rule."""

    def __init__(self, telemetry: TelemetryReader) -> None:
        self._telemetry = telemetry

    def budgets(self, slo: Slo, indicator: Indicator, environment: str, *, now: datetime) -> list[BudgetStatus]:
        """Return the budget of each objective. Raises Unavailable when the store does not answer."""
        where = indicator.environment or environment
        (counts,) = self._telemetry.window_counts(indicator.service, where, [slo.window], at=now)
        return [budget(slo, objective, indicator, counts) for objective in slo.objectives]

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
        """Return the burn gate's answer on the strictest objective. A store that does not answer is an error, never a
        pass.

        Raises Invalid for a rule that cannot fail at this target.
        """
        objective = slo.strictest
        check_rule(rule, objective)
        where = indicator.environment or environment
        try:
            newest = self._telemetry.freshness(indicator.service, where, now=now)
            long, short = self._telemetry.window_counts(indicator.service, where, [rule.long, rule.short], at=now)
        except Unavailable as fault:
            return BurnAnswer(
                answer=Answer.ERROR,
                slo=slo.name,
                objective=objective.name,
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
                sentence=f"{slo.name} cannot be judged: {fault.detail}.",
            )
        return judge_burn(
            slo,
            objective,
            indicator,
            rule,
            long=long,
            short=short,
            newest=newest,
            now=now,
            max_age=max_age,
        )
