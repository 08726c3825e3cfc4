"""Draws a change as the page does: state and sentence, one bar of exposure, steps, gates. For `show`, `watch` and `demo`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from airboss.faces.cli.words import (
    COLOURS,
    GATE_TONES,
    GATE_WORDS,
    MARKS,
    STEP_MARKS,
    percent,
    seconds,
    short_id,
    tone,
    word,
)

BAR: int = 44


def head(change: Mapping[str, Any]) -> RenderableType:
    """Return state, title and ID in one line."""
    state = tone(change)
    line = Table.grid(padding=(0, 2), expand=True)
    line.add_column(no_wrap=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(no_wrap=True, justify="right")
    line.add_row(
        Text(f"{MARKS[state]} {word(change)}", style=f"bold {COLOURS[state]}"),
        Text(str(change["title"]), style="bold"),
        Text(short_id(str(change["id"])), style="dim"),
    )
    return line


def bar(change: Mapping[str, Any], width: int = BAR) -> Text:
    """Return exposure from 0 to 100 % with the steps marked; observed filled, wanted told apart where it differs."""
    rollout = change.get("rollout") or {}
    observed = next((unit["observed_pct"] for unit in rollout.get("units", [])), None)
    wanted = rollout.get("wanted_pct")
    marks = {_cell(step["percent"], width) for step in rollout.get("steps", []) if step["kind"] == "expose"}
    full, reach = _filled(observed, width), _filled(wanted, width)
    drawn = Text("  0 ")
    style = COLOURS[tone(change)]
    for cell in range(width):
        if cell < full:
            drawn.append("█", style=style)
        elif cell < reach:
            drawn.append("▒", style=style)
        elif cell + 1 in marks:
            drawn.append("┊", style="dim")
        else:
            drawn.append("─", style="dim")
    drawn.append(" 100 %   ")
    drawn.append(percent(observed), style="bold")
    if wanted is not None and wanted != (observed or 0):
        drawn.append(f", {percent(wanted)} wanted")
    return drawn


def _cell(value: float, width: int) -> int:
    return max(1, round(value / 100 * width))


def _filled(value: float | None, width: int) -> int:
    return _cell(value, width) if value else 0


def steps(change: Mapping[str, Any], *, gates_of: str = "now") -> RenderableType:
    """Return the steps, and the gates of the current one and of one that failed (`gates_of="all"`: of every one)."""
    rows: list[RenderableType] = []
    for step in (change.get("rollout") or {}).get("steps", []):
        rows.append(_step(step))
        open_ = gates_of == "all" or step["state"] in ("now", "failed")
        rows += [_gate(gate) for gate in step["gates"]] if open_ else []
    return Group(*rows)


def _step(step: Mapping[str, Any]) -> Text:
    state = str(step["state"])
    style = {"now": "bold", "failed": "bold red", "done": "green"}.get(state, "dim")
    name = f"ask {step['group']}" if step["kind"] == "ask" else f"{step['percent']:g} %"
    return Text(f"{STEP_MARKS[state]} {name:<8} {_note(step)}", style=style)


def _note(step: Mapping[str, Any]) -> str:
    if step["state"] == "done":
        return f"ended well after {seconds(step['ended_after_s'])}"
    if step["state"] == "skipped":
        return "skipped"
    if step["kind"] == "ask":
        return f"taken back after {seconds(step['expires_s'])} without an answer"
    spans = f"at least {seconds(step['least_s'])}, at most {seconds(step['most_s'])}"
    return f"harm was found here ({spans})" if step["state"] == "failed" else spans


def _gate(gate: Mapping[str, Any]) -> RenderableType:
    state = GATE_TONES[gate["outcome"]]
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=11, no_wrap=True)
    row.add_column(ratio=1, overflow="fold")
    told = Text(str(gate["gate"]), style="bold")
    told.append(f"  {gate['sentence']}", style="not bold")
    if gate["age_s"] is not None:
        told.append(f"  ({seconds(gate['age_s'])} old)", style="dim")
    row.add_row(Text(f"{MARKS[state]} {GATE_WORDS[gate['outcome']]}", style=COLOURS[state]), told)
    return Padding(row, (0, 0, 0, 4))


def approval(change: Mapping[str, Any]) -> RenderableType | None:
    """Return who was asked and who said what, or None where nobody was."""
    found = change.get("approval")
    if found is None:
        return None
    lines: list[RenderableType] = [Text(f"Approval: {found['sentence']}")]
    for vote in found["votes"]:
        stale = ", of an earlier version" if vote["stale"] else ""
        comment = f": {vote['comment']}" if vote["comment"] else ""
        lines.append(Text(f"    {vote['person']} said {vote['verdict']}{stale}{comment}", style="dim"))
    lines += [
        Text(
            f"    {seats['count']} of {seats['group']} missing: {', '.join(seats['may']) or 'nobody may'}", style="dim"
        )
        for seats in found["missing"]
    ]
    return Group(*lines)


def budgets(change: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each objective lost while the change was out, in a sentence, and what alerts say of it now."""
    for one in change.get("objectives") or ():
        if one["during"] is not None:
            canary = one["during"]["canary"]
            arm = "" if canary is None else f" Its canary: {canary['bad']:,} of {canary['total']:,}."
            yield f"{one['during']['sentence']}{arm}"
        burning = [alert for alert in one["windows"] if alert["answer"] == "fail"]
        yield from (f"{alert['severity'].capitalize()}: {alert['sentence']}" for alert in burning)


def whole(change: Mapping[str, Any], *, gates_of: str = "now", facts: Sequence[Mapping[str, Any]] = ()) -> Group:
    """Return everything one looks at while a change goes out; `facts` are told beneath."""
    parts: list[RenderableType] = [head(change), Text(str(change["sentence"])), Text()]
    if change.get("rollout") is not None:
        parts += [bar(change), Text(), steps(change, gates_of=gates_of)]
    lost = [Text(line) for line in budgets(change)]
    if lost:
        parts += [Text(), *lost]
    asked = approval(change)
    if asked is not None and (change["phase"] == "awaiting_approval" or gates_of == "all"):
        parts += [Text(), asked]
    review = change.get("review")
    if review is not None and change["phase"] == "reviewing":
        parts += [Text(), Text("A review is open.", style="dim")]
    if facts:
        parts += [Text(), *(fact_line(fact) for fact in facts)]
    return Group(*parts)


def fact_line(fact: Mapping[str, Any]) -> Text:
    """Return one fact of the timeline as a line."""
    return Text(f"{str(fact['at'])[11:19]}  {fact['text']}", style="dim", no_wrap=True, overflow="ellipsis")
