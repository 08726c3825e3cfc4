"""The course of a canary gate: what it read block by block, with the bounds that hold at every look at once."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from airboss.act.rollout import Expose, Gate, Plan, Run, exposures_of, read_plan, read_run
from airboss.bootstrap import House
from airboss.changes import Change
from airboss.kernel.clock import parse_rfc3339, rfc3339
from airboss.kernel.errors import AirbossError, NotFound
from airboss.tower import Point, Trace, compare, retrace

KEPT_MOST: Final = 64
LEAST_LOG_E: Final = -30.0
"""Evidence against is shown down to here: below it lies nothing anybody would look for."""
_OUTCOMES: Final = {"continue": "inconclusive"}
_COLUMNS: Final = (
    *("t", "canary", "baseline", "low", "high", "margin", "outcome", "step", "canary_seen", "baseline_seen"),
    *("log_e_harm", "log_e_safe", "log_e_together", "needed_canary", "needed_total"),
)


class Courses:
    """Computes courses, and remembers how far it came: sealed blocks never change, so each is folded once a process."""

    def __init__(self) -> None:
        self._traces: OrderedDict[tuple[str, int], Trace] = OrderedDict()
        self._lock = Lock()

    def points(
        self, house: House, change: Change, plan: Plan, run: Run, *, ended: Mapping[int, datetime], now: datetime
    ) -> tuple[Point, ...]:
        """Return the looks of the current attempt; none where the blocks are no longer kept or cannot be read.

        `ended` says when the end of each step that is over was written, by its index. One query, and the telemetry's.
        """
        if run.started_at is None:
            return ()
        key = (change.id, change.attempt)
        with self._lock:
            known = self._traces.get(key)
        try:
            trace = retrace(
                house.telemetry,
                plan,
                change_id=change.id,
                attempt=change.attempt,
                begun=run.started_at,
                until_step=run.step,
                ended=_decided(house, change, ended),
                now=min(now, run.rollback_started_at or now),
                known=known,
            )
        except AirbossError:
            return () if known is None else known.points
        with self._lock:
            self._traces[key] = trace
            self._traces.move_to_end(key)
            while len(self._traces) > KEPT_MOST:
                self._traces.popitem(last=False)
        return trace.points


def _decided(house: House, change: Change, ended: Mapping[int, datetime]) -> dict[int, datetime]:
    """Return when each step that is over was decided: its exposure ended then. The fact was written a moment later, on a busy
    machine some seconds, in which blocks may have been sealed that nobody judged.
    """
    with house.store.read() as connection:
        rows = exposures_of(connection, change.id)
    closed = {row.step: row.to_at for row in rows if row.attempt == change.attempt and row.to_at is not None}
    return {index: min(at, closed.get(index, at)) for index, at in ended.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    at: datetime
    step: int
    metric: Mapping[str, Any]
    outcome: str
    together: float | None = None


def canary_gates(change: Change) -> list[Gate]:
    """Return the canary gates of a change's plan, each once, in order; none before there is a plan."""
    if change.run is None:
        return []
    plan = read_plan(json.loads(change.run)["plan"])
    found: dict[str, Gate] = {}
    for step in plan.steps:
        if isinstance(step, Expose):
            found |= {gate.id: gate for gate in step.gates if gate.kind == "canary" and gate.id not in found}
    return list(found.values())


