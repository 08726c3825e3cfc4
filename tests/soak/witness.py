"""What the target itself saw, held against what the record says should have been.

Three witnesses that the servers do not write: the route file as it was renamed into place, one look for each generation; the
orders the Envoy's admin interface took; and which side each request went to. A stale server that raised exposure, or an
effect done twice, would stand in one of them.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import sqlalchemy as sa
from ruamel.yaml import YAML
from tests.soak.edge import ORDERS, REQUESTS

from airboss.bootstrap import House
from airboss.demo.edge import ROUTES as FILE

LOOK_S: Final = 0.01
SETTLE: Final = timedelta(seconds=1)
"""How long after the record a request may still follow what stood before."""
ROUNDED: Final = timedelta(milliseconds=2)
"""The Envoy writes milliseconds, cut off; facts have microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One state of the route: what its file said."""

    number: int
    weights: dict[str, int]
    change: str | None
    taken_back: str | None


class RouteWatch:
    """A thread that reads the route file whenever another lies there."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[Generation] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        last = None
        while not self._over.wait(LOOK_S):
            at = self._path.stat()
            if (at.st_ino, at.st_mtime_ns) != last:
                last = (at.st_ino, at.st_mtime_ns)
                self.seen.append(read_generation(self._path.read_text()))


def read_generation(text: str) -> Generation:
    """Return what a route file says of the released service."""
    content = YAML(typ="safe", pure=True).load(text)
    (route,) = content["resources"][0]["virtual_hosts"][0]["routes"]
    mark: dict[str, Any] = route.get("metadata", {}).get("filter_metadata", {}).get("airboss", {})
    return Generation(
        number=int(mark.get("generation", 0)),
        weights={one["name"]: int(one["weight"]) for one in route["route"]["weighted_clusters"]["clusters"]},
        change=mark.get("change"),
        taken_back=mark.get("taken_back"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the record says of one release: when which share of the new side began, and when and how it was over."""

    change: str
    new: str
    steps: tuple[tuple[datetime, float], ...]
    back_at: datetime | None
    over_at: datetime | None
    completed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when on a side may have had at most so many percent."""

    since: datetime
    most: dict[str, float]
    what: str


def timeline(told: Sequence[Told], sides: tuple[str, str], resting: str) -> list[Span]:
    """Return what each side may have had, since when, by the record alone; at first everything is on `resting`."""
    spans = [Span(since=datetime.min.replace(tzinfo=UTC), most=_only(resting, sides), what="at rest")]
    for one in sorted(told, key=lambda one: one.steps[0][0]):
        old = next(side for side in sides if side != one.new)
        spans += [
            Span(since=at, most={old: 100.0, one.new: percent}, what=f"{one.change} at {percent:g} %")
            for at, percent in one.steps
        ]
        if one.over_at is not None:
            side = one.new if one.completed else old
            what = f"{one.change} {'completed' if one.completed else 'taken back'}"
            spans.append(Span(since=one.over_at, most=_only(side, sides), what=what))
    return spans


def _only(side: str, sides: tuple[str, str]) -> dict[str, float]:
    return {one: 100.0 if one == side else 0.0 for one in sides}


def judge(folder: Path, seen: Sequence[Generation], told: Sequence[Told], effects: int, resting: str) -> dict[str, Any]:
    """Hold the witnesses against the record. `effects` is how many the record says were wanted of the route.

    Returns counts. Raises AssertionError naming what no step allows.
    """
    told = [one for one in told if one.steps]
    assert told, "nothing was released"
    sides = tuple(seen[0].weights)
    assert len(sides) == 2, sides
    spans = timeline(told, sides, resting)
    written = seen[-1].number - seen[0].number
    assert written <= effects, f"the route was written {written} times for {effects} effects"
    _generations(seen, {one.change: one.new for one in told})
    orders, late = _orders(folder / ORDERS, spans, told)
    return {
        "generations": written,
        "generations_seen": len(seen) - 1,
        "effects": effects,
        "orders": orders,
        "orders_in_rollback": late,
        "requests": _requests(folder / REQUESTS, spans),
    }


def _generations(seen: Sequence[Generation], news: dict[str, str]) -> None:
    """Each share of a change is written once and they rise; once taken back, a change holds the route no more."""
    back: set[str] = set()
    held: dict[str, list[int]] = {}
    for before, one in itertools.pairwise(seen):
        assert one.number > before.number, (before, one)
        if one.taken_back is not None:
            back.add(one.taken_back)
        if one.change is not None:
            assert one.change not in back, f"{one.change} took the route again after it was taken back: {one}"
            held.setdefault(one.change, []).append(one.weights[news[one.change]])
    for change, shares in held.items():
        assert shares == sorted(set(shares)), f"{change} wrote the shares {shares}"


def _orders(path: Path, spans: Sequence[Span], told: Sequence[Told]) -> tuple[dict[str, int], int]:
    """Hold each order to the Envoy against the span it came in; return how many there were, and how many raised exposure
    while their change was being taken back (which the rollback waits for, and undoes).
    """
    counted: Counter[str] = Counter()
    late = 0
    for at, line in _lines(path):
        if "/runtime_modify" not in line:
            continue
        weights = {
            key.rpartition(".")[2]: int(value)
            for key, value in parse_qsl(urlsplit(line.split()[-1]).query, keep_blank_values=True)
            if value
        }
        if not weights:
            counted["cleared"] += 1
            continue
        counted["set"] += 1
        span = _at(spans, at + ROUNDED)
        for side, weight in weights.items():
            share = 100.0 * weight / sum(weights.values())
            assert share <= span.most[side] + 1e-6, f"at {at} the Envoy was told {share:g} % for {side}: {span.what}"
            late += any(
                one.new == side and share > 0 and one.back_at is not None and one.back_at <= at <= (one.over_at or at)
                for one in told
            )
    return dict(counted), late


def _requests(path: Path, spans: Sequence[Span]) -> dict[str, int]:
    """Hold the side each request went to against what it might have had then, or a moment before; count them by side."""
    counted: Counter[str] = Counter()
    for at, line in _lines(path):
        side = line.split()[1]
        counted[side] += 1
        if side == "-" or side not in spans[0].most:
            continue
        span = _at(spans, at + ROUNDED)
        before = _at(spans, at - SETTLE)
        between = [one for one in spans if at - SETTLE <= one.since <= at]
        allowed = max(one.most[side] for one in (span, before, *between))
        assert allowed > 0, f"at {at} a request went to {side}: {span.what}"
    return dict(counted)


def _at(spans: Sequence[Span], at: datetime) -> Span:
    return spans[bisect.bisect_right(spans, at, key=lambda span: span.since) - 1]


def _lines(path: Path) -> Iterator[tuple[datetime, str]]:
    with path.open() as lines:
        for line in lines:
            yield datetime.fromisoformat(line.split()[0]), line


def read_told(house: House, connection: sa.Connection, change: str, new: str) -> Told:
    """Return what the record says of a release."""
    steps: list[tuple[datetime, float]] = []
    ended: dict[int, set[str]] = {}
    by_people: set[int] = set()
    back_at = over_at = None
    completed = False
    for fact in house.journal.of(connection, change):
        match fact.type:
            case "step.started" if fact.body["kind"] == "expose":
                earlier = range(1, int(fact.body["step"]))
                assert all(
                    ended.get(step) == {"pass"} or (step in by_people and "fail" not in ended.get(step, ()))
                    for step in earlier
                ), f"{change} began step {fact.body['step']} after {ended}"
                steps.append((fact.at, float(fact.body["percent"])))
            case "step.ended":
                ended[int(fact.body["step"])] = {answer["outcome"] for answer in fact.body["answers"]}
            case "step.skipped" | "step.answered":
                by_people.add(int(fact.body["step"]))
            case "rollback.started":
                back_at = fact.at
            case "change.rolled_back" | "change.completed":
                over_at, completed = fact.at, fact.type == "change.completed"
            case _:
                pass
    return Told(change=change, new=new, steps=tuple(steps), back_at=back_at, over_at=over_at, completed=completed)
