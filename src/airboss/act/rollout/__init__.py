"""Rollouts: the plan, the engine's rules, what it keeps, and the orders people give it.

The tower walks changes with `rules` and keeps what it learns through `repo`; `claims` says whose turn it is. Faces
give orders and read through `Rollouts`.
"""

from airboss.act.rollout import claims, gates, repo, rules
from airboss.act.rollout.claims import Claim
from airboss.act.rollout.compile import compile_plan
from airboss.act.rollout.model import Answer, Hold, Ruling, Run, Seen, Want, read_run
from airboss.act.rollout.plan import Ask, Expose, Gate, Plan, Step, Unit, read_plan
from airboss.act.rollout.service import LEGAL, BlockedVersion, Order, Rollouts, possible_orders

__all__ = [
    "LEGAL",
    "Answer",
    "Ask",
    "BlockedVersion",
    "Claim",
    "Expose",
    "Gate",
    "Hold",
    "Order",
    "Plan",
    "Rollouts",
    "Ruling",
    "Run",
    "Seen",
    "Step",
    "Unit",
    "Want",
    "claims",
    "compile_plan",
    "gates",
    "possible_orders",
    "read_plan",
    "read_run",
    "repo",
    "rules",
]
