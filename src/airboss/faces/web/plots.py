"""The large plots: a canary gate's course, its caption, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from airboss.faces.web.views import Plot, PlotData
from airboss.faces.web.words import VERDICTS, shown

ROWS_MOST: Final = 12


def plot(course: Mapping[str, Any], href: str) -> Plot:
    """Return what stands around a plot of a course; its numbers are fetched from `data`."""
    gate = course["gate"]
    name = gate.partition(":")[2] or gate
    title = "How long users wait" if course["scale"] == "ms" else "Users who met an error"
    return {
        "name": gate.replace(":", "-"),
        "title": f"{title}, {name.replace(':', ' ')}",
        "caption": _caption(course),
        "data": f"{href}/plots/{gate}.json",
        "table": {
            "columns": ["Time (UTC)", "Step", "Canary", "may truly be", "Baseline", "Must stay below", "Verdict"],
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
        VERDICTS[course["outcome"][at]][1],
    ]
