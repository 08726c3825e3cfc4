"""Numbers, times and outcomes as people read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from airboss.faces.web.render import percent
from airboss.faces.web.views import Tone

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z")
THIN: Final = "\N{NARROW NO-BREAK SPACE}"
VERDICTS: Final[Mapping[str, tuple[Tone, str]]] = {
    "pass": ("well", "passes"),
    "fail": ("harmed", "fails"),
    "inconclusive": ("waiting", "undecided"),
    "error": ("needs", "no answer"),
}


def lasting(value: float) -> str:
    """Return a duration in its two largest units: 0.4 s, 41 s, 1 min 52 s, 2 h 5 min, 3 d."""
    if value < 10:
        return f"{round(value, 1):g}{THIN}s"
    whole = timedelta(seconds=round(value))
    hours, rest = divmod(whole.seconds, 3600)
    parts = [(whole.days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s")]
    first = next(number for number, (count, _) in enumerate(parts) if count)
    told = [f"{count}{THIN}{unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(told)


def about(value: float) -> str:
    """Return a forecast duration without false precision: 15 s, 3 min, 2 h."""
    for length, unit, round_to in ((86_400, "d", 1), (3_600, "h", 1), (90, "min", 1)):
        if value >= length:
            size = value / (60 if unit == "min" else length)
            return f"{max(1, round(size / round_to) * round_to):g}{THIN}{unit}"
    return f"{max(5, round(value / 5) * 5):g}{THIN}s"


def measured(value: float | None, kind: str) -> str:
    """Return a rate of the analysis: a share (0 to 1) as percent, a latency in microseconds as ms."""
    if value is None:
        return "–"
    if kind == "latency":
        return milliseconds(value / 1000)
    return percent(_significant(value * 100))


def milliseconds(value: float) -> str:
    """Return a duration in ms, with two to three digits that mean something."""
    return f"{_significant(value):g}{THIN}ms"


def shown(value: float | None, unit: str) -> str:
    """Return a plotted value with its unit."""
    if value is None:
        return "–"
    return percent(_significant(value)) if unit == "%" else f"{_significant(value):g}{THIN}{unit}"


def _significant(value: float) -> float:
    return float(f"{value:.2g}") if abs(value) < 10 else float(f"{value:.3g}")


def listed(items: Sequence[str], last: str = "and") -> str:
    """Return a list as English has it: a, b and c."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def sentence(text: str) -> str:
    """Return a text that begins with a capital and ends with a full stop; times in it are told to the minute."""
    text = _TIME.sub(r"\1 \2 UTC", text.strip())
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?:…" else ".")


def value_read(value: Any) -> str:
    """Return a value a rule read."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(value_read(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
