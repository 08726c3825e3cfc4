"""The rollout as people watch it: steps, gates with their numbers, exposure wanted and observed, the plot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from airboss.act.rollout import Expose, Plan, Run, possible_orders, read_plan, read_run
from airboss.bootstrap import House
from airboss.changes import Change, Phase
from airboss.faces.reads.dossier import Dossier
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError, NotFound
from airboss.watch.analysis import quantile_us

POINTS_MOST: Final = 240


def rollout_view(read: Dossier) -> dict[str, Any] | None:
    """Return where the rollout of a change stands, or None before its plan was made. Three queries."""
    change = read.change
    stored = None if change.run is None else json.loads(change.run)
    if stored is None:
        return None
    plan, run = read_plan(stored["plan"]), read_run(stored["run"])
    told = _gates_told([{"type": fact.type, "at": rfc3339(fact.at), **fact.body} for fact in read.facts])
    live = {unit.name: _judgement(read, unit.name) for unit in plan.units}
    answers = next((found["answers"] for found in live.values() if found and found["step"] == run.step + 1), None)
    observed = {row.unit: row.percent for row in read.standing}
    exposing = plan.exposing(run.step)
    return {
        "mode": run.mode,
        "paused": run.paused,
        "hold": None
        if run.hold is None
        else {
            "kind": run.hold.kind,
            "since": rfc3339(run.hold.since),
            "sentence": run.hold.sentence,
            "asked_until": None if run.hold.asked_until is None else rfc3339(run.hold.asked_until),
        },
        "step": run.step + 1,
        "of": len(plan.steps),
        "started_at": _time(run.started_at),
        "step_started_at": _time(run.step_started_at),
        "reached_at": _time(run.reached_at),
        "convicted": run.convicted,
        "rollback": None
        if run.rollback_started_at is None
        else {"started_at": rfc3339(run.rollback_started_at), "reason": run.rollback_reason},
        "allowance_pct": plan.allowance_share * 100,
        "verify_s": plan.verify_s,
        "units": [
            {
                "name": unit.name,
                "service": unit.service,
                "environment": unit.environment,
                "kind": unit.kind,
                "params": dict(unit.params),
                "digest": unit.digest,
                "observed_pct": _observed(change, run, unit.name, observed),
                "baseline_pct": run.baselines[unit.name].new_percent if unit.name in run.baselines else None,
            }
            for unit in plan.units
        ],
        "wanted_pct": _wanted(change, run, exposing),
        "steps": _steps(change, plan, run, facts_by_step(told), answers),
        "verdict": next((found["verdict"] for found in live.values() if found), None),
        "orders": possible_orders(change),
    }


def _observed(change: Change, run: Run, unit: str, standing: Mapping[str, float]) -> float | None:
    """Return what was last observed of a unit; None while it moves."""
    if change.outcome == Phase.COMPLETED.words:
        return 100.0
    if change.outcome == Phase.ROLLED_BACK.words and unit in run.baselines:
        return run.baselines[unit].new_percent
    return standing.get(unit)


def _judgement(read: Dossier, unit: str) -> Mapping[str, Any] | None:
    found = read.judgements.get((read.change.id, read.change.attempt, unit))
    return None if found is None else found.evidence


def _wanted(change: Change, run: Run, exposing: Expose | None) -> float | None:
    if change.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.ROLLBACK_FAILED):
        return min((baseline.new_percent for baseline in run.baselines.values()), default=0.0)
    if change.outcome == "rolled back":
        return 0.0
    return None if exposing is None or run.started_at is None else exposing.percent


def _gates_told(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {
        *("gate.answered", "step.started", "step.ended", "step.skipped", "exposure.reached", "harm.convicted"),
        *("step.answered", "rollback.started"),
    }
    return [body for body in bodies if body["type"] in kinds]


def facts_by_step(told: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Return what was told of each step, in order."""
    found: dict[int, list[dict[str, Any]]] = {}
    for body in told:
        if isinstance(body.get("step"), int):
            found.setdefault(body["step"], []).append(body)
    return found