def course_view(
    house: House, change: Change, gate: str, *, courses: Courses, told: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, Any]:
    """Return the course of one canary gate: lists of one length, times in Unix seconds, null where nothing is known.

    `canary` and `baseline` are what the gate read so far in the step (percent, or milliseconds); `low` and `high` bound
    the canary's value at all looks at once, and are null where a deploy is judged by pods; `margin` is what it is held
    against in that step. `counted` says what `canary_seen`, `baseline_seen` and the needs count: people, or requests. `log_e_harm` and `log_e_safe` are the
    natural logarithms of the e-values, `log_e_together` that of the harm of all gates together: harm is convicted when
    it reaches `log_harm_threshold`, the gate passes while `log_e_safe` is at least `log_safe_threshold`. `needed_canary`
    and `needed_total` are the units still to come before a harmless canary passes, null when no number would do. `told` are the change's facts as
    `facts_view` gives them: they give the marks, and stand in where the blocks are gone. One query, and the telemetry's.
    Raises NotFound.
    """
    asked = next((one for one in canary_gates(change) if one.id == gate), None)
    if asked is None or change.run is None:
        raise NotFound(f"change {change.id} has no canary gate {gate}", code="gate-not-found")
    stored = json.loads(change.run)
    plan, run = read_plan(stored["plan"]), read_run(stored["run"])
    points = courses.points(house, change, plan, run, ended=_ends(told, run), now=now)
    looks = [_look(point, gate) for point in points if gate in point.metrics] or _looks_told(told, gate)
    latency = asked.signal == "latency"
    unit = 1e-3 if latency else 100.0
    view: dict[str, Any] = {
        "gate": gate,
        "unit": "ms" if latency else "%",
        "scale": "ms" if latency else "share",
        "counted": "people" if plan.unit(_unit_of(plan, gate)).kind == "flag" else "requests",
        **{name: [] for name in _COLUMNS},
        "log_harm_threshold": looks[-1].metric["log_harm_threshold"] if looks else None,
        "log_safe_threshold": looks[-1].metric["log_safe_threshold"] if looks else None,
    }
    marks = _marks(told)
    reached = {mark["step"]: mark["t"] for mark in marks if mark["step"] is not None}
    for number, look in enumerate(looks):
        if not number or look.step != looks[number - 1].step:
            _gap(view, look, reached.get(look.step + 1))  # each step reads afresh
        _append(view, look, look.metric, unit, asked.margin_pct)
    if looks and run.rollback_started_at is not None:
        end, span = looks[-1].at, looks[-1].at - looks[0].at
        _gap(view, looks[-1], max(end + span / 16, run.rollback_started_at + timedelta(seconds=1)).timestamp())
    view["marks"] = marks
    view["verdicts"] = _stretches(looks, reached)
    return view


def _unit_of(plan: Plan, gate: str) -> str:
    return next(
        step.unit for step in plan.steps if isinstance(step, Expose) and any(one.id == gate for one in step.gates)
    )


