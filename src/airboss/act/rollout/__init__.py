"""Rollouts: the plan, the engine's rules, what it keeps, and the orders people give it.

Faces give orders through `Rollouts` and read what is kept. The tower alone goes deeper: it walks changes with `rules`,
asks `gates`, takes turns by `claims` and keeps what it learns through `repo`.
"""

from airboss.act.rollout.claims import Claim, lag, poke, sentences
from airboss.act.rollout.compile import compile_plan
from airboss.act.rollout.model import Answer, Hold, Ruling, Run, Seen, Want, read_run
from airboss.act.rollout.obligations import unmet
from airboss.act.rollout.plan import Ask, Expose, Gate, Plan, Step, Unit, read_plan
from airboss.act.rollout.repo import (
    ExposureRow,
    Judgement,
    effects_of,
    exposures_of,
    judged_since,
    judgement_of,
    judgements_of,
    standing_of,
)
from airboss.act.rollout.service import LEGAL, BlockedVersion, Order, Rollouts, action_of, possible_orders

__all__ = [
    "LEGAL",
    "Answer",
    "Ask",
    "BlockedVersion",
    "Claim",
    "Expose",
    "ExposureRow",
    "Gate",
    "Hold",
    "Judgement",
    "Order",
    "Plan",
    "Rollouts",
    "Ruling",
    "Run",
    "Seen",
    "Step",
    "Unit",
    "Want",
    "action_of",
    "compile_plan",
    "effects_of",
    "exposures_of",
    "judged_since",
    "judgement_of",
    "judgements_of",
    "lag",
    "poke",
    "possible_orders",
    "read_plan",
    "read_run",
    "sentences",
    "standing_of",
    "unmet",
]