def _steps(
    change: Change,
    plan: Plan,
    run: Run,
    told: Mapping[int, list[dict[str, Any]]],
    answers: list[dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """Return every step; entered ones with the newest answer of each gate."""
    rows = []
    for index, step in enumerate(plan.steps):
        facts = told.get(index + 1, [])
        gates: dict[str, dict[str, Any]] = {}
        for fact in facts:
            if fact["type"] == "gate.answered":
                gates[fact["gate"]] = _answer(fact)
            elif fact["type"] == "step.ended":
                gates |= {answer["gate"]: _answer(answer) for answer in fact["answers"]}
            elif fact["type"] == "harm.convicted":
                gates |= {answer["gate"]: _answer(answer) for answer in fact["gates"]}
        if index == run.step and answers is not None and change.phase is Phase.ROLLING_OUT:
            gates |= {answer["gate"]: _answer(answer) for answer in answers}
        ended = next((fact for fact in facts if fact["type"] == "step.ended"), None)
        row: dict[str, Any] = {
            "number": index + 1,
            "kind": step.kind,
            "state": _state(change, run, index, facts),
            "started_at": next((fact["at"] for fact in facts if fact["type"] == "step.started"), None),
            "reached_at": next((fact["at"] for fact in facts if fact["type"] == "exposure.reached"), None),
            "ended_after_s": None if ended is None else ended["after_s"],
            "gates": list(gates.values()),
        }
        if isinstance(step, Expose):
            row |= {"percent": step.percent, "unit": step.unit, "least_s": step.least_s, "most_s": step.most_s}
            row["asks"] = [{"gate": gate.id, "kind": gate.kind} for gate in step.gates if gate.applies(step.percent)]
        else:
            row |= {"group": step.group, "expires_s": step.expires_s}
        rows.append(row)
    return rows


def _answer(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in ("gate", "kind", "outcome", "sentence", "numbers", "age_s")}


def _state(change: Change, run: Run, index: int, facts: list[dict[str, Any]]) -> str:
    """Return ahead, now, done, skipped or failed."""
    kinds = {fact["type"] for fact in facts}
    if "harm.convicted" in kinds or ("rollback.started" in kinds and "step.ended" not in kinds):
        return "failed"
    if "step.skipped" in kinds:
        return "skipped"
    if "step.ended" in kinds:
        return "done"
    return "now" if index == run.step and change.phase in (Phase.ROLLING_OUT, Phase.VERIFYING) else "ahead"


def series_view(house: House, change: Change, gate: str, *, now: datetime) -> dict[str, Any]:
    """Return the plot of a canary gate: both arms over time, with marks, and the newest verdict's bounds.

    Lists of one length; times in Unix seconds; null where nothing is known. Raises NotFound for a gate there is not.
    """
    stored = None if change.run is None else json.loads(change.run)
    if stored is None:
        raise NotFound(f"change {change.id} has no rollout yet", code="no-rollout")
    plan, run = read_plan(stored["plan"]), read_run(stored["run"])
    asked = next(
        (
            (step, one)
            for step in plan.steps
            if isinstance(step, Expose)
            for one in step.gates
            if one.id == gate and one.kind == "canary"
        ),
        None,
    )
    if asked is None:
        raise NotFound(f"change {change.id} has no canary gate {gate}", code="gate-not-found")
    step, one = asked
    unit = plan.unit(step.unit)
    begin = run.started_at or now - timedelta(minutes=5)
    end = min(now, change.ended_at + timedelta(seconds=10)) if change.ended_at is not None else now
    width = max((end - begin) / POINTS_MOST, timedelta(seconds=2))
    series = house.telemetry.bucket_series(
        change.id, unit.service, unit.environment, start=begin, end=end, now=now, width=width
    )
    latency = one.signal == "latency"

    def values(arm: Any) -> list[float | None]:
        out: list[float | None] = []
        for index, requests in enumerate(arm.requests):
            if not requests:
                out.append(None)
            elif latency:
                found = quantile_us(arm.hist[index], one.quantile or 0.95)
                out.append(None if found is None else round(found / 1000, 3))
            else:
                out.append(round(100 * float(arm.bad[index]) / float(requests), 4))
        return out

    times = [start / 1_000_000 for start in series.starts_us]
    return {
        "gate": gate,
        "unit": "ms" if latency else "%",
        "scale": "ms" if latency else "share",
        "t": times,
        "canary": values(series.canary),
        "baseline": values(series.baseline),
        "canary_requests": [int(count) for count in series.canary.requests],
        "baseline_requests": [int(count) for count in series.baseline.requests],
    }


def observe_now(house: House, change: Change, plan: Plan) -> dict[str, float | None]:
    """Ask the targets of a change what is there now; None where one does not answer."""

    async def all_units() -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for unit in plan.units:
            try:
                seen = await house.targets.of(unit.kind).observe(unit.ref(change.id))
            except AirbossError:
                found[unit.name] = None
            else:
                found[unit.name] = seen.exposure.new_percent
        return found

    return asyncio.run(all_units())


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
