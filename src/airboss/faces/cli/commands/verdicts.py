"""How a gate came to its verdict, and what policy decided: the numbers behind a change's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, ChangeName, Cursor, Limit, api, listed, page
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, fields, say, table
from airboss.faces.cli.words import GATE_WORDS

Gate = Annotated[str | None, typer.Option("--gate", help="Which canary gate, where there are several.")]
ROWS: Final = 20
"""Looks shown to people; `--json` has them all."""


def course(change: ChangeName, gate: Gate = None, as_json: AsJson = False) -> None:
    """Tell how a canary gate came to its verdict, look by look.

    Both arms with the bounds that hold at every look at once, what they are held against, and the requests still needed.
    """
    id_ = api().change_id(change)
    found = api().get(f"/changes/{id_}/course", gate=_gate(id_, gate))
    if as_json:
        emit(found)
        return
    unit = found["unit"]
    rows = [
        (
            _time(found["t"][at]),
            str(found["step"][at]),
            _number(found["canary"][at]),
            f"{_number(found['low'][at])} to {_number(found['high'][at])}",
            _number(found["baseline"][at]),
            _number(found["margin"][at]),
            GATE_WORDS.get(found["outcome"][at], found["outcome"][at]),
            _count(found["needed_canary"][at]),
        )
        for at in _spread([at for at, outcome in enumerate(found["outcome"]) if outcome is not None])
    ]
    headings = ("At", "Step", f"Canary {unit}", "Between", "Baseline", "Margin", "Verdict", "Needed")
    table(headings, rows, empty="This gate has judged nothing yet.", give="Between")
    say(f"Counted in {found['counted']}. Needed: how many more before a harmless canary passes.")
    page(f"/changes/{id_}")


def series(change: ChangeName, gate: Gate = None, as_json: AsJson = False) -> None:
    """Give both arms of a canary gate over time, as the plot."""
    id_ = api().change_id(change)
    found = api().get(f"/changes/{id_}/series", gate=_gate(id_, gate))
    if as_json:
        emit(found)
        return
    rows = [
        (_time(found["t"][at]), _number(found["canary"][at]), _number(found["baseline"][at]))
        for at in _spread(range(len(found["t"])))
    ]
    table(("At", f"Canary {found['unit']}", f"Baseline {found['unit']}"), rows, empty="Nothing was counted yet.")
    page(f"/changes/{id_}")


def decisions(change: ChangeName, as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List what policy decided about a change, oldest first."""
    id_ = api().change_id(change)
    found = listed(f"/changes/{id_}/decisions", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [
        (one["id"], one["at"][:19], one["point"], one["outcome"], one["tier"], str(one["score"]))
        for one in found["items"]
    ]
    table(
        ("Decision", "At", "Point", "Outcome", "Risk", "Score"),
        rows,
        empty="Policy was not asked yet.",
        give="Decision",
    )
    say(f"Why: airboss policy explain {id_} --decision DECISION")


def _gate(change: str, named: str | None) -> str:
    """Return the canary gate that is meant, by its ID or its indicator; the only one needs no name. Raises Problem."""
    if named is not None:
        return named if ":" in named else f"canary:{named}"
    rollout = api().get(f"/changes/{change}")["rollout"]
    known = list(dict.fromkeys(_canaries(rollout or {})))
    if len(known) == 1:
        return known[0]
    if not known:
        raise Problem(
            f"change {change} has no canary gate",
            exit_code=Exit.NOT_FOUND,
            code="gate-not-found",
            way_out=f"its gates: airboss change show {change} --gates",
        )
    raise Problem(
        f"change {change} has {len(known)} canary gates",
        exit_code=Exit.USAGE,
        code="gate-ambiguous",
        way_out=f"say which: --gate {' or '.join(known)}",
    )


def _canaries(rollout: Mapping[str, Any]) -> Iterator[str]:
    for step in rollout.get("steps", ()):
        yield from (str(asked["gate"]) for asked in step.get("asks", ()) if asked["kind"] == "canary")


def _spread(indices: Sequence[int]) -> list[int]:
    """Return at most ROWS of them, spread evenly, the last one among them."""
    if len(indices) <= ROWS:
        return list(indices)
    return [indices[round(at * (len(indices) - 1) / (ROWS - 1))] for at in range(ROWS)]


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


# -- one service, one error, the server itself -----------------------------------------------------------------------


def one_service(name: str, *, as_json: bool) -> None:
    """Show one service: who answers for it, what it needs, its objectives."""
    found = api().get(f"/services/{name}")
    if as_json:
        emit(found)
        return
    fields(
        [
            ("service", found["name"]),
            ("about", found["description"] or None),
            ("owner", found["owner"]),
            ("tier", found["tier"] + (", keeps state" if found["stateful"] else "")),
            ("environments", ", ".join(found["environments"]) or None),
            ("depends on", ", ".join(found["depends_on"]) or None),
            ("needed by", ", ".join(found["dependants"]) or None),
            ("on call", found["oncall"]),
            ("runbooks", ", ".join(found["runbooks"]) or None),
            *((f"objective {one['name']}", _budget(one)) for one in found["objectives"]),
        ]
    )
    page(f"/services/{name}")


def _budget(objective: Mapping[str, Any]) -> str:
    target = f"{100 * objective['target']:g} %"
    if objective["budget_left"] is None:
        return f"{target}, no data yet"
    return f"{target}, {100 * objective['budget_left']:.0f} % of the error budget left"
