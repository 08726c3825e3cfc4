"""Changes: propose, edit, submit, vote, order, follow."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from airboss.act.rollout import Order, compile_plan
from airboss.changes import Cancel, Change, Create, Edit, Phase, Submit
from airboss.decide.approvals import CastVote, Verdict
from airboss.decide.evidence import Record
from airboss.decide.policy import Tier
from airboss.faces.api import examples, shapes
from airboss.faces.api.callers import Caller, CoursesHere, Guarded, HouseHere
from airboss.faces.api.inputs import ChangeIdIn, DocumentIn, ServiceQuery, VersionIn
from airboss.faces.api.pages import PartQuery, paged
from airboss.faces.reads import (
    Dossier,
    Wanted,
    approval_view,
    approver_view,
    change_view,
    course_view,
    evidence_archive,
    evidence_page,
    evidence_view,
    exemplars_view,
    explanation_view,
    facts_view,
    inbox_view,
    on_call_view,
    replay_view,
    search_view,
    series_view,
    summary,
)
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError, Invalid, Refused
from airboss.kernel.ids import change_id, name
from airboss.people.access import Action, may, require
from airboss.records.audit import evidence as evidence_pack

router = APIRouter(route_class=Guarded, tags=["changes"])

_DOCUMENT: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}, "example": examples.CHANGE_YAML},
            "application/json": {"schema": {"type": "object"}, "example": examples.CHANGE},
        },
    }
}


@router.get("/changes")
def list_changes(
    house: HouseHere,
    caller: Caller,
    service: ServiceQuery,
    *,
    phase: Annotated[list[str] | None, Query(description="one or several, repeated or with commas")] = None,
    kind: str | None = None,
    team: str | None = None,
    owner: Annotated[str | None, Query(description="the person who owns it or asked for it")] = None,
    tier: Tier | None = None,
    q: Annotated[str, Query(max_length=200, description="words, all of which a change must have")] = "",
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """List changes, newest first.

    With `owner`, `tier` or `q` a page may hold fewer than `limit`: `looked` says among how many, `next_cursor` goes on.
    """
    wanted = Wanted(
        phases=None if phase is None else _phases(phase),
        service=service,
        kind=None if kind is None else name(kind, of="kind of change"),
        team=None if team is None else name(team, of="team"),
        owner=None if owner is None else name(owner, of="person"),
        tier=tier,
        words=tuple(q.casefold().split()),
    )
    return search_view(house, caller, wanted, cursor=None if cursor is None else change_id(cursor), limit=limit)


@router.post("/changes", status_code=201, openapi_extra=_DOCUMENT)
def create_change(
    house: HouseHere, caller: Caller, document: DocumentIn, response: Response, *, submit: bool = False
) -> dict[str, Any]:
    """Propose a change. The same ID with the same content again is the same change."""
    change = house.changes.create(Create(data=document), actor=caller)
    if submit and change.phase is Phase.DRAFT:
        try:
            change = house.changes.submit(Submit(change_id=change.id), actor=caller)
        except AirbossError as fault:
            kept = f"it is kept as the draft {change.id}"
            fault.way_out = f"{fault.way_out}; {kept}" if fault.way_out else kept
            raise
    response.headers["Location"] = f"/api/v1/changes/{change.id}"
    return _told(house, caller, change, response)


@router.get("/changes/{change}")
def show_change(house: HouseHere, caller: Caller, change: ChangeIdIn, response: Response) -> dict[str, Any]:
    """Show a change: where it stands, why, and what you may do."""
    require(caller, Action.CHANGE_READ)
    return _shown(house, caller, change, response)


@router.put("/changes/{change}", openapi_extra=_DOCUMENT)
def edit_change(
    house: HouseHere, caller: Caller, change: ChangeIdIn, document: DocumentIn, version: VersionIn, response: Response
) -> dict[str, Any]:
    """Put another document in the place of a change that has not started."""
    done = house.changes.edit(Edit(change_id=change, data=document, expected_version=version), actor=caller)
    return _told(house, caller, done, response)


@router.post("/changes/{change}/submit")
def submit_change(house: HouseHere, caller: Caller, change: ChangeIdIn, response: Response) -> dict[str, Any]:
    """Hand a draft over for review."""
    return _told(house, caller, house.changes.submit(Submit(change_id=change), actor=caller), response)


@router.post("/changes/{change}/cancel")
def cancel_change(
    house: HouseHere, caller: Caller, change: ChangeIdIn, given: shapes.Reason, response: Response
) -> dict[str, Any]:
    """Withdraw a change that has not started."""
    done = house.changes.cancel(Cancel(change_id=change, reason=given.reason), actor=caller)
    return _told(house, caller, done, response)


@router.post("/changes/{change}/votes")
def vote(house: HouseHere, caller: Caller, change: ChangeIdIn, given: shapes.CastVote) -> dict[str, Any]:
    """Approve, reject, ask for changes, abstain or comment. Answers where the round stands now."""
    standing = house.approvals.vote(
        CastVote(change=change, verdict=Verdict(given.verdict), seen=given.seen, comment=given.comment), caller
    )
    view: dict[str, Any] = {}
    if may(caller, Action.CHANGE_READ):
        with house.store.read() as connection:
            view = approval_view(_dossier(house, connection, change, caller)) or {}
    return {**view, "outcome": str(standing.outcome), "sentence": standing.sentence}


@router.post("/changes/{change}/orders")
def order(
    house: HouseHere, caller: Caller, change: ChangeIdIn, given: shapes.GiveOrder, response: Response
) -> dict[str, Any]:
    """Pause, resume, promote, abort, roll back or retry a rollout. The order is carried out within moments."""
    done = house.rollouts.order(
        Order(change_id=change, verb=given.verb, reason=given.reason, expected_version=given.expected_version), caller
    )
    return _told(house, caller, done, response)


@router.post("/changes/{change}/evidence", status_code=201)
def record_evidence(
    house: HouseHere, caller: Caller, change: ChangeIdIn, given: shapes.RecordEvidence
) -> dict[str, Any]:
    """Record what a machine found out about the change, such as a build."""
    shown = house.evidence.record(
        Record(change_id=change, type=given.type, green=given.green, source=given.source, digest=given.digest), caller
    )
    return {
        "type": shown.type,
        "green": shown.green,
        "source": shown.source,
        "digest": shown.digest,
        "counts": shown.counts,
        "at": rfc3339(shown.at),
    }


@router.get("/changes/{change}/facts")
def list_facts(house: HouseHere, caller: Caller, change: ChangeIdIn, part: PartQuery) -> dict[str, Any]:
    """List the facts of a change in order: its timeline."""
    require(caller, Action.CHANGE_READ)
    with house.store.read() as connection:
        house.changes.read(connection, change)
        return paged(facts_view(house, connection, change), part, by=lambda row: (row["position"],))


@router.get("/changes/{change}/forecast")
def forecast(house: HouseHere, caller: Caller, change: ChangeIdIn, part: PartQuery) -> dict[str, Any]:
    """Say how long each step will take at this traffic, and what it needs."""
    spec = house.changes.get(change, actor=caller).expanded()
    steps = [
        {
            "step": one.step,
            "percent": one.percent,
            "most_s": one.most_s,
            "requests_per_s": one.per_s,
            "seconds": one.seconds,
            "metrics": [
                {
                    "name": metric.metric,
                    "needed_canary": metric.needed_canary,
                    "needed_total": metric.needed_total,
                    "seconds": metric.seconds,
                    "ceiling": metric.ceiling,
                    "missed_ratio": metric.missed_ratio,
                    "sentence": metric.sentence,
                }
                for metric in one.metrics
            ],
        }
        for one in house.planner.forecast(compile_plan(spec))
    ]
    return paged(steps, part, by=lambda row: (row["step"],))


@router.get("/changes/{change}/series")
def series(
    house: HouseHere,
    caller: Caller,
    change: ChangeIdIn,
    gate: Annotated[str, Query(max_length=200, description="the gate's ID, as the rollout's steps name it")],
) -> dict[str, Any]:
    """Give the plot of a canary gate: both arms over time."""
    require(caller, Action.TELEMETRY_READ)
    found = house.changes.get(change, actor=caller)
    return series_view(house, found, gate, now=house.clock.now())


@router.get("/changes/{change}/course")
def course(
    house: HouseHere,
    caller: Caller,
    courses: CoursesHere,
    change: ChangeIdIn,
    gate: Annotated[str, Query(max_length=200, description="the gate's ID, as the rollout's steps name it")],
) -> dict[str, Any]:
    """Give the verdict of a canary gate as a picture: bounds with their margin, evidence with its thresholds, what is
    still needed, at each sealed block (at most some 300 points; a longer attempt is thinned).
    """
    require(caller, Action.TELEMETRY_READ)
    found = house.changes.get(change, actor=caller)
    with house.store.read() as connection:
        told = facts_view(house, connection, found.id)
    return course_view(house, found, gate, courses=courses, told=told, now=house.clock.now())


@router.get("/changes/{change}/exemplars")
def exemplars(house: HouseHere, caller: Caller, change: ChangeIdIn) -> dict[str, Any]:
    """Give traces worth opening of both arms: failed ones first, then the slowest; IDs, name, time and route only."""
    require(caller, Action.TELEMETRY_READ)
    return exemplars_view(house, house.changes.get(change, actor=caller))


@router.get("/changes/{change}/replay")
def replay(house: HouseHere, caller: Caller, change: ChangeIdIn) -> dict[str, Any]:
    """Judge the recorded counts of a rollout again, and say whether the verdicts come out as they were told."""
    require(caller, Action.TELEMETRY_READ)
    found = house.changes.get(change, actor=caller)
    with house.store.read() as connection:
        told = facts_view(house, connection, found.id)
    return replay_view(house, found, told=told, now=house.clock.now())


@router.get("/changes/{change}/decisions")
def list_decisions(house: HouseHere, caller: Caller, change: ChangeIdIn, part: PartQuery) -> dict[str, Any]:
    """List what policy decided about a change, with the values its rules read."""
    require(caller, Action.POLICY_READ)
    with house.store.read() as connection:
        house.changes.read(connection, change)
        found = house.policies.decisions_of(connection, change)
    rows = [{**one.body, "id": one.id, "at": rfc3339(one.at)} for one in found]
    return paged(rows, part, by=lambda row: (row["at"], row["id"]))


@router.get("/changes/{change}/explanation")
def explain_decision(
    house: HouseHere,
    caller: Caller,
    change: ChangeIdIn,
    decision: Annotated[
        str | None, Query(max_length=64, description="dec_…; without it the strictest of those made last")
    ] = None,
) -> dict[str, Any]:
    """Explain a decision of policy: each rule with the values it read, and what would clear what stands in the way."""
    require(caller, Action.POLICY_READ)
    require(caller, Action.CHANGE_READ)
    with house.store.read() as connection:
        return explanation_view(_dossier(house, connection, change, caller), decision=decision)


@router.get("/changes/{change}/approval")
def show_approval(house: HouseHere, caller: Caller, change: ChangeIdIn) -> dict[str, Any]:
    """Show what an approver weighs: risk, objectives, findings, evidence, reach, the way back, conflicts, cost."""
    require(caller, Action.CHANGE_READ)
    with house.store.read() as connection:
        found = _dossier(house, connection, change, caller)
        if found.change.spec is None:
            raise Refused(
                f"change {change} is a draft, and nobody is asked about it yet",
                code="still-a-draft",
                way_out=f"submit it first: airboss change submit {change}",
            )
        return approver_view(found)


@router.post("/changes/{change}/looks", status_code=204)
def record_look(house: HouseHere, caller: Caller, change: ChangeIdIn) -> None:
    """Remember that you have seen the change as it is now; later you are told what changed since."""
    house.approvals.looked(change, caller)


@router.get("/changes/{change}/evidence-pack")
def take_evidence_pack(house: HouseHere, caller: Caller, change: ChangeIdIn, response: Response) -> dict[str, Any]:
    """Take the record of a change away: its facts with their proofs, checkable without this server."""
    require(caller, Action.AUDIT_READ)
    response.headers["Content-Disposition"] = f'attachment; filename="{change}.evidence.json"'
    with house.store.read() as connection:
        house.changes.read(connection, change)
        return dict(evidence_pack(connection, change))


@router.get("/changes/{change}/evidence-pack/page", response_class=HTMLResponse)
def take_evidence_page(house: HouseHere, caller: Caller, change: ChangeIdIn) -> HTMLResponse:
    """Take the page that tells a change's evidence: one HTML file that asks nobody for anything, to read and to print."""
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        text = evidence_page(evidence_view(house, connection, house.changes.read(connection, change)))
    return HTMLResponse(text, headers={"Content-Disposition": f'attachment; filename="{change}-evidence.html"'})


