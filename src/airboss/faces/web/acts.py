"""What the reader may do now, as forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airboss.decide.approvals import Verdict
from airboss.faces.web.render import percent
from airboss.faces.web.views import Action, Field
from airboss.faces.web.words import listed, sentence
from airboss.people.access import Action as Act
from airboss.people.access import Actor, may

View = Mapping[str, Any]

_WITHHELD: Final = {
    "cancel": "call off",
    "promote": "let go on",
    "retry": "try again",
    "mitigated": "record as mitigated",
}
"""Orders as verbs of a sentence."""
_EXPOSED: Final = frozenset({"rolling_out", "verifying", "completed", "rollback_failed"})


def reason(*, required: bool, hint: str = "Kept in the record.") -> Field:
    """Return the one line of words an action takes."""
    return {"name": "reason", "label": "Reason", "required": required, "hint": hint}


def withheld(view: View) -> str:
    """Return why the reader may not do what others may; empty where nothing is kept from them by the teams alone."""
    if not view["withheld"]:
        return ""
    orders = listed([_WITHHELD.get(one["order"], str(one["order"])) for one in view["withheld"]], "or")
    why = str(view["withheld"][0]["why"]).replace("their rights", "your rights", 1)
    return sentence(f"not yours to {orders}: {why}")


def actions(view: View, href: str) -> list[Action]:
    """Return what the reader may order of a change, the most needed first."""
    orders = set(view["orders"])
    rollout = view["rollout"] or {}
    version = {"version": str(view["version"])}

    def order(verb: str, label: str, look: str = "plain", **more: Any) -> Action:
        found: Any = {
            "name": verb,
            "label": label,
            "href": f"{href}/orders/{verb}",
            "hidden": {},
            "look": look,
            **more,
        }
        action: Action = found
        return action

    found: list[Action] = []
    if "submit" in orders:
        found.append(order("submit", "Submit for review", "primary", href=f"{href}/submit", hidden=version))
    if "cancel" in orders:
        confirm = "The draft is called off and stays in the record. Nothing was exposed."
        found.append(
            order(
                "cancel",
                "Call off",
                href=f"{href}/cancel",
                hidden=version,
                confirm=confirm,
                confirm_label="Call it off",
                fields=[reason(required=True)],
            )
        )
    found += _steering(rollout, orders, order, over=view["phase"] == "reviewing")
    if view["phase"] in _EXPOSED and "rollback" in orders:
        found.append(
            order(
                "rollback",
                "Roll back",
                "danger",
                key="r",
                confirm=_back_words(rollout),
                confirm_label="Roll back now",
                fields=[reason(required=False)],
            )
        )
    elif "abort" in orders:
        confirm = "It leaves the queue and cannot start any more. Nothing was exposed."
        found.append(
            order("abort", "Abort", confirm=confirm, confirm_label="Abort it", fields=[reason(required=False)])
        )
    return found


def _steering(rollout: View, orders: set[str], order: Any, *, over: bool) -> list[Action]:
    """Return the orders that steer; `over` says that the change has ended, and trying again is not what it waits for."""
    found: list[Action] = []
    step = rollout["steps"][rollout["step"] - 1] if rollout else None
    asked = rollout.get("hold") is not None and rollout["hold"]["asked_until"] is not None
    if "promote" in orders and step is not None:
        if step["kind"] == "ask" or asked:
            found.append(
                order(
                    "promote",
                    "Go on",
                    "primary",
                    key="a",
                    confirm="The next step begins as soon as the gates let it. Recorded with your name.",
                    confirm_label="Go on",
                    fields=[reason(required=True)],
                )
            )
        else:
            found.append(
                order(
                    "promote",
                    "Skip this step",
                    confirm="The next step begins although this one is not decided. Recorded with your name and reason.",
                    confirm_label="Skip it",
                    fields=[reason(required=True)],
                )
            )
    if "pause" in orders and not rollout.get("paused"):
        found.insert(0, order("pause", "Pause"))
    if "resume" in orders and rollout.get("paused"):
        found.insert(0, order("resume", "Resume", "primary"))
    if "retry" in orders:
        found.insert(0, order("retry", "Try again", "plain" if over else "primary"))
    if "mitigated" in orders:
        found.append(
            order(
                "mitigated",
                "Mitigated by hand",
                confirm="Nothing is tried any more, and the change goes to its review. Recorded with your name.",
                confirm_label="Record it",
                fields=[reason(required=True)],
            )
        )
    return found


def _back_words(rollout: View) -> str:
    units = rollout.get("units", [])
    there = [f"{unit['service']} in {unit['environment']}" for unit in units]
    base = {unit["baseline_pct"] for unit in units if unit["baseline_pct"] is not None}
    to = percent(min(base)) if base else "where it was"
    return f"{', '.join(there) or 'Everything'} goes back to {to} at once, whatever the gates say. This change ends with it."


def votes(view: View, href: str, actor: Actor) -> tuple[list[Action], list[Action]]:
    """Return what a reader may say while people are asked: what decides, and what does not. All share the one reason."""
    found = view["approval"]
    if found is None or found["outcome"] != "open" or view["phase"] != "awaiting_approval":
        return [], []
    hidden = {"seen": found["seen"]}
    why: Field = {
        "name": "comment",
        "label": "Reason",
        "required": False,
        "rows": 2,
        "hint": "Kept in the record with your word. To reject, to ask or to comment takes one.",
    }

    def vote(verdict: Verdict, label: str, look: Any, key: str | None = None) -> Action:
        made: Action = {
            "name": str(verdict),
            "label": label,
            "href": f"{href}/votes/{verdict}",
            "hidden": hidden,
            "look": look,
            "fields": [why],
        }
        return made if key is None else {**made, "key": key}

    decide = [
        vote(Verdict.APPROVE, "Approve", "primary", "a"),
        vote(Verdict.REJECT, "Reject", "danger", "r"),
        vote(Verdict.ASK, "Ask for changes", "plain"),
    ]
    asides = [vote(Verdict.COMMENT, "Only comment", "plain")] if may(actor, Act.CHANGE_APPROVE) else []
    if not found["may_vote"]:
        return [], asides
    return decide, [*asides, vote(Verdict.ABSTAIN, "Abstain", "plain")]
