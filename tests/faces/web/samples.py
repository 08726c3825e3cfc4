"""Pages as they look in real life, for the template tests and the pictures."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from airboss.faces.web.change_views import Approval, ChangePage, Decision, Entry, Gate, PlotData, Reason, Step, Trace
from airboss.faces.web.signing import SignInPage
from airboss.faces.web.site import ErrorPage
from airboss.faces.web.views import Action, Shell

NOW = datetime(2026, 11, 23, 14, 12, 40, tzinfo=UTC)
ID = "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"
HREF = f"/changes/{ID}"
DIGEST = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"


def before(**span: float) -> datetime:
    return NOW - timedelta(**span)


def shell(**more: Any) -> Shell:
    nav = [
        {"label": "Changes", "href": "/changes", "current": True, "count": 1},
        {"label": "Flags", "href": "/flags", "current": False},
        {"label": "Record", "href": "/record", "current": False},
    ]
    return {"now": NOW, "user": "dev-b", "role": "engineer", "nav": nav, "version": "0.1.0", "demo": True, **more}


def action(name: str, label: str, look: str = "plain", **more: Any) -> Action:
    return {"name": name, "label": label, "href": f"{HREF}/{name}", "hidden": {"version": "7"}, "look": look, **more}


ROLL_BACK = action(
    "rollback",
    "Roll back",
    "danger",
    key="r",
    confirm="Everybody gets the old VAT engine again, within about 3 seconds. The version stays blocked until somebody lifts it.",
    confirm_label="Roll back now",
)


def wave(base: float, height: float, count: int = 24, shift: float = 0.0) -> list[float | None]:
    return [
        round(base + height * math.sin(number / 3 + shift) + height * math.cos(number * 1.7 + shift) / 2, 3)
        for number in range(count)
    ]


def gates(*, verdict: str = "waiting") -> list[Gate]:
    return [
        {
            "name": "checkout-errors",
            "what": "requests that fail",
            "verdict": {"tone": "waiting", "word": "undecided"},
            "needs": "1,240 more requests, about 3 min",
            "canary": {"value": "0.24 %", "interval": "0.05 to 1.32 %", "of": "418 customers"},
            "baseline": {"value": "0.21 %", "of": "3,790 customers"},
            "bound": "at most 1.2 %",
            "age_s": 2.1,
            "spark": {"canary": [None, None, *wave(0.24, 0.1)], "baseline": wave(0.2, 0.02, 26), "bound": 1.2},
        },
        {
            "name": "checkout-latency",
            "what": "p95, at most 10 % above",
            "verdict": {"tone": "well", "word": "passes", "sentence": "harmless at 99 %"},
            "canary": {"value": "34 ms", "interval": "31 to 36 ms", "of": "418 customers"},
            "baseline": {"value": "33 ms", "of": "3,790 customers"},
            "bound": "at most 36 ms",
            "age_s": 2.1,
            "spark": {"canary": wave(34, 2), "baseline": wave(33, 1), "bound": 36.0},
        },
        {
            "name": "checkout-availability",
            "what": "burn rate of the error budget",
            "verdict": {"tone": "well", "word": "passes", "sentence": "far from 14.4"},
            "everybody": {"value": "0.8 ×"},
            "bound": "below 14.4 ×",
            "age_s": 2.1,
        },
    ]


def steps() -> list[Step]:
    passed: list[Gate] = [
        {**gate, "verdict": {"tone": "well", "word": "passed", "sentence": "harmless at 99 %"}} for gate in gates()
    ]
    for gate in passed:
        gate.pop("needs", None)
    return [
        {
            "number": 1,
            "label": "1 %",
            "percent": 1,
            "phase": "done",
            "note": "held 41 s, cleared by 2 gates",
            "gates": passed,
        },
        {
            "number": 2,
            "label": "10 %",
            "percent": 10,
            "phase": "now",
            "note": "1 min 52 s of at least 2 min",
            "gates": gates(),
        },
        {"number": 3, "label": "50 %", "percent": 50, "phase": "ahead", "note": "at least 2 min", "gates": []},
        {"number": 4, "label": "100 %", "percent": 100, "phase": "ahead", "note": "at least 10 min", "gates": []},
    ]


def entry(position: int, at: datetime, actor: str, text: str, tone: str | None = None, **more: Any) -> Entry:
    raw = json.dumps(
        {"format": 1, "fact_id": f"fct_{position:026d}", "subject": ID, "type": "step.passed", "body": {}}, indent=2
    )
    return {
        "position": position,
        "at": at,
        "actor": actor,
        "tone": tone,
        "text": text,
        "raw": raw,
        "leaf": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "proof": f"/api/v1/record/proofs/{position}",
        **more,
    }


def timeline() -> list[Entry]:
    return [
        entry(418, before(minutes=1, seconds=52), "airboss", "10 % of customers now get the new engine"),
        entry(
            417,
            before(minutes=1, seconds=53),
            "airboss",
            "Step 1 ended well: both gates passed",
            "well",
            detail="errors 0.19 % against at most 5 %; p95 33 ms against at most 36 ms",
        ),
        entry(391, before(minutes=2, seconds=34), "airboss", "1 % of customers now get the new engine"),
        entry(
            388,
            before(minutes=2, seconds=36),
            "airboss",
            "Started: policy cleared it without a person",
            detail="rule LIGHT-BEHIND-FLAG: small, reversible and behind a flag",
        ),
        entry(386, before(minutes=4), "dev-a", "Submitted"),
    ]


def approval(*, mine: bool) -> Approval:
    page: Approval = {
        "state": {
            "tone": "needs",
            "word": "needs 1 of payments-leads",
            "sentence": "Your decision: may this change go out to half of the customers?"
            if mine
            else "Waits for payments-leads",
        },
        "remarks": [],
        "seats": [
            {"group": "payments-leads", "by": None, "at": None, "may": ["dev-b"]},
            {
                "group": "sre",
                "by": "sre-a",
                "at": before(minutes=12),
                "may": [],
                "comment": "watched the last one, fine",
            },
        ],
        "weighed": [
            {
                "label": "Why it is risky",
                "words": "Medium risk, score 20.",
                "lines": [
                    {
                        "text": "Touches pay, an important service, and more than 5 % of customers.",
                        "rule": "IMPORTANT-AND-WIDE",
                        "read": "services[0].tier = important, users_percent = 50",
                    }
                ],
                "wide": True,
            },
            {"label": "What it can hurt", "words": "50 % of customers of pay; 0.05 % of all requests at most."},
            {
                "label": "What is left of the budget",
                "words": "pay-availability: 71 % left, burning at 0.8 of what it may",
            },
            {"label": "How it goes back", "words": "Flag back to off, about 3 seconds; no data is touched"},
            {"label": "Who wrote it", "words": "dev-a asked for it and wrote the payload; neither may approve"},
            {"label": "What is missing", "words": "1 of payments-leads (dev-b)."},
            {
                "label": "What else is going on",
                "words": "Another change moves beside it.",
                "lines": [{"text": "Larger tills: it changes pay too", "href": "/changes/chg_01"}],
            },
        ],
        "changed": [],
        "asides": [],
        "actions": [],
        "due_at": NOW + timedelta(hours=3),
    }
    if mine:
        page["changed"] = [{"field": "plan.stages[0].steps[1].percent", "was": "5", "now": "10"}]
        page["stale"] = "Plan changed after somebody had approved."
        comment = {
            "name": "comment",
            "label": "Reason",
            "required": False,
            "rows": 2,
            "hint": "Kept with your decision. A rejection needs one.",
        }
        page["actions"] = [
            action("approve", "Approve", "primary", key="a", fields=[comment], hidden={"seen": DIGEST}),
            action("reject", "Reject", "danger", key="r", fields=[comment], hidden={"seen": DIGEST}),
        ]
        page["asides"] = [action("comment", "Only comment", fields=[comment], hidden={"seen": DIGEST})]
    return page


def decision(tone: Any, word: str, *, stands: bool = False) -> Decision:
    spoke: Reason = {
        "rule": "LIGHT-BEHIND-FLAG",
        "effect": "clears it",
        "message": "Small, reversible and behind a flag.",
        "read": [("users_percent", "5"), ("reversible", "yes"), ("ci.green", "yes")],
    }
    return {
        "state": {"tone": tone, "word": word},
        "id": "dec_01kq3z8x5wf6vtd0c1m2n3p4q5",
        "at": before(minutes=3),
        "summary": "Low risk, score 10, at approve.",
        "stands": [
            {
                "kind": "Refused",
                "state": {"tone": "harmed", "word": "refused"},
                "why": "The error budget is spent.",
                "clears": "Label it reliability if it is one, or wait.",
                "rules": ["BUDGET-EMPTY"],
                "facts": [("slo.budget_left", "-0.04", "above 0")],
                "now": "Waits for 1 of payments-leads.",
                "command": f"airboss change evidence {ID} --type ci --green --source URL",
            }
        ]
        if stands
        else [],
        "spoke": [spoke],
        "silent": [{**spoke, "rule": "FREEZE", "message": "Its condition does not hold.", "read": []}],
        "notes": ["Other rules are in force by now; it is judged again at the next look."] if stands else [],
        "bundle": DIGEST,
        "earlier": [("allowed at submit", before(minutes=4))],
    }


def trace(word: str, tone: Any) -> Trace:
    return {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span": "POST /checkout",
        "state": {"tone": tone, "word": word},
        "duration": "1240 ms",
        "at": before(seconds=20),
        "told": "step 2, checkout in production",
    }


def rolling() -> ChangePage:
    """A ramp held at 10 % by a gate that needs more traffic."""
    return {
        "shell": shell(),
        "id": ID,
        "href": HREF,
        "title": "New VAT engine for everybody",
        "why": "VAT rules change on 1 December",
        "state": {
            "tone": "waiting",
            "word": "Held",
            "sentence": "Held at 10 %: 1,240 more requests needed to call it harmless, about 3 minutes at this traffic.",
        },
        "kind": "flag ramp",
        "owner": "payments",
        "requester": "dev-a",
        "services": ["checkout"],
        "environments": ["production"],
        "created_at": before(minutes=4),
        "live": f"{HREF}/stream",
        "position": 418,
        "withheld": "",
        "actions": [
            action("pause", "Pause"),
            action(
                "promote",
                "Skip this step",
                confirm="The next step begins although this one is undecided. This is recorded with your name.",
                confirm_label="Skip it",
            ),
            ROLL_BACK,
        ],
        "exposure": {
            "wanted": 10,
            "observed": 10,
            "back": False,
            "sentence": "10 % of customers get the new engine, as wanted",
        },
        "steps": steps(),
        "plots": [
            {
                "name": "checkout-errors",
                "title": "Requests that fail, checkout-errors",
                "caption": "Canary 0.24 % (0.05 to 1.32 %), baseline 0.21 %, bound 1.2 %.",
                "evidence": "Harm 1 : 12, convicted at 200 : 1; harmless 8 : 1, passes at 100 : 1.",
                "needs": "Still needed to call it harmless: 1,240 users, 124 of them exposed.",
                "data": f"{HREF}/plots/checkout-errors.json",
                "table": {
                    "columns": ["Time (UTC)", "Canary", "may truly be", "Baseline", "Bound"],
                    "rows": [
                        ["14:12:30", "0.24 %", "0.05 to 1.32 %", "0.21 %", "1.2 %"],
                        ["14:12:20", "0.25 %", "0.05 to 1.40 %", "0.20 %", "1.2 %"],
                    ],
                },
            }
        ],
        "risk": {
            "tier": "low",
            "score": 10,
            "decided": "Flows without a person",
        },
        "decision": decision("well", "allowed"),
        "evidence": [
            {
                "type": "ci",
                "state": {"tone": "well", "word": "green"},
                "source": "https://ci.example.com/builds/812",
                "href": "https://ci.example.com/builds/812",
                "at": before(minutes=6),
                "digest": DIGEST,
            }
        ],
        "traces": [("Canary", [trace("failed", "harmed"), trace("slow", "waiting")]), ("Baseline", [])],
        "forecast": "",
        "approval": None,
        "objectives": [
            {
                "name": "checkout-availability",
                "target": "99 % over 28 d",
                "left_percent": 71,
                "burn": "burning at 0.8 ×",
                "state": {"tone": "well", "word": "in budget"},
            }
        ],
        "running": [
            {"where": "tax.engine in production", "what": "on for 10 %", "digest": DIGEST, "since": before(minutes=2)}
        ],
        "way_back": "Flag back to off, about 3 seconds. Possible at any time.",
        "links": [],
        "timeline": timeline(),
        "audit": f"{HREF}/record.jsonl",
    }


def waiting_for_me() -> ChangePage:
    """A ramp of medium risk before its start, seen by who may approve it."""
    page = rolling()
    page.update(
        title="One-press payment for everybody",
        why="Half of the customers who leave do so on the payment page",
        services=["pay"],
        state={
            "tone": "needs",
            "word": "Needs you",
            "sentence": "Waits for one of payments-leads: you, before 17:12 UTC.",
        },
        actions=[
            action(
                "cancel",
                "Withdraw",
                confirm="It leaves the queue; nothing has been exposed.",
                confirm_label="Withdraw it",
            )
        ],
        exposure=None,
        steps=[
            {**step, "phase": "ahead", "gates": [], "note": note}
            for step, note in zip(
                steps(), ("about 20 s at this traffic", "about 25 s", "about 15 s", "at least 10 min"), strict=True
            )
        ],
        plots=[],
        running=[],
        approval=approval(mine=True),
        timeline=timeline()[-1:],
    )
    page["risk"] = {
        "tier": "medium",
        "score": 45,
        "decided": "Waits for one of payments-leads",
    }
    page["decision"] = decision("waiting", "waits", stands=True)
    page["evidence"] = [
        {
            "type": "staging",
            "state": {"tone": "waiting", "word": "missing"},
            "source": "Policy asks for it, and nobody sent it yet.",
            "href": None,
            "at": None,
            "command": f"airboss change evidence {ID} --type staging --green --source URL",
        }
    ]
    page["traces"] = []
    page["forecast"] = "The planner: at 40 requests a second, 1 → 10 → 50 → 100 %, about 60 s if it is harmless."
    return page


def taken_back() -> ChangePage:
    """A bad ramp on its way back: convicted at 10 %, not quite at the baseline yet."""
    page = rolling()
    failed = gates()
    failed[0].update(
        verdict={"tone": "harmed", "word": "fails", "sentence": "worse than the baseline, surely"},
        canary={"value": "3.1 %", "interval": "1.6 to 5.4 %", "of": "512 customers"},
    )
    failed[0].pop("needs")
    page.update(
        title="One-press payment for everybody",
        services=["pay"],
        state={
            "tone": "harmed",
            "word": "Rolling back",
            "sentence": "Convicted at 10 %: 3.1 % of exposed customers met an error, against 0.2 %. Going back to off; 2 % still get the new button.",
        },
        actions=[],
        exposure={
            "wanted": 0,
            "observed": 2,
            "back": True,
            "sentence": "2 % of customers still get the new button; none are wanted",
        },
        timeline=[
            entry(
                455,
                before(seconds=4),
                "airboss",
                "Going back to the old button",
                "harmed",
                detail="10.2 s after the first harmed customer, 3.1 s of it export delay",
            ),
            entry(
                454,
                before(seconds=5),
                "airboss",
                "Convicted: pay-errors fails",
                "harmed",
                detail="errors 3.1 % (1.6 to 5.4 %) against at most 1.2 %",
            ),
            entry(440, before(minutes=14), "sre-a", "Approved", "well", detail="“watched the last one, fine”"),
            *timeline()[-1:],
        ],
        approval={**approval(mine=False), "state": {"tone": "well", "word": "approved"}},
    )
    page["steps"][1].update(phase="failed", note="failed after 21 s", gates=failed)
    page["objectives"][0].update(left_percent=-4, burn="burning at 31 ×", state={"tone": "harmed", "word": "spent"})
    page["running"][0].update(what="off, reached by 98 %")
    return page


def sign_in() -> SignInPage:
    return {"shell": shell(user=None, nav=[], demo=False), "action": "/sign-in"}


def sign_in_failed() -> SignInPage:
    fault = "That name and password do not go together. Try again in 2 s."
    return {"shell": shell(user=None, nav=[], demo=False), "action": "/sign-in", "fault": fault, "handle": "dev-b"}


def first_admin() -> SignInPage:
    link = {"first_admin": True, "handle": None, "expires_at": NOW + timedelta(minutes=14)}
    return {"shell": shell(user=None, nav=[], demo=False), "action": "/sign-in/lnk_x", "link": link}


def refusal() -> ErrorPage:
    return {
        "shell": shell(),
        "status": 409,
        "title": "Refused",
        "detail": "The error budget of checkout-availability is spent (−4 %). Only changes labelled reliability may start until it recovers, expected in 3 h.",
        "code": "budget-empty",
        "way_out": "Label the change reliability if it is one, or wait until the budget recovers.",
        "back": HREF,
    }


def plot_data() -> PlotData:
    count = 90
    start = NOW.timestamp() - 2 * count
    canary = [
        None if number < 8 else round(0.24 + 0.5 * math.exp(-number / 12) + 0.03 * math.sin(number), 4)
        for number in range(count)
    ]
    return {
        "unit": "%",
        "scale": "share",
        "t": [start + 2 * number for number in range(count)],
        "canary": canary,
        "baseline": [round(0.21 + 0.01 * math.sin(number / 5), 4) for number in range(count)],
        "low": [None if value is None else round(value * 0.3, 4) for value in canary],
        "high": [
            None if value is None else round(value + 4 * math.exp(-number / 25), 4)
            for number, value in enumerate(canary)
        ],
        "harm": [None if value is None else round(-0.02 * number, 3) for number, value in enumerate(canary)],
        "safe": [None if value is None else round(0.028 * number - 0.5, 3) for number, value in enumerate(canary)],
        "harm_at": 2.3,
        "safe_at": 2.0,
        "needed": [None if value is None else max(0, 4000 - 40 * number) for number, value in enumerate(canary)],
        "margin": [5.0 if number < 35 else 1.2 for number in range(count)],
        "marks": [{"t": start + 6, "label": "1 %"}, {"t": start + 70, "label": "10 %"}],
        "verdicts": [{"from": start + 60, "to": start + 70, "tone": "well"}],
    }


PAGES = {
    "rolling": ("change", rolling),
    "waiting-for-me": ("change", waiting_for_me),
    "taken-back": ("change", taken_back),
    "sign-in": ("sign_in", sign_in),
    "sign-in-failed": ("sign_in", sign_in_failed),
    "first-admin": ("sign_in", first_admin),
    "refusal": ("error", refusal),
}
