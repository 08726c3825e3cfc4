"""Steps and gates as rows: what each read, against what, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from airboss.faces.web.change_views import Exposure, Gate, Numbers, Spark, Step
from airboss.faces.web.render import percent
from airboss.faces.web.standing import seconds_to
from airboss.faces.web.words import VERDICTS, about, lasting, measured, sentence
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]
SPARK_POINTS: Final = 32
_PHASES: Final = {"done": "done", "now": "now", "ahead": "ahead", "failed": "failed", "skipped": "skipped"}


def steps(rollout: View, courses: Mapping[str, View], *, now: datetime) -> list[Step]:
    """Return the steps of a rollout; `courses` are those of its canary gates, by gate."""
    return [_step(step, courses, now=now) for step in rollout["steps"]]


def planned(spec: View) -> list[Step]:
    """Return the steps a change would take, before there is a rollout."""
    found: list[Step] = []
    for stage in spec["plan"]["stages"]:
        for step in stage["steps"]:
            number = len(found) + 1
            if step["step"] == "expose":
                note = f"at least {lasting(step['least_s'])}, at most {lasting(step['most_s'])}"
                label, share = percent(step["percent"]), step["percent"]
            else:
                group = step.get("group") or step.get("ask") or "somebody"
                note, label, share = f"{group} says go on, or it goes back", "Ask", None
            found.append(
                {"number": number, "label": label, "percent": share, "phase": "ahead", "note": note, "gates": []}
            )
    return found


def _step(step: View, courses: Mapping[str, View], *, now: datetime) -> Step:
    exposing = step["kind"] == "expose"
    return {
        "number": step["number"],
        "label": percent(step["percent"]) if exposing else "Ask",
        "percent": step["percent"] if exposing else None,
        "phase": step["state"],
        "note": _note(step, now),
        "gates": [_gate(gate, step, courses.get(gate["gate"]), now=now) for gate in step["gates"]],
    }


def _note(step: View, now: datetime) -> str:
    if step["kind"] != "expose":
        return f"{step['group']} says go on, or it goes back"
    bounds = f"at least {lasting(step['least_s'])}, at most {lasting(step['most_s'])}"
    match step["state"]:
        case "done":
            return f"over after {lasting(step['ended_after_s'])}"
        case "skipped":
            return "skipped by order"
        case "failed":
            return "taken back from here"
        case "now":
            if step["reached_at"] is None:
                return "on its way there"
            held = (now - parse_rfc3339(step["reached_at"])).total_seconds()
            if held < step["least_s"]:
                return f"{lasting(max(0.0, held))} of at least {lasting(step['least_s'])}"
            return f"for {lasting(held)}, at most {lasting(step['most_s'])}"
        case _:
            return bounds


def _gate(gate: View, step: View, course: View | None, *, now: datetime) -> Gate:
    tone, word = VERDICTS[gate["outcome"]]
    numbers = gate["numbers"]
    row: Gate = {
        "name": _name(gate),
        "what": _what(gate),
        "verdict": {"tone": tone, "word": word, "sentence": sentence(_said(gate))},
    }
    if gate["age_s"] is not None and step["state"] == "now":
        row["age_s"] = gate["age_s"]
    _BY_KIND[gate["kind"]](row, numbers)
    if gate["outcome"] == "inconclusive" and numbers.get("needed_total"):
        row["needs"] = f"{numbers['needed_canary']:,} more exposed users"
        seconds = seconds_to(gate, step, now) if step["state"] == "now" else None
        if seconds is not None:
            row["needs"] += f", about {about(seconds)}"
    if gate["kind"] == "canary" and course is not None:
        spark = _spark(course, step["number"])
        if spark is not None:
            row["spark"] = spark
    return row


def _name(gate: View) -> str:
    whole = str(gate["gate"])
    return whole.partition(":")[2].partition(":")[0] or {"data": "fresh data"}.get(whole, whole.replace("_", " "))


def _what(gate: View) -> str:
    match gate["kind"]:
        case "canary" if gate["numbers"].get("kind") == "latency":
            return f"{gate['gate'].rpartition(':')[2]} of what users wait"
        case "canary":
            return "users who met an error"
        case "burn_rate":
            return "how fast the budget burns"
        case "data":
            return "requests seen in this step"
        case _:
            return "telemetry that names its change"


def _said(gate: View) -> str:
    """Return the meaning at the end of a gate's sentence; the numbers before it have columns of their own."""
    if gate["kind"] == "canary":
        return str(gate["sentence"]).rpartition(": ")[2]
    if gate["outcome"] == "pass":
        return ""
    return str(gate["sentence"]) if gate["outcome"] == "error" else str(gate["sentence"]).partition("; ")[0]


