"""The page of one change, made of the read views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from airboss.faces.web import acts, deciding, explaining, gates, plots, weighing, worth
from airboss.faces.web.change_views import ChangePage, Entry, ReviewCard, Running
from airboss.faces.web.render import percent
from airboss.faces.web.standing import page_state
from airboss.faces.web.views import Shell, Tone
from airboss.faces.web.words import about, lasting, sentence
from airboss.faces.web.written import written
from airboss.kernel.clock import parse_rfc3339
from airboss.people.access import Action, Actor, may

View = Mapping[str, Any]

FACTS_MOST: Final = 40
STILL: Final = frozenset({"rejected", "cancelled", "expired", "closed"})
_TONES: Final[Mapping[str, Tone]] = {
    "change.approved": "well",
    "step.ended": "well",
    "rollout.verified": "well",
    "change.completed": "well",
    "rollback.ended": "well",
    "hold.begun": "waiting",
    "hold.asked": "needs",
    "rollout.paused": "waiting",
    "change.approval_requested": "waiting",
    "harm.convicted": "harmed",
    "rollback.started": "harmed",
    "change.rollback_started": "harmed",
    "change.rolled_back": "harmed",
    "rollback.failed": "harmed",
    "change.rollback_failed": "harmed",
    "exposure.drifted": "needs",
}
_WORDS: Final = ("yes", "partly", "no", "none", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """The read views a page has only where there is something to say.

    `explained` from the first decision on, `weighs` while people are asked, `exemplars` from the start on.
    """

    explained: View | None = None
    weighs: View | None = None
    exemplars: View | None = None


def change_page(
    view: View,
    facts: Sequence[View],
    courses: Mapping[str, View],
    *,
    shell: Shell,
    actor: Actor,
    forecast: Sequence[View],
    more: More,
    live: str,
    whole: bool = False,
) -> ChangePage:
    """Return the page of a change. `courses` by canary gate; `live` the address of its events; `whole` shows every fact."""
    decide, asides = acts.votes(view, f"/changes/{view['id']}", actor)
    now = shell["now"]
    href = f"/changes/{view['id']}"
    rollout, spec = view["rollout"], view["spec"]
    steps = gates.steps(rollout, courses, now=now) if rollout is not None else gates.planned(spec) if spec else []
    if rollout is None:
        _forecast_notes(steps, forecast)
    page: ChangePage = {
        "shell": shell,
        "id": view["id"],
        "href": href,
        "title": view["title"],
        "why": view["why"] or str(view["document"]["spec"].get("why") or "Not said."),
        "state": page_state(view, now=now),
        "kind": view["kind"].replace("-", " "),
        "owner": view["owner"]["person"] or view["owner"]["team"],
        "requester": view["requester"],
        "services": view["services"],
        "environments": view["environments"],
        "created_at": parse_rfc3339(view["created_at"]),
        "live": None if view["phase"] in STILL else live,
        "position": max((fact["position"] for fact in facts), default=-1),
        "actions": acts.actions(view, href),
        "withheld": acts.withheld(view),
        "exposure": gates.exposure(view),
        "steps": steps,
        "plots": [plots.plot(course, href) for course in courses.values() if course["t"] or rollout["started_at"]]
        if rollout is not None
        else [],
        "risk": deciding.risk(view),
        "decision": None if more.explained is None else explaining.decision(more.explained),
        "evidence": worth.evidence(view),
        "traces": [] if more.exemplars is None else worth.traces(more.exemplars),
        "forecast": weighing.forecast(spec, forecast) if spec else "",
        "approval": deciding.approval(view, more.weighs, forecast=forecast, actions=decide, asides=asides),
        "objectives": deciding.objectives(view),
        "running": _running(view, now),
        "way_back": weighing.way_back(view),
        "links": _links(spec),
        "timeline": [_entry(fact, href) for fact in reversed(facts if whole else facts[-FACTS_MOST:])],
        "audit": f"{href}/evidence-pack",
        "review": review(view, href, actor),
        "more": 0 if whole else max(0, len(facts) - FACTS_MOST),
    }
    if view["phase"] == "draft":
        page["written"] = written(view["document"])
    return page


def _forecast_notes(steps: list[Any], forecast: Sequence[View]) -> None:
    """Say beside each step how long it will take at this traffic."""
    known = {one["step"]: one for one in forecast}
    for step in steps:
        found = known.get(step["number"])
        if found is None or found["requests_per_s"] is None:
            continue
        if found["seconds"] is None:
            step["note"] += "; never enough at this traffic"
        elif found["seconds"] > 0:
            step["note"] += f"; its evidence takes about {about(found['seconds'])} at this traffic"


def _running(view: View, now: datetime) -> list[Running]:
    rollout = view["rollout"]
    if rollout is None or rollout["started_at"] is None:
        return []
    found: list[Running] = []
    for unit in rollout["units"]:
        share = unit["observed_pct"]
        params = unit["params"]
        if unit["kind"] == "flag":
            on = params.get("new", "new")
            what = f"{on} for {percent(share)}" if share else f"{params.get('old', 'old')} for everybody"
            where = f"{params.get('name', unit['name'])} in {unit['environment']}"
        else:
            what = f"new version for {percent(share)}" if share else "the version before"
            where = f"{unit['service']} in {unit['environment']}"
        if share is None:
            what = "moving"
        since = view["ended_at"] or rollout["reached_at"] or rollout["step_started_at"] or rollout["started_at"]
        item: Running = {"where": where, "what": what, "since": min(parse_rfc3339(since), now)}
        if share:
            item["digest"] = unit["digest"]
        found.append(item)
    return found


def _links(spec: View | None) -> list[tuple[str, str]]:
    links = {} if spec is None else spec["presentation"]["links"]
    return [(name, address) for name, address in links.items() if str(address).startswith(("https://", "http://"))]


def _entry(fact: View, href: str) -> Entry:
    body = fact["body"]
    tone = _TONES.get(fact["type"])
    if fact["type"] == "vote.cast":
        tone = "well" if body.get("verdict") == "approve" else "needs"
    elif fact["type"] == "gate.answered":
        tone = {"fail": "harmed", "pass": "well", "error": "needs"}.get(body["outcome"])  # type: ignore[assignment]
    return {
        "position": fact["position"],
        "at": parse_rfc3339(fact["at"]),
        "actor": fact["actor"],
        "tone": tone,
        "text": fact["text"],
        "raw": fact["raw"],
        "leaf": fact["leaf"],
        "proof": f"{href}/facts/{fact['position']}/proof",
    }


def review(view: View, href: str, actor: Actor) -> ReviewCard | None:
    """Return the review of an ended change: what the facts answer, and the form that closes it."""
    found = view["review"]
    if found is None:
        return None
    open_ = found["closed_at"] is None
    times = [
        ("From request to clearance", found["approval_lead_s"]),
        ("From first exposure to conviction", found["detection_s"]),
        ("From conviction to everything back", found["rollback_s"]),
    ]
    card: ReviewCard = {
        "state": {"tone": "needs", "word": "open"} if open_ else {"tone": "well", "word": "closed"},
        "sentence": sentence(found["sentence"]),
        "facts": [(label, lasting(value)) for label, value in times if value is not None],
        "questions": [
            {
                "name": question["question"],
                "words": question["words"],
                "answer": (question["given"] or question["facts"] or {"word": "unknown"})["word"],
                "facts": (question["facts"] or {"sentence": "The facts do not say."})["sentence"],
                "note": (question["given"] or {}).get("note") or "",
            }
            for question in found["questions"]
        ],
        "words": list(_WORDS),
        "note": found["note"] or "",
        "verdict": found["verdict"],
        "action": None,
    }
    if found["harm"] is not None:
        how = "measured" if found["harm"]["how"] == "measured" else "estimated"
        card["facts"].append(("Users harmed", f"about {found['harm']['requests']:,.0f}, {how}"))
    if open_ and may(actor, Action.REVIEW_CLOSE):
        card["action"] = f"{href}/review/{found['id']}/close"
    return card
