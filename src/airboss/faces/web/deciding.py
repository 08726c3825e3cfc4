"""What an approver weighs: the risk and why, what it can hurt, the way back, who asks, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from airboss.faces.web.render import percent
from airboss.faces.web.views import Action, Approval, Objective, Reason, Risk, Seat, State
from airboss.faces.web.words import about, listed, sentence, value_read
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

_EFFECTS: Final = {
    "deny": "refuses it",
    "warn": "warns",
    "add_risk": "adds risk",
    "set_tier": "sets the tier",
    "require_approval": "asks people",
    "require_evidence": "asks for evidence",
    "obligate": "obliges",
    "auto_approve": "clears it",
    "schedule": "says when",
}
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "open": ("waiting", "not decided"),
    "approved": ("well", "approved"),
    "rejected": ("waiting", "rejected"),
    "asked": ("waiting", "changes asked for"),
    "expired": ("waiting", "nobody answered in time"),
    "blocked": ("needs", "nobody can approve"),
    "superseded": ("waiting", "asked again"),
    "withdrawn": ("waiting", "withdrawn"),
}
HURTS_FROM: Final = 0.25
"""Budget left below which an objective needs somebody's eye."""


def risk(view: View) -> Risk | None:
    """Return how risky policy finds the change, and why."""
    decision = view["decision"]
    if decision is None:
        return None
    denying = {denial["rule"] for denial in decision["denials"]}
    reasons = [_reason({**denial, "effect": "deny"}) for denial in decision["denials"]]
    reasons += [_reason(rule) for rule in decision["fired"] if rule["rule"] not in denying]
    return {
        "tier": decision["tier"],
        "score": decision["score"],
        "decided": _decided(view, decision),
        "reasons": reasons,
    }


def _reason(rule: View) -> Reason:
    return {
        "rule": rule["rule"] or "policy",
        "effect": _EFFECTS.get(rule["effect"], rule["effect"].replace("_", " ")),
        "message": sentence(rule["message"] or rule["rule"] or ""),
        "read": [(_field(name), value_read(value)) for name, value in sorted(rule["read"].items())],
    }


def _field(name: str) -> str:
    return name.removeprefix("change.").removeprefix("impact.")


def _decided(view: View, decision: View) -> str:
    if decision["outcome"] == "block":
        return "Policy refuses it as it is."
    groups = [
        f"{group['least']} of {group['group']}"
        for asked in decision["requirements"]["approvals"]
        for group in asked["groups"]
    ]
    if decision["outcome"] == "pending" and groups:
        return f"Policy asks for {listed(groups)}."
    if decision["outcome"] == "pending":
        return "Policy asks for more before it goes on."
    people = view["approval"] is not None and view["approval"]["outcome"] == "approved"
    return "Cleared by people." if people else "Policy clears it without a person."


def approval(view: View, *, forecast: Sequence[View], actions: list[Action]) -> Approval | None:
    """Return the card that decides, or None where nobody was ever asked."""
    found = view["approval"]
    if found is None:
        return None
    tone, word = _OUTCOMES.get(found["outcome"], ("waiting", found["outcome"]))
    by = {vote["person"]: vote for vote in found["votes"]}
    seats: list[Seat] = []
    for seat in found["seats"]:
        vote = by.get(seat["person"])
        seats.append(
            {
                "group": seat["group"],
                "by": seat["person"],
                "at": parse_rfc3339(vote["at"] if vote else found["opened_at"]),
                "may": [],
            }
        )
        if vote is not None and vote["comment"]:
            seats[-1]["comment"] = vote["comment"]
    seats += [
        {"group": missing["group"], "by": None, "at": None, "may": missing["may"]}
        for missing in found["missing"]
        for _ in range(missing["count"])
    ]
    state: State = {"tone": tone, "word": word, "sentence": f"May “{view['title']}” go out?"}
    card: Approval = {"state": state, "seats": seats, "facts": facts(view, forecast), "actions": actions}
    changed = sorted({section for vote in found["votes"] for section in vote["stale"]})
    if changed:
        card["since_last_look"] = (
            f"{listed([one.replace('_', ' ') for one in changed])} changed after somebody approved"
        )
    if found["outcome"] == "open":
        card["due_at"] = parse_rfc3339(found["expires_at"])
    return card


