"""How the judgement of a rollout went, block by block: the confidence sequence that plots show.

Only the latest analysis and every change of verdict are kept; what lay between follows from the sealed blocks, which never
change. So it is computed again, with the same functions in the same order as `judge` does, and nothing here decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, cast

from airboss.act.rollout import Expose, Gate, Plan, gates
from airboss.tower.judge import ALPHA, BETA, as_block
from airboss.watch.analysis import Design, State, alpha_of_attempt, decide, new_step, start, update
from airboss.watch.telemetry import SealedBlock, TelemetryReader

POINTS_MOST: Final = 300
"""Looks kept for each attempt; a longer one is looked at less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What the gates would have said after the block that ended `at`; `metrics` by gate, as `MetricVerdict` in JSON.

    `outcome`, `log_e_harm` and `reasons` are those of all gates together.
    """

    at: datetime
    step: int
    outcome: str
    log_e_harm: float
    reasons: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The course so far, and what it takes to go on from there without reading old blocks again.

    `states` and `last_blocks` are by unit, as the judge keeps them: what one unit's blocks told says nothing of another.
    """

    points: tuple[Point, ...] = ()
    step: int = 0
    last_blocks: Mapping[str, datetime] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)


def retrace(
    telemetry: TelemetryReader,
    plan: Plan,
    *,
    change_id: str,
    attempt: int,
    begun: datetime,
    until_step: int,
    ended: Mapping[int, datetime],
    now: datetime,
    known: Trace | None = None,
) -> Trace:
    """Return the course of an attempt up to `now`, going on from `known`. Raises Unavailable.

    `until_step` is the index of the step the rollout stands at; `ended` says when the steps before it were decided, for what
    is sealed later was not judged any more. The numbers are those of the judge unless it had to begin
    its analysis anew with another alpha.
    """
    trace = known or Trace()
    least_apart = max((now - begun) / POINTS_MOST, timedelta(0))
    for index in range(trace.step, until_step + 1):
        step = plan.steps[index]
        asked = _asked(step) if isinstance(step, Expose) else ()
        if not isinstance(step, Expose) or not asked:
            continue
        unit = plan.unit(step.unit)
        state = trace.states.get(unit.name)
        if state is None:
            design = Design.RAMP if unit.kind == "flag" else Design.DEPLOY
            state = start(
                gates.metrics_of(asked), alpha_of_attempt(ALPHA, attempt), BETA, len(plan.units), design=design
            )
        context = gates.context_of(plan, index, step)
        if state.step != context:
            state = new_step(state, context)
        trace = replace(trace, states={**trace.states, unit.name: state}, step=index)
        while blocks := telemetry.blocks(
            change_id=change_id,
            service=unit.service,
            environment=unit.environment,
            attempt=attempt,
            step=index,
            after=trace.last_blocks.get(unit.name),
            now=min(now, ended.get(index, now)),
        ):
            trace = _folded(trace, unit.name, blocks, share=step.percent / 100, least_apart=least_apart)
    return trace


def _asked(step: Expose) -> tuple[Gate, ...]:
    return tuple(gate for gate in step.gates if gate.kind == "canary" and gate.applies(step.percent))


def _folded(trace: Trace, unit: str, blocks: tuple[SealedBlock, ...], *, share: float, least_apart: timedelta) -> Trace:
    state = trace.states[unit]
    points = list(trace.points)
    for number, block in enumerate(blocks, start=1):
        if not block.saturated:
            state = update(state, as_block(block, share))
        apart = not points or points[-1].step != trace.step or block.end - points[-1].at >= least_apart
        if apart or number == len(blocks):
            verdict = cast("Mapping[str, Any]", decide(state).as_json())
            points.append(
                Point(
                    at=block.end,
                    step=trace.step,
                    outcome=verdict["outcome"],
                    log_e_harm=verdict["log_e_harm"],
                    reasons=tuple(verdict["reasons"]),
                    metrics={one["metric"]: one for one in verdict["metrics"]},
                )
            )
    return replace(
        trace,
        states={**trace.states, unit: state},
        points=tuple(points),
        last_blocks={**trace.last_blocks, unit: blocks[-1].end},
    )