@router.get(
    "/changes/{change}/evidence-pack/archive",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}, "description": "the archive"}},
)
def take_evidence_archive(house: HouseHere, caller: Caller, change: ChangeIdIn) -> Response:
    """Take everything of a change's evidence as one ZIP: facts with proofs, checkpoint, key, the page, how to check."""
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        data = evidence_archive(house, connection, house.changes.read(connection, change))
    headers = {"Content-Disposition": f'attachment; filename="{change}-evidence.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


@router.get("/on-call")
def on_call(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Say what moves now, what burns, which changes are suspected of it, and which can still be taken back.

    A suspicion is no verdict: suspected is what has been out lately on a service whose objective burns, the newest first.
    """
    require(caller, Action.CHANGE_READ)
    with house.store.read() as connection:
        return on_call_view(house, connection, caller, house.clock.now())


@router.get("/inbox")
def inbox(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List the changes that wait for your word, with why and what changed since you looked; and those that wait for others."""
    require(caller, Action.CHANGE_READ)
    with house.store.read() as connection:
        found = inbox_view(house, connection, caller)
    return {**paged(found["items"], part, by=lambda row: (row["change"]["id"],)), "others": found["others"]}


def _phases(given: list[str]) -> list[Phase]:
    words = [word for text in given for word in text.split(",") if word]
    for word in words:
        if word not in set(Phase):
            raise Invalid(
                f"{word[:60]!r} is no phase", code="phase-unknown", place="phase", way_out=f"use {', '.join(Phase)}"
            )
    return [Phase(word) for word in words]


def _shown(house: HouseHere, caller: Caller, wanted: str, response: Response) -> dict[str, Any]:
    with house.store.read() as connection:
        found = _dossier(house, connection, wanted, caller)
        response.headers["ETag"] = f'"{found.change.version}"'
        return change_view(found)


def _dossier(house: HouseHere, connection: Connection, change: str, caller: Caller) -> Dossier:
    """Return what is read of a change. Raises NotFound."""
    found = house.changes.read(connection, change)
    return Dossier(house=house, connection=connection, change=found, actor=caller)


def _told(house: HouseHere, caller: Caller, change: Change, response: Response) -> dict[str, Any]:
    """Return a change that was just written: whole, or in short to who may write and not read (a CI token)."""
    if may(caller, Action.CHANGE_READ):
        return _shown(house, caller, change.id, response)
    response.headers["ETag"] = f'"{change.version}"'
    return summary(change, "")
