"""Objectives and their budgets: OpenSLO in, budgets and burn gates out, over the counts of `watch.telemetry`.

The catalog keeps OpenSLO documents; applying one asks `parse_sli` and `parse_slo`, with the file's own places, whether it
is understood. The tower judges `judge_burn` as a gate and gives `budget` to policy; pages show both. `Objectives` binds the
pure rules to a telemetry reader.
"""

from airboss.watch.slo.model import (
    FAST,
    RULES_30D,
    SLOW,
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
    Place,
    Slo,
    Standing,
)
from airboss.watch.slo.openslo import parse_sli, parse_slo, resolve
from airboss.watch.slo.rules import (
    budget,
    budget_use,
    burn_rate,
    can_fail,
    check_rule,
    compare,
    effective_limit_us,
    events,
    judge_burn,
    rules_for,
    rules_of_gate,
    span,
    unite,
)
from airboss.watch.slo.service import Objectives

__all__ = [
    "FAST",
    "RULES_30D",
    "SLOW",
    "Answer",
    "Before",
    "BudgetStatus",
    "BudgetUse",
    "BurnAnswer",
    "BurnRule",
    "GateAnswer",
    "Indicator",
    "IndicatorKind",
    "Objective",
    "Objectives",
    "Place",
    "Slo",
    "Standing",
    "budget",
    "budget_use",
    "burn_rate",
    "can_fail",
    "check_rule",
    "compare",
    "effective_limit_us",
    "events",
    "judge_burn",
    "parse_sli",
    "parse_slo",
    "resolve",
    "rules_for",
    "rules_of_gate",
    "span",
    "unite",
]
