"""Who decides: the risk, the seats of an approval, the objectives at stake."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from airboss.faces.web import weighing
from airboss.faces.web.change_views import Approval, Risk, Seat
from airboss.faces.web.render import percent
from airboss.faces.web.views import Action, Objective, State
from airboss.faces.web.words import listed, sentence
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

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
_SAID: Final = {"reject": "rejected it", "ask": "asked for changes", "abstain": "abstained", "comment": "says"}
"""What people say besides taking a seat."""
HURTS_FROM: Final = 0.25
"""Budget left below which an objective needs somebody's eye."""


def risk(view: View) -> Risk | None:
    """Return how risky policy finds the change, and why."""
    decision = view["decision"]
    if decision is None:
        return None
    return {
        "tier": decision["tier"],
        "score": decision["score"],
        "decided": _decided(view, decision),
    }


def _decided(view: View, decision: View) -> str:
    if decision["outcome"] == "block":
        return "Policy refuses it as it is."
    groups = [
        f"{group['least']} of {group['group']}"
        for asked in decision["requirements"]["approvals"]
        for group in asked["groups"]
    ]
    people = view["approval"] is not None and view["approval"]["outcome"] == "approved"
    if people:
        return "Cleared by people."
    if decision["outcome"] == "pending" and groups:
        return f"Policy asks for {listed(groups)}."
    if decision["outcome"] == "pending":
        return "Policy asks for more before it goes on."
    return "Policy clears it without a person."


def approval(
    view: View, weighs: View | None, *, forecast: Sequence[View], actions: list[Action], asides: list[Action]
) -> Approval | None:
    """Return who is asked, or None where nobody was ever asked. `weighs` is the approver's view while they are."""
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
    card: Approval = {
        "state": state,
        "seats": seats,
        "remarks": [
            {
                "by": vote["person"],
                "said": _SAID[vote["verdict"]],
                "comment": vote["comment"] or "",
                "at": parse_rfc3339(vote["at"]),
            }
            for vote in found["votes"]
            if vote["verdict"] in _SAID
        ],
        "weighed": [] if weighs is None else weighing.weighed(view, weighs, forecast),
        "changed": [] if weighs is None else weighing.changed_since(weighs),
        "actions": actions,
        "asides": asides,
    }
    changed = sorted({section for vote in found["votes"] for section in vote["stale"]})
    if changed:
        words = listed([one.replace("_", " ") for one in changed])
        card["stale"] = f"{sentence(words)[:-1]} changed after somebody had approved."
    if found["outcome"] == "open":
        card["due_at"] = parse_rfc3339(found["expires_at"])
    return card


def objectives(view: View) -> list[Objective]:
    """Return the objectives at stake, with what is left of their budgets."""
    return [budget(one) for one in view["objectives"]]


def budget(one: View) -> Objective:
    """Return an objective with what is left of its budget, as reads give it."""
    left = None if one["budget_left"] is None else round(one["budget_left"] * 100, 1)
    if left is None:
        state: State = {"tone": "waiting", "word": "not known"}
    elif left <= 0:
        state = {"tone": "harmed", "word": "spent"}
    elif left <= HURTS_FROM * 100:
        state = {"tone": "needs", "word": "low"}
    else:
        state = {"tone": "well", "word": "in budget"}
    target = (
        f"{percent(one['target'] * 100)} over {window(one['window'])}" if one["target"] is not None else "no target"
    )
    burn = "no data yet" if one["burn"] is None else f"burning at {one['burn']:.2g}\N{NARROW NO-BREAK SPACE}×"
    return {"name": one["name"], "target": target, "left_percent": left, "burn": burn, "state": state}


def window(written: str | None) -> str:
    """Return the length of an objective's window in words: 28d is 28 d, 4w is 4 w."""
    return "its window" if written is None else re.sub(r"(?<=\d)(?=[A-Za-z])", "\N{NARROW NO-BREAK SPACE}", written)


def asked_until(view: View) -> datetime | None:
    """Return until when people are asked, or None."""
    found = view["approval"]
    return None if found is None or found["outcome"] != "open" else parse_rfc3339(found["expires_at"])
