"""Where a change stands: one word, one tone, one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from airboss.faces.web.render import percent
from airboss.faces.web.views import State, Tone
from airboss.faces.web.words import about, lasting, measured, sentence
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

_PHASES: Final[Mapping[str, tuple[Tone, str]]] = {
    "draft": ("waiting", "Draft"),
    "in_review": ("waiting", "In review"),
    "awaiting_approval": ("waiting", "Awaiting approval"),
    "approved": ("waiting", "Approved"),
    "scheduled": ("waiting", "Scheduled"),
    "validating": ("waiting", "Checking"),
    "rolling_out": ("well", "Rolling out"),
    "verifying": ("well", "Verifying"),
    "completed": ("well", "Completed"),
    "rejected": ("waiting", "Rejected"),
    "cancelled": ("waiting", "Called off"),
    "expired": ("waiting", "Expired"),
    "rolling_back": ("harmed", "Rolling back"),
    "rolled_back": ("harmed", "Rolled back"),
    "rollback_failed": ("harmed", "Rollback failed"),
}
_LEADS: Final[Mapping[str, tuple[Tone, str]]] = {
    "Held: ": ("waiting", "Held"),
    "Paused at ": ("waiting", "Paused"),
    "Needs you: ": ("needs", "Needs you"),
}


def row_state(row: View, *, mine: bool, now: datetime, until: datetime | None = None) -> State:
    """Return the state of a change in a list; `mine` where the reader's word is asked for, until a time."""
    if mine:
        return {"tone": "needs", "word": "Needs you", "sentence": _asked(row, until, now)}
    told = str(row["sentence"])
    tone, word = _phase(row)
    if row["phase"] == "rolling_out":
        for lead, found in _LEADS.items():
            if told.startswith(lead):
                tone, word = found
                told = told.removeprefix(lead) if lead.endswith(": ") else told
    if row["phase"] == "scheduled" and told:
        told = f"It may not start yet: {told}"
    if row["phase"] == "in_review" and told.startswith("Refused: "):
        word, told = "Refused", told.removeprefix("Refused: ")
    said = "" if told.rstrip(".").casefold() == word.casefold() else sentence(told)
    return {"tone": tone, "word": word, "sentence": said}


def page_state(view: View, *, now: datetime) -> State:
    """Return the state of a change on its own page, with numbers where there are any."""
    rollout = view["rollout"]
    approval = view["approval"] if view["phase"] == "awaiting_approval" else None
    if approval is not None and approval["may_vote"] and not _voted(approval):
        return row_state(view, mine=True, now=now, until=parse_rfc3339(approval["expires_at"]))
    if rollout is None:
        state = row_state(view, mine=False, now=now)
        no = _rejection(view) if view["phase"] == "rejected" else None
        return state if no is None else {**state, "sentence": no}
    if rollout["rollback"] is not None:
        tone, word = _phase(view)
        return {"tone": tone, "word": word, "sentence": taken_back(view)}
    state = row_state(view, mine=False, now=now)
    if view["phase"] == "rolling_out":
        missing = _missing(view, now)
        if missing is not None:
            state["sentence"] = missing
        if rollout["paused"]:
            state["tone"], state["word"] = "waiting", "Paused"
    elif view["outcome"] == "completed":
        state["sentence"] = _completed(view)
    return state


def _rejection(view: View) -> str | None:
    """Return who rejected a change, and why; None where nobody did."""
    votes = [] if view["approval"] is None else view["approval"]["votes"]
    last = next((vote for vote in reversed(votes) if vote["verdict"] == "reject"), None)
    return None if last is None else f"Rejected by {last['person']}: {sentence(last['comment'] or 'no reason given')}"


def _phase(row: View) -> tuple[Tone, str]:
    phase = row["phase"]
    if phase in ("reviewing", "closed"):
        phase = str(row["outcome"] or "completed").replace(" ", "_")
    return _PHASES.get(phase, ("waiting", phase.replace("_", " ").capitalize()))


def _asked(row: View, until: datetime | None, now: datetime) -> str:
    told = str(row["sentence"]).removeprefix("Waiting for approval: ").removesuffix(".")
    left = "" if until is None else f" within {lasting((until - now).total_seconds())}"
    return f"Waits for {told}, and you are one: decide{left}."


def _voted(approval: View) -> bool:
    return bool(approval["outcome"] != "open")


def _missing(view: View, now: datetime) -> str | None:
    """Return what the step still needs, in users and minutes; None where nothing is missing that can be counted."""
    rollout = view["rollout"]
    step = rollout["steps"][rollout["step"] - 1]
    waiting = [
        gate for gate in step["gates"] if gate["outcome"] == "inconclusive" and gate["numbers"].get("needed_total")
    ]
    if not waiting or step["reached_at"] is None:
        return None
    worst = max(waiting, key=lambda gate: gate["numbers"]["needed_total"])
    numbers = worst["numbers"]
    needed, new = numbers["needed_total"], numbers["needed_canary"]
    lead = f"At {percent(step['percent'])}: {needed:,} more users ({new:,} of them exposed) needed to call it harmless"
    seconds = seconds_to(worst, step, now)
    return f"{lead}, about {about(seconds)} at this traffic." if seconds is not None else f"{lead}."


def seconds_to(gate: View, step: View, now: datetime) -> float | None:
    """Return how long until a gate has what it needs: what is missing over how fast users came in this step."""
    numbers = gate["numbers"]
    if step["reached_at"] is None or gate["age_s"] is None or not numbers.get("needed_total"):
        return None
    counted_s = (now - parse_rfc3339(step["reached_at"])).total_seconds() - gate["age_s"]
    seen = numbers.get("canary_seen", 0) + numbers.get("baseline_seen", 0)
    return numbers["needed_total"] / (seen / counted_s) if seen and counted_s > 0 else None


def taken_back(view: View) -> str:
    """Return why it was or is taken back, and how that stands."""
    rollout, review = view["rollout"], view["review"]
    step = next((one for one in rollout["steps"] if one["state"] == "failed"), None)
    guilty = None if step is None else next((gate for gate in step["gates"] if gate["outcome"] == "fail"), None)
    took = None if review is None else review["rollback_s"]
    end = "Going back now." if view["phase"] == "rolling_back" else "Everything is back where it was."
    if took is not None:
        end = f"Everything was back {lasting(took)} later."
    if view["phase"] == "rollback_failed":
        end = sentence(view["sentence"])
    if step is None or guilty is None or not rollout["convicted"]:
        return f"{sentence(str(rollout['rollback']['reason']))} {end}"
    return f"Convicted at {percent(step['percent'])}: {harm_words(guilty)}. {end}"


def harm_words(gate: View) -> str:
    """Return what a gate convicted of."""
    numbers, kind = gate["numbers"], gate["numbers"].get("kind")
    canary, base = numbers.get("canary_rate"), numbers.get("baseline_rate")
    if kind == "ratio" and canary is not None:
        return f"{measured(canary, kind)} of exposed users met an error, against {measured(base, kind)}"
    if kind == "latency" and canary is not None:
        return f"exposed users wait {measured(canary, kind)}, others {measured(base, kind)}"
    return str(gate["sentence"]).rstrip(".")


def _completed(view: View) -> str:
    review = view["review"]
    started, done = (None, None) if review is None else (review["times"]["exposed_at"], review["times"]["completed_at"])
    if started is None or done is None:
        return "On for everybody, and verified."
    took = (parse_rfc3339(done) - parse_rfc3339(started)).total_seconds()
    return f"On for everybody, {lasting(took)} after the first users saw it, and verified."
