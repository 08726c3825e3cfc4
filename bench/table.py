"""Rows of the table, and how a figure is taken: interleaved rounds, medians with their middle half, ratios pair by pair."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: `quick` to see that all of it runs, `full` with the long runs."""

    quick: bool = False
    full: bool = False

    def of(self, usual: int, *, quick: int, full: int | None = None) -> int:
        """Return how many rounds, runs or entries this effort takes."""
        if self.quick:
            return quick
        return full if self.full and full is not None else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: what was measured, what came out, beside whom, and whether the goal is reached (None: there is none)."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    goal: str = ""
    reached: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure taken several times: its median, and the middle half of its values as the spread."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def half(self) -> tuple[float, float]:
        """First and third quartile; of fewer than four values the least and the greatest."""
        if len(self.values) < 4:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    def told(self, digits: int = 2, unit: str = "") -> str:
        """Return the figure as the table shows it: median (first quartile–third quartile) unit."""
        low, high = self.half
        text = f"{self.median:,.{digits}f}"
        if len(self.values) > 1:
            text += f" ({low:,.{digits}f}–{high:,.{digits}f})"
        return f"{text} {unit}".strip()


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Sample]:
    """Take a figure of each contender in every round, each round beginning with another one.

    What else the machine does in a round meets all of them, so that `over` may compare them pair by pair.
    """
    names = list(contenders)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contenders[name]())
    return {name: Sample(tuple(values)) for name, values in found.items()}


def over(above: Sample, below: Sample) -> Sample:
    """Return the ratio of two interleaved samples, round by round."""
    return Sample(tuple(a / b for a, b in zip(above.values, below.values, strict=True)))


def median_us(call: Callable[[int], object], calls: int) -> float:
    """Return the median of single calls in microseconds. `call` gets the number of the call."""
    spent = []
    for number in range(calls):
        start = time.perf_counter_ns()
        call(number)
        spent.append(time.perf_counter_ns() - start)
    return statistics.median(spent) / 1000


def named(distribution: str, name: str = "") -> str:
    """Return a peer with its version: `flagd-core 2.0.0`."""
    return f"{name or distribution} {version(distribution)}"


HEADS = ("what", "ours", "peer", "ratio", "goal", "reached")


def cells(row: Row) -> tuple[str, ...]:
    said = {True: "yes", False: "no", None: "–"}[row.reached]
    return row.what, row.ours, row.peer or "–", row.ratio or "–", row.goal or "–", said


def printed(rows: Sequence[Row]) -> str:
    """Return the table in Markdown, its columns aligned, and the notes beneath it."""
    lines = [HEADS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    table = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join(table + (["", *notes] if notes else []))


def as_json(rows: Sequence[Row], about: Mapping[str, object]) -> str:
    return json.dumps({**about, "rows": [asdict(row) for row in rows]}, ensure_ascii=False, indent=1)


MARKS = ("<!-- figures: written by python -m bench --page -->", "<!-- end of figures -->")


def between_marks(page: str, text: str) -> str:
    """Return a page with its text between the two marks replaced. Raises ValueError for a page without them."""
    before, first, rest = page.partition(MARKS[0])
    _, second, after = rest.partition(MARKS[1])
    if not first or not second:
        raise ValueError(f"the page lacks one of its marks: {' … '.join(MARKS)}")
    return f"{before}{first}\n\n{text}\n\n{second}{after}"
