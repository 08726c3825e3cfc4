"""The planner: before the start, how long each step will take at this traffic, and what it could miss.

Runs at submit as one of the inspectors: what it says are findings, shown to approvers. A step whose `most` is too short
for its evidence is a warning; one that can never be certified at this traffic is said so before anybody waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from airboss.act.rollout import Expose, Plan, compile_plan, gates
from airboss.catalog import Catalog
from airboss.changes import Finding, Inspection, Spec
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError
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
        """Return findings about steps whose evidence cannot come in time. Raises Refused for a plan that cannot be."""
        plan = compile_plan(spec)
        return Inspection(findings=tuple(self._findings(self.forecast(plan))))

    def forecast(self, plan: Plan) -> list[Forecast]:
        """Return what each judged step needs, at the traffic of the last minutes."""
        forecasts = []
        for index, step in enumerate(plan.steps):
            if not isinstance(step, Expose) or not 0 < step.percent < 100:
                continue
            metrics = gates.metrics_of(step.gates)
            if not metrics:
                continue
            unit = plan.unit(step.unit)
            recent = self._recent(unit.service, unit.environment)
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

    def _findings(self, forecasts: Sequence[Forecast]) -> list[Finding]:
        found = []
        for forecast in forecasts:
            about = f"step {forecast.step} at {forecast.percent:g} %"
            if forecast.per_s is None:
                message = f"{about}: no recent traffic is known, so how long it takes cannot be said"
                found.append(Finding(code="traffic-unknown", severity="warning", message=message, subject=about))
                continue
            seconds = forecast.seconds
            if seconds is None or seconds > forecast.most_s:
                takes = "more than it ever will have" if seconds is None else f"about {seconds:.0f} s"
                message = (
                    f"{about}: the evidence needs {takes} at {forecast.per_s:.1f} requests a second, "
                    f"and the step may take {forecast.most_s:.0f} s; it would end inconclusive"
                )
                found.append(Finding(code="step-too-short", severity="warning", message=message, subject=about))
        return found
