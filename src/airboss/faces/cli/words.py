"""The words, marks and short forms the command line shows; plain text, nothing of Rich."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

Tone: TypeAlias = Literal["well", "waiting", "needs", "harmed"]

MARKS: Final[Mapping[Tone, str]] = {"well": "●", "waiting": "○", "needs": "▲", "harmed": "✕"}
COLOURS: Final[Mapping[Tone, str]] = {"well": "green", "waiting": "cyan", "needs": "yellow", "harmed": "red"}
STEP_MARKS: Final = {"done": "✓", "now": "▸", "ahead": "·", "failed": "✕", "skipped": "»"}
GATE_WORDS: Final = {"pass": "passes", "fail": "fails", "inconclusive": "undecided", "error": "no answer"}
GATE_TONES: Final[Mapping[str, Tone]] = {"pass": "well", "fail": "harmed", "inconclusive": "waiting", "error": "needs"}
_HARMED: Final = frozenset({"rolling_back", "rolled_back", "rollback_failed"})
_MOVING: Final = frozenset({"rolling_out", "verifying", "completed"})
SHORT: Final = 8


def short_id(change: str) -> str:
    """Return the end of an ID: its beginning is the time, which changes made together share."""
    return change[-SHORT:]


def tone(change: Mapping[str, Any]) -> Tone:
    """Return which of the four states a change is in, from its view or its summary."""
    phase, outcome = change["phase"], change["outcome"]
    if phase in _HARMED or outcome in ("rolled back", "rollback failed"):
        return "harmed"
    if outcome == "completed":
        return "well"
    if phase == "awaiting_approval" and (change.get("approval") or {}).get("may_vote"):
        return "needs"
    rollout = change.get("rollout") or {}
    hold = rollout.get("hold")
    if hold is not None and phase in _MOVING:
        return "needs" if hold["asked_until"] is not None else "waiting"
    if rollout.get("paused"):
        return "waiting"
    return "well" if phase in _MOVING else "waiting"


def word(change: Mapping[str, Any]) -> str:
    """Return where a change stands, in a word or two."""
    if change["phase"] in ("reviewing", "closed") and change["outcome"]:
        return str(change["outcome"])
    rollout = change.get("rollout") or {}
    if change["phase"] == "rolling_out" and rollout.get("mode") in ("paused", "held"):
        return str(rollout["mode"])
    return str(change["phase"]).replace("_", " ")


def percent(value: float | None) -> str:
    """Return an exposure with its unit; a dash where it is not known."""
    return "–" if value is None else f"{value:g} %"


def seconds(value: float | None) -> str:
    """Return a span in the largest unit that keeps it readable."""
    if value is None:
        return "–"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 172_800 else f"{value / 86_400:.0f} d"


def ago(at: str | None, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was."""
    if at is None:
        return "–"
    return f"{seconds(max(0.0, (now - datetime.fromisoformat(at)).total_seconds()))} ago"


def clock_time(at: str) -> str:
    """Return the time of day of an RFC 3339 time, in UTC."""
    return datetime.fromisoformat(at).strftime("%H:%M:%S")