def facts(view: View, forecast: Sequence[View]) -> list[tuple[str, str]]:
    """Return what an approver weighs, as (label, sentence)."""
    spec = view["spec"]
    found = [
        ("What it can hurt", _blast(view)),
        ("How it goes out", _course(spec, forecast)),
        ("How it goes back", way_back(view)),
        ("Why it is risky", _why_risky(view)),
        ("What is left of the budget", _budget(view)),
        ("Who wrote it", _authors(view)),
        ("What is known", _evidence(view)),
    ]
    findings = [one["message"] for one in view["findings"] if one["severity"] != "info"]
    notes = [one["message"] for one in view["findings"] if one["severity"] == "info"]
    if findings:
        found.append(("Watch out", " ".join(sentence(text) for text in findings)))
    if notes:
        found.append(("What the inspectors saw", " ".join(sentence(text) for text in notes)))
    return [(label, text) for label, text in found if text]


def _blast(view: View) -> str:
    spec = view["spec"]
    impact = spec["intent"]["impact"]
    who = f"{percent(impact['users_percent'])} of the users" if impact.get("users_percent") is not None else "Users"
    told = f"{who} of {listed(view['services'])} in {listed(view['environments'])}"
    if spec["plan"].get("allowance_share"):
        told += f"; a step may at most spoil {percent(spec['plan']['allowance_share'] * 100)} of all requests"
    return sentence(told)


def _course(spec: View, forecast: Sequence[View]) -> str:
    steps = [step for stage in spec["plan"]["stages"] for step in stage["steps"]]
    shares = [f"{step['percent']:g}" for step in steps if step["step"] == "expose"]
    told = f"{' → '.join(shares)} %"
    seconds = [one["seconds"] for one in forecast]
    if seconds and all(one is not None for one in seconds):
        least = sum(step["least_s"] for step in steps if step["step"] == "expose")
        told += f", about {about(max(sum(seconds), least))} at this traffic if it is harmless"
    elif forecast:
        told += "; at this traffic not every step gathers its evidence in time"
    return sentence(told)


def way_back(view: View) -> str:
    """Return how a change goes back, in a sentence."""
    spec = view["spec"]
    if spec is None:
        return "Settled when it is submitted."
    back = spec["way_back"].get("rollback")
    told = sentence(back["plan"]) if back is not None else "There is none; a mitigation stands in its place."
    impact = spec["intent"]["impact"]
    data = {"none": "No data is touched.", None: ""}.get(impact.get("data"), f"Data: {impact.get('data')}.")
    return f"{told} {data}".strip()


def _why_risky(view: View) -> str:
    decision = view["decision"]
    if decision is None:
        return ""
    said = [one["message"] for one in decision["fired"] if one["effect"] in ("set_tier", "add_risk")]
    return f"{decision['tier'].capitalize()} risk: {listed(said) or 'no rule adds to it'}."


def _budget(view: View) -> str:
    told = [
        f"{percent(round(one['budget_left'] * 100, 1))} of {one['name']}, which burns at {one['burn']:.1g} of what it may"
        if one["known"]
        else f"not known for {one['name']}, nobody counted yet"
        for one in view["objectives"]
    ]
    return sentence("; ".join(told)) if told else "No objective stands over these services."


def _authors(view: View) -> str:
    authors = list(dict.fromkeys([view["requester"], *view["authors"]]))
    verb = "wrote it and may not approve it" if len(authors) == 1 else "wrote it; none of them may approve it"
    return f"{listed(authors)} {verb}."


def _evidence(view: View) -> str:
    told = [f"{one['type']} is {'green' if one['green'] else 'red'} ({one['source']})" for one in view["evidence"]]
    asked = [
        one.get("type", "")
        for one in (view["decision"] or {"requirements": {"evidence": []}})["requirements"]["evidence"]
    ]
    missing = [name for name in asked if name and name not in {one["type"] for one in view["evidence"]}]
    if missing:
        told.append(f"{listed(missing)} evidence is missing")
    return sentence("; ".join(told)) if told else "No test result was sent with it."


def objectives(view: View) -> list[Objective]:
    """Return the objectives at stake, with what is left of their budgets."""
    found: list[Objective] = []
    for one in view["objectives"]:
        left = None if one["budget_left"] is None else round(one["budget_left"] * 100, 1)
        if left is None:
            state: State = {"tone": "waiting", "word": "not known"}
        elif left <= 0:
            state = {"tone": "harmed", "word": "spent"}
        elif left <= HURTS_FROM * 100:
            state = {"tone": "needs", "word": "low"}
        else:
            state = {"tone": "well", "word": "in budget"}
        target = f"{percent(one['target'] * 100)} over 28 d" if one["target"] is not None else "no target"
        burn = "no data yet" if one["burn"] is None else f"burning at {one['burn']:.2g}\N{NARROW NO-BREAK SPACE}×"
        found.append({"name": one["name"], "target": target, "left_percent": left, "burn": burn, "state": state})
    return found


def asked_until(view: View) -> datetime | None:
    """Return until when people are asked, or None."""
    found = view["approval"]
    return None if found is None or found["outcome"] != "open" else parse_rfc3339(found["expires_at"])