def replay_view(house: House, change: Change, *, told: Sequence[Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """Return the verdicts that ended steps of the latest attempt, as told and as the recorded blocks give them again.

    `same` is null where blocks are no longer kept. `told` are the change's facts as `facts_view` gives them. Raises
    NotFound before a rollout.
    """
    stored = None if change.run is None else json.loads(change.run)
    run = None if stored is None else read_run(stored["run"])
    if stored is None or run is None or run.started_at is None:
        raise NotFound(f"change {change.id} has no rollout yet", code="no-rollout")
    plan = read_plan(stored["plan"])
    # Folded from the first block, not from what this process remembers: that is the point of it.
    points = Courses().points(house, change, plan, run, ended=_ends(told, run), now=now)
    rows = compare(plan, points, told, begun=run.started_at)
    known = [row.same for row in rows if row.same is not None]
    return {
        "change": change.id,
        "attempt": change.attempt,
        "same": all(known) if known else None,
        "verdicts": [
            {
                "step": row.step,
                "gate": row.gate,
                "at": rfc3339(row.at),
                "told": dict(row.told),
                "again": None if row.again is None else dict(row.again),
                "same": row.same,
            }
            for row in rows
        ],
    }


def _ends(told: Sequence[Mapping[str, Any]], run: Run) -> dict[int, datetime]:
    """Return by index when each step of this run was decided."""
    over = ("step.ended", "step.skipped", "step.answered")
    ends = {int(fact["body"]["step"]) - 1: parse_rfc3339(fact["at"]) for fact in told if fact["type"] in over}
    return {index: at for index, at in ends.items() if run.started_at is not None and at >= run.started_at}


def _look(point: Point, gate: str) -> _Look:
    metric = point.metrics[gate]
    outcome = str(metric["outcome"])
    if outcome == "pass" and "split-mismatch" in point.reasons:
        outcome = "continue"  # no gate passes while the split says that counts are missing
    return _Look(
        at=point.at, step=point.step, metric=metric, outcome=_OUTCOMES.get(outcome, outcome), together=point.log_e_harm
    )


def _looks_told(told: Sequence[Mapping[str, Any]], gate: str) -> list[_Look]:
    """Return the looks that became facts: every change of verdict, with its numbers."""
    return [
        _Look(
            at=parse_rfc3339(fact["at"]),
            step=int(fact["body"]["step"]) - 1,
            metric=fact["body"]["numbers"],
            outcome=str(fact["body"]["outcome"]),
        )
        for fact in told
        if fact["type"] == "gate.answered" and fact["body"]["gate"] == gate and fact["body"]["numbers"]
    ]


def _gap(view: dict[str, Any], look: _Look, at: float | None) -> None:
    """Put a point without values at a time, or just before a look where that is unknown or would go back in time."""
    last = view["t"][-1] if view["t"] else 0.0
    _append(view, look, {}, 1.0, None)
    view["t"][-1] = at if at is not None and at > last else look.at.timestamp() - 1e-3


def _append(
    view: dict[str, Any], look: _Look, metric: Mapping[str, Any], unit: float, margin_pct: float | None
) -> None:
    base = metric.get("baseline_rate")
    low, high, ceiling = metric.get("ratio_low"), metric.get("ratio_high"), metric.get("ceiling")
    margin = metric.get("margin", None if margin_pct is None else margin_pct / 100)
    if ceiling is None and base is not None and margin is not None:
        ceiling = base * (1 + margin)
    values = {
        "canary": metric.get("canary_rate"),
        "baseline": base,
        "low": base * low if base and low is not None else None,  # a ratio to nothing bounds nothing
        "high": base * high if base and high is not None else None,
        "margin": ceiling,
    }
    view["t"].append(look.at.timestamp())
    for name, value in values.items():
        view[name].append(None if value is None else round(value * unit, 5))
    view["outcome"].append(look.outcome if metric else None)
    view["step"].append(look.step + 1)
    for name, log_e in (
        ("log_e_harm", metric.get("log_e_harm")),
        ("log_e_safe", metric.get("log_e_safe")),
        ("log_e_together", look.together if metric else None),
    ):
        view[name].append(None if log_e is None else round(max(log_e, LEAST_LOG_E), 4))
    for name in ("needed_canary", "needed_total"):
        view[name].append(metric.get(name))
    numbers = metric.get("numbers", metric)
    for name in ("canary_seen", "baseline_seen"):
        view[name].append(numbers.get(name))


def _marks(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return when each exposure stood, and when it was taken back."""
    found: list[dict[str, Any]] = []
    for fact in told:
        at = parse_rfc3339(fact["at"]).timestamp()
        if fact["type"] == "exposure.reached":
            found.append({"t": at, "label": f"{fact['body']['percent']:g} %", "step": fact["body"].get("step")})
        elif fact["type"] == "rollback.started":
            found.append({"t": at, "label": "taken back", "step": None})
    return found


def _stretches(looks: Sequence[_Look], reached: Mapping[int, float]) -> list[dict[str, Any]]:
    """Return from when to when a verdict stood; it ends with its step, and the last one stands still (`to` null)."""
    found: list[dict[str, Any]] = []
    for number, look in enumerate(looks):
        before = looks[number - 1] if number else None
        if before is None or (before.outcome, before.step) != (look.outcome, look.step):
            if before is not None:
                same = before.step == look.step
                found[-1]["to"] = look.at.timestamp() if same else reached.get(look.step + 1, before.at.timestamp())
            found.append({"from": look.at.timestamp(), "to": None, "outcome": look.outcome})
    return found
