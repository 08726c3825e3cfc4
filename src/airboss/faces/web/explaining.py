"""The decision of policy on the page: what stands in the way and what clears it, which rules spoke and on which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from airboss.faces.web.change_views import Decision, Reason, Stand
from airboss.faces.web.views import State
from airboss.faces.web.weighing import field
from airboss.faces.web.words import sentence, value_read
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

_OUTCOMES: Final[Mapping[str, State]] = {
    "allow": {"tone": "well", "word": "allowed"},
    "pending": {"tone": "waiting", "word": "waits"},
    "block": {"tone": "harmed", "word": "refused"},
}
_OVER: Final = frozenset({"rejected", "cancelled", "expired"})
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
_KINDS: Final = {
    "deny": "Refused",
    "error": "A rule failed",
    "unclear": "Not known",
    "engine": "No answer",
    "evidence": "Evidence",
    "approval": "People",
    "obligation": "Obligation",
}


def decision(told: View) -> Decision:
    """Return the card of a decision. `told` is the explanation, as reads give it."""
    spoke = [rule for rule in told["rules"] if rule["state"] in ("fired", "error")]
    silent = [rule for rule in told["rules"] if rule["state"] not in ("fired", "error")]
    notes = [sentence(note) for note in told["notes"]]
    if not told["bundle_in_force"]:
        notes.append("Other rules are in force by now; it is judged again at the next look.")
    if not told["same"]:
        notes.append("Judged again from its recorded input it comes out differently: the record or the engine changed.")
    stands = [_stand(one, told["change"]) for one in told["stands"]]
    return {
        "state": _state(told, stands),
        "id": told["decision"],
        "at": parse_rfc3339(told["at"]),
        "summary": f"{told['tier'].capitalize()} risk, score {told['score']}, at {told['point']}.",
        "stands": stands,
        "spoke": [reason(rule) for rule in spoke],
        "silent": [reason(rule) for rule in silent],
        "notes": notes,
        "bundle": told["bundle"],
        "earlier": [
            (f"{_OUTCOMES[one['outcome']]['word']} at {one['point']}", parse_rfc3339(one["at"]))
            for one in reversed(told["decisions"])
            if one["id"] != told["decision"]
        ],
    }


def _state(told: View, stands: Sequence[Stand]) -> State:
    """Return what a decision comes to by now: what waited is cleared once nothing stands in the way."""
    if told["outcome"] == "pending" and stands and all(one["state"]["word"] == "cleared" for one in stands):
        return {"tone": "well", "word": "cleared"}
    if told["outcome"] == "pending" and told["phase"] in _OVER:
        return {"tone": "waiting", "word": "not cleared"}
    return _OUTCOMES[told["outcome"]]


def reason(rule: View) -> Reason:
    """Return a rule with what it said and the values it read."""
    return {
        "rule": rule["rule"] or "policy",
        "effect": _EFFECTS.get(rule["effect"], str(rule["effect"]).replace("_", " ")),
        "message": sentence(rule["message"] or rule.get("title") or rule["rule"] or ""),
        "read": [(field(name), value_read(value)) for name, value in sorted(rule["read"].items())],
    }


def _stand(one: View, change: str) -> Stand:
    cleared = bool(one.get("cleared"))
    asked = one.get("round")
    made: Stand = {
        "kind": _KINDS.get(one["kind"], str(one["kind"]).capitalize()),
        "state": {"tone": "well", "word": "cleared"} if cleared else {"tone": "waiting", "word": "in the way"},
        "why": sentence(one["why"]),
        "clears": sentence(str(one["words"]).replace(" CHANGE ", f" {change} ")),
        "rules": [rule for rule in one["rules"] if rule],
        "facts": [(field(fact["fact"]), value_read(fact["now"]), value_read(fact["be"])) for fact in one["facts"]],
    }
    if one["kind"] in ("deny", "error", "unclear", "engine"):
        made["state"] = {"tone": "harmed", "word": "refused"}
    if asked is not None:
        made["now"] = sentence(asked["sentence"])
    if one["kind"] == "evidence" and not cleared and one.get("evidence"):
        made["command"] = f"airboss change evidence {change} --type {one['evidence']['type']} --green --source URL"
    return made
