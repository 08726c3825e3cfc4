"""What policy obliges a rollout to, held against its plan. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from airboss.act.rollout.plan import Expose, Plan


class Obligations(Protocol):
    """What policy may oblige a plan to, by its shape. `largest_step_percent`: the largest rise of exposure at once."""

    @property
    def canary(self) -> bool: ...
    @property
    def bake_least_s(self) -> int | None: ...
    @property
    def largest_step_percent(self) -> float | None: ...


def unmet(wanted: Obligations, plan: Plan) -> Iterator[str]:
    """Yield, in words with both numbers, each obligation the plan does not meet in its last environment.

    The last environment is the one nearest to users; a rehearsal before it may be as quick as it likes.
    """
    last = plan.units[-1].name
    steps = [step for step in plan.steps if isinstance(step, Expose) and step.unit == last]
    rises = [
        after.percent - before for before, after in zip([0.0, *(one.percent for one in steps)], steps, strict=False)
    ]
    if wanted.canary and not any(
        gate.kind == "canary" and gate.applies(one.percent) for one in steps for gate in one.gates
    ):
        yield "policy asks for a canary gate beside a baseline, and the plan has none"
    largest = wanted.largest_step_percent
    if largest is not None and max(rises) > largest:
        yield f"policy allows a rise of at most {largest:g} % at once, and the plan has one of {max(rises):g} %"
    least = wanted.bake_least_s
    shortest = min(one.least_s for one in steps)
    if least is not None and shortest < least:
        yield f"policy asks for at least {least} s in each step, and the plan has one of {shortest:g} s"