def _canary(row: Gate, numbers: View) -> None:
    kind = str(numbers.get("kind", "ratio"))
    canary, base = numbers.get("canary_rate"), numbers.get("baseline_rate")
    if canary is not None:
        row["canary"] = {"value": measured(canary, kind), "of": f"{numbers.get('canary_seen', 0):,} users"}
        low, high = numbers.get("ratio_low"), numbers.get("ratio_high")
        if base is not None and (low is not None or high is not None):
            row["canary"]["interval"] = _interval(base, low, high, kind)
    if base is not None:
        row["baseline"] = {"value": measured(base, kind), "of": f"{numbers.get('baseline_seen', 0):,} users"}
    if numbers.get("ceiling") is not None:
        row["bound"] = f"at most {measured(numbers['ceiling'], kind)}"


def _interval(base: float, low: float | None, high: float | None, kind: str) -> str:
    most = 1.0 if kind == "ratio" else float("inf")
    if high is None or base * high > most:
        return f"at least {measured(base * (low or 0.0), kind)}"
    if low is None:
        return f"up to {measured(base * high, kind)}"
    return f"{measured(base * low, kind)} to {measured(base * high, kind)}"


def _burn(row: Gate, numbers: View) -> None:
    if numbers.get("burn_1h") is not None:
        whole: Numbers = {"value": f"{numbers['burn_1h']:.2g}\N{NARROW NO-BREAK SPACE}×", "interval": "over 1 h"}
        if numbers.get("burn_5m") is not None:
            whole["of"] = f"{numbers['burn_5m']:.2g}\N{NARROW NO-BREAK SPACE}× over 5 min"
        row["everybody"] = whole
        row["bound"] = f"below {numbers['above']:g}\N{NARROW NO-BREAK SPACE}×"


def _data(row: Gate, numbers: View) -> None:
    if numbers:
        row["everybody"] = {"value": f"{numbers['events']:,}"}
        row["bound"] = f"at least {numbers['least_events']:,}"


def _coverage(row: Gate, numbers: View) -> None:
    if numbers:
        row["everybody"] = {"value": percent(numbers["share_pct"]), "of": f"of {numbers['items']:,} items"}
        row["bound"] = f"at least {percent(numbers['least_pct'])}"


_BY_KIND: Final = {"canary": _canary, "burn_rate": _burn, "data": _data, "annotation_coverage": _coverage}


def _spark(course: View, step: int) -> Spark | None:
    at = [number for number, of in enumerate(course["step"]) if of == step and course["outcome"][number] is not None]
    at = at[-SPARK_POINTS:]
    if len(at) < 2:
        return None
    spark: Spark = {
        "canary": [course["canary"][number] for number in at],
        "baseline": [course["baseline"][number] for number in at],
    }
    if course["margin"][at[-1]] is not None:
        spark["bound"] = course["margin"][at[-1]]
    return spark


def exposure(view: View) -> Exposure | None:
    """Return the exposure bar: what is wanted and what was observed, of the unit the rollout is at."""
    rollout = view["rollout"]
    if rollout is None or rollout["started_at"] is None:
        return None
    units = {unit["name"]: unit for unit in rollout["units"]}
    at = next((step for step in reversed(rollout["steps"][: rollout["step"]]) if step["kind"] == "expose"), None)
    unit = units.get(at["unit"]) if at is not None else None
    unit = unit or next(iter(units.values()))
    back = rollout["rollback"] is not None
    observed = unit["observed_pct"]
    wanted = rollout["wanted_pct"] if rollout["wanted_pct"] is not None else observed
    if view["outcome"] == "completed":
        wanted = observed = 100.0
    if wanted is None:
        return None
    who = f"{unit['service']} in {unit['environment']}"
    if observed is None:
        told = f"{who} is on its way to {percent(wanted)}"
    elif observed == wanted:
        told = f"{who}: nobody is exposed" if not wanted else f"{who}, as wanted"
    else:
        told = f"{who}: {percent(wanted)} is wanted"
    return {"wanted": wanted, "observed": observed, "back": back, "sentence": told}
