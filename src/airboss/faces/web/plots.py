"""The large plots: a canary gate's course, its caption, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from airboss.faces.web.change_views import Plot, PlotData
from airboss.faces.web.words import VERDICTS, sentence, shown

ROWS_MOST: Final = 12
_EVIDENCE: Final = ("Evidence of harm", "of harmlessness", "Users needed")
_LN_10: Final = math.log(10)


def plot(course: Mapping[str, Any], href: str) -> Plot:
    """Return what stands around a plot of a course; its numbers are fetched from `data`."""
    gate = course["gate"]
    name = gate.partition(":")[2] or gate
    title = "How long users wait" if course["scale"] == "ms" else "Users who met an error"
    return {
        "name": gate.replace(":", "-"),
        "title": f"{title}, {name.replace(':', ' ')}",
        "caption": _caption(course),
        "evidence": _evidence(course),
        "needs": _needs(course),
        "data": f"{href}/plots/{gate}.json",
        "table": {
            "columns": [
                "Time (UTC)",
                "Step",
                "Canary",
                "may truly be",
                "Baseline",
                "Must stay below",
                *_EVIDENCE,
                "Verdict",
            ],
            "rows": _rows(course),
        },
    }


def plot_data(course: Mapping[str, Any]) -> PlotData:
    """Return what the plot's address answers."""
    return {
        "unit": course["unit"],
        "scale": course["scale"],
        "t": course["t"],
        "canary": course["canary"],
        "baseline": course["baseline"],
        "low": course["low"],
        "high": course["high"],
        "margin": course["margin"],
        "harm": [_power(value) for value in _harm(course)],
        "safe": [_power(value) for value in course["log_e_safe"]],
        "harm_at": _power(course["log_harm_threshold"]),
        "safe_at": _power(course["log_safe_threshold"]),
        "needed": course["needed_total"],
        "marks": [{"t": mark["t"], "label": mark["label"]} for mark in course["marks"]],
        "verdicts": [
            {"from": one["from"], "to": one["to"], "tone": VERDICTS[one["outcome"]][0]}
            for one in course["verdicts"]
            if one["outcome"] in ("pass", "fail")
        ],
    }


def _known(course: Mapping[str, Any]) -> list[int]:
    return [number for number, outcome in enumerate(course["outcome"]) if outcome is not None]


def _caption(course: Mapping[str, Any]) -> str:
    known = _known(course)
    if not known:
        return "No sealed data yet: the first numbers come some seconds after the exposure stands."
    at, unit = known[-1], course["unit"]
    told = f"Newest: canary {shown(course['canary'][at], unit)}"
    between = _between(course, at)
    told += f" ({between}), " if between else ", "
    told += f"baseline {shown(course['baseline'][at], unit)}"
    if course["margin"][at] is not None:
        told += f", must stay below {shown(course['margin'][at], unit)}"
    if course["outcome"][at] == "fail":
        return told + ". The evidence of harm is past its limit."
    return told + ". The band holds at every look at once."


def _harm(course: Mapping[str, Any]) -> list[float | None]:
    """Return the evidence of harm that is held against the bound: of all gates together where that is known."""
    alone, together = course["log_e_harm"], course["log_e_together"]
    return [one if both is None else both for one, both in zip(alone, together, strict=True)]


def _power(log_e: float | None) -> float | None:
    """Return a natural logarithm as a power of ten."""
    return None if log_e is None else round(log_e / _LN_10, 3)


def times(log_e: float | None) -> str:
    """Return an e-value as people bet: "240 : 1" for the claim, "1 : 50" against it."""
    if log_e is None:
        return "–"
    odds = math.exp(min(abs(log_e), 60.0))
    told = f"{odds:,.0f}" if 10 <= odds < 1e6 else f"{odds:.2g}"
    return f"{told} : 1" if log_e >= 0 else f"1 : {told}"


def _evidence(course: Mapping[str, Any]) -> str:
    known = _known(course)
    if not known:
        return ""
    at, harm = known[-1], _harm(course)
    told = []
    if harm[at] is not None and course["log_harm_threshold"] is not None:
        told.append(f"Harm {times(harm[at])}, convicted at {times(course['log_harm_threshold'])}")
    if course["log_e_safe"][at] is not None and course["log_safe_threshold"] is not None:
        told.append(f"harmless {times(course['log_e_safe'][at])}, passes at {times(course['log_safe_threshold'])}")
    return sentence("; ".join(told))


def _needs(course: Mapping[str, Any]) -> str:
    known = _known(course)
    if not known or course["outcome"][known[-1]] != "inconclusive":
        return ""
    total, exposed = course["needed_total"][known[-1]], course["needed_canary"][known[-1]]
    if total is None:
        return "No number of users would call it harmless at what was seen so far."
    return f"Still needed to call it harmless: {total:,} users, {exposed or 0:,} of them exposed."


def _between(course: Mapping[str, Any], at: int) -> str:
    low, high, unit = course["low"][at], course["high"][at], course["unit"]
    too_high = high is None or (unit == "%" and high > 100)
    if low is None and too_high:
        return ""
    if too_high:
        return f"at least {shown(low, unit)}"
    return f"up to {shown(high, unit)}" if low is None else f"{shown(low, unit)} to {shown(high, unit)}"


def _rows(course: Mapping[str, Any]) -> list[list[str]]:
    return [_row(course, at) for at in reversed(_known(course)[-ROWS_MOST:])]


def _row(course: Mapping[str, Any], at: int) -> list[str]:
    unit = course["unit"]
    return [
        datetime.fromtimestamp(course["t"][at], UTC).strftime("%H:%M:%S"),
        str(course["step"][at]),
        shown(course["canary"][at], unit),
        _between(course, at) or "–",
        shown(course["baseline"][at], unit),
        shown(course["margin"][at], unit),
        times(_harm(course)[at]),
        times(course["log_e_safe"][at]),
        "–" if course["needed_total"][at] is None else f"{course['needed_total'][at]:,}",
        VERDICTS[course["outcome"][at]][1],
    ]
