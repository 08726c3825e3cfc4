"""The planner: before the start, how long each step will take at this traffic, and what it could miss.

Runs at submit as one of the inspectors: what it says are findings, shown to approvers. A step whose `most` is too short
for its evidence is a warning; one whose evidence cannot come in all the time the plan has for it is refused, unless the
change says why it is accepted. A margin no amount of traffic can certify is always refused. Where no traffic is known
nothing is refused: there is not enough data to say, policy reads that, and approvers see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from airboss.act.rollout import Expose, Plan, compile_plan, gates
from airboss.catalog import Catalog
from airboss.changes import Finding, Inspection, Spec
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, Invalid, Refused
from airboss.tower.judge import ALPHA, BETA
from airboss.watch.analysis import StepPlan, Traffic, plan_step
from airboss.watch.telemetry import TelemetryReader, WindowCounts

RECENT: Final = timedelta(minutes=10)
LEAST_OBSERVED: Final = timedelta(seconds=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one step needs, by metric, at the traffic of now. `per_s` None: the traffic is not known."""

    step: int
    percent: float
    most_s: float
    per_s: float | None
    metrics: tuple[StepPlan, ...]
    needed: frozenset[str] = frozenset()
    """The metrics without which the step may not end."""
    has_s: float = 0.0
    """All the time the step has: `most`, the holds, and what it may be extended by."""

    @property
    def about(self) -> str:
        """The step in words."""
        return f"step {self.step} at {self.percent:g} %"

    @property
    def critical(self) -> tuple[StepPlan, ...]:
        """What must be certified before the step may end."""
        return tuple(metric for metric in self.metrics if metric.metric in self.needed)

    @property
    def seconds(self) -> float | None:
        """How long until every metric can be certified if the change is harmless; None if it cannot be said."""
        times = [metric.seconds for metric in self.metrics]
        return None if any(time is None for time in times) else max((t for t in times if t is not None), default=0.0)


class Planner:
    """Forecasts the steps of a plan from recent traffic."""

    def __init__(self, *, catalog: Catalog, telemetry: TelemetryReader, clock: Clock) -> None:
        self._catalog = catalog
        self._telemetry = telemetry
        self._clock = clock

    def inspect(self, spec: Spec, connection: Connection) -> Inspection:  # noqa: ARG002 - the port's signature
        """Return findings about steps whose evidence is late, and objections to those whose evidence cannot come.

        Raises Refused for a plan that cannot be, or Invalid for a margin that no number of requests could certify.
        """
        plan, places = compile_plan(spec), _places(spec)
        _certifiable(plan, spec)
        forecasts = self.forecast(plan)
        late = {} if spec.accepts_underpowered is not None else {one.step: one for one in forecasts if _never(one)}
        return Inspection(
            findings=tuple(_findings([one for one in forecasts if one.step not in late], spec.accepts_underpowered)),
            objections=tuple(_underpowered(one, places[one.step - 1]) for one in late.values()),
        )

    def knows(self, given: Spec) -> bool:
        """Return whether the traffic of now tells how long each judged step of a change takes."""
        return all(forecast.per_s is not None for forecast in self.forecast(compile_plan(given)))

    def forecast(self, plan: Plan) -> list[Forecast]:
        """Return what each judged step needs, at the traffic of the last minutes."""
        forecasts = []
        counted = {place: self._recent(*place) for place in {(unit.service, unit.environment) for unit in plan.units}}
        for index, step in enumerate(plan.steps):
            if not isinstance(step, Expose) or not 0 < step.percent < 100:
                continue
            metrics = gates.metrics_of(step.gates)
            if not metrics:
                continue
            unit = plan.unit(step.unit)
            recent = counted[unit.service, unit.environment]
            context = gates.context_of(plan, index, step)
            traffic = None if recent is None else Traffic(per_s=recent.total / recent.observed.total_seconds())
            base = recent.bad / recent.total if recent is not None and recent.total else None
            hist = None if recent is None else recent.hist
            hists = {} if hist is None else {metric.name: hist for metric in metrics}
            planned = plan_step(
                metrics,
                context,
                traffic=traffic or Traffic(per_s=0.0),
                base_rates={metric.name: base for metric in metrics} if base is not None else {},
                base_hists=hists,
                alpha=ALPHA,
                beta=BETA,
            )
            forecasts.append(
                Forecast(
                    step=index + 1,
                    percent=step.percent,
                    most_s=step.most_s,
                    per_s=None if traffic is None else traffic.per_s,
                    metrics=planned,
                    needed=frozenset(metric.name for metric in metrics if metric.critical),
                    has_s=_has(plan, step),
                )
            )
        return forecasts

    def _recent(self, service: str, environment: str) -> WindowCounts | None:
        """Return the counts of the last minutes, or None where nobody counted for long enough."""
        now: datetime = self._clock.now()
        try:
            (counts,) = self._telemetry.window_counts(service, environment, [RECENT], at=now)
        except AirbossError:
            return None
        return counts if counts.observed >= LEAST_OBSERVED and counts.total else None


def _places(spec: Spec) -> list[str]:
    """Return the field each step of a plan was compiled from, in the order of its steps."""
    return [
        f"spec.rollout.stages[{stage}].steps[{step}]"
        for stage, given in enumerate(spec.stages)
        for step in range(len(given.steps))
    ]


def _certifiable(plan: Plan, spec: Spec) -> None:
    """Raise Invalid, at the gate, for a margin finer than what can be told apart."""
    for unit, stage in zip(plan.units, range(len(spec.stages)), strict=True):
        step = next((step for step in plan.steps if isinstance(step, Expose) and step.unit == unit.name), None)
        where = "" if spec.stages[stage].gates is None else f".stages[{stage}]"
        for number, gate in enumerate(step.gates if step is not None else ()):
            try:
                gates.metrics_of([gate])
            except Invalid as fault:
                fault.place = f"spec.rollout{where}.gates[{number}].canary"
                raise


def _has(plan: Plan, step: Expose) -> float:
    """Return how long evidence may come in before a step is taken back or somebody is asked: holds and extensions too."""
    time = step.most_s + plan.on_inconclusive_hold_s
    if plan.on_inconclusive == "extend":
        for extension in range(1, plan.most_extensions + 1):
            time = max(time, step.most_s * (1 + extension)) + plan.on_inconclusive_hold_s
    return time


def _never(forecast: Forecast) -> bool:
    """Return whether the traffic is known and too little to certify a step in all the time it has."""
    if forecast.per_s is None:
        return False
    return any(metric.seconds is not None and metric.seconds > forecast.has_s for metric in forecast.critical)


def _slowest(forecast: Forecast) -> StepPlan:
    return max(forecast.critical, key=lambda metric: metric.seconds or 0.0)


def _underpowered(forecast: Forecast, place: str) -> Refused:
    slowest = _slowest(forecast)
    return Refused(
        f"{forecast.about} cannot be certified: it needs {slowest.needed_total:,} requests, which take about "
        f"{_time(slowest.seconds or 0.0)} at {forecast.per_s:.3g} a second, and has {_time(forecast.has_s)} "
        f"(`most` {_time(forecast.most_s)} and what `on_inconclusive` adds). {slowest.sentence}",
        code="step-underpowered",
        place=place,
        way_out="let it take longer (bake: {most: …}), expose more, or allow more (allowance, margin); if it is to start "
        "without, say why: rollout: {accept_underpowered: <reason>}",
    )


def _findings(forecasts: Sequence[Forecast], accepted: str | None) -> Iterator[Finding]:
    for forecast in forecasts:
        about = forecast.about
        if forecast.per_s is None:
            message = f"{about}: not enough data: no recent traffic is known, so how long it takes cannot be said"
            yield Finding(code="traffic-unknown", severity="warning", message=message, subject=about)
            continue
        seconds = forecast.seconds
        if seconds is None or seconds > forecast.most_s:
            takes = "more than it ever will have" if seconds is None else f"about {seconds:.0f} s"
            message = (
                f"{about}: the evidence needs {takes} at {forecast.per_s:.1f} requests a second, "
                f"and the step may take {forecast.most_s:.0f} s; it would end inconclusive"
            )
            if accepted is not None:
                message += f". Accepted: {accepted}"
            yield Finding(code="step-too-short", severity="warning", message=message, subject=about)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 5_400:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3_600:.1f} h"
