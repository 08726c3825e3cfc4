"""What there is: applying files, services and their objectives, coverage, windows, reviews, blocked versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter
from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.catalog import Parsed, Service
from airboss.changes import Phase, Submit
from airboss.decide.calendar import Window, active, occurrences
from airboss.faces.api import shapes
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.inputs import NameIn, ReviewIdIn
from airboss.faces.api.problems import problem_of
from airboss.faces.reads import review_view
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError, NotFound
from airboss.learn.reviews import CloseReview, Given
from airboss.people.access import Action, Actor, require
from airboss.watch.telemetry import Coverage

router = APIRouter(route_class=Guarded)

TOLD: Final = 5
IN_SIGHT: Final = timedelta(days=400)


# -- files -----------------------------------------------------------------------------------------------------------


@router.post("/apply", tags=["files"])
def apply(house: HouseHere, caller: Caller, given: shapes.Apply) -> dict[str, Any]:
    """Put files in force: teams, services, objectives, windows, flags, policies, and changes.

    All are checked before any is applied, and one is applied after the other: what only the state of things refuses (an edit
    of a flag that would move people) stops there, and says what is in force by then. Applying the same again changes
    nothing. A change that is refused when it is submitted stays a draft and is told in `refused`.
    """
    parsed = house.kinds.parse_all([(one.text.encode(), one.source) for one in given.files])
    results: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    if not given.dry_run:
        for one in parsed:
            with _placed(one):
                house.kinds.require(one, caller)
    for one in parsed:
        place = one.document.place()
        if given.dry_run:
            results.append({"kind": one.kind, "name": one.name, "outcome": "valid", "warnings": [], "place": place})
            continue
        with _placed(one, before=results):
            done = house.kinds.apply(one, actor=caller)
        results.append(
            {
                "kind": done.kind,
                "name": done.name,
                "outcome": done.outcome,
                "warnings": list(done.warnings),
                "place": place,
            }
        )
        if done.kind == "Change":
            changes.append(_submitted(house, done.name, caller, wanted=given.submit))
    return {"results": results, "changes": changes}


@contextmanager
def _placed(one: Parsed, *, before: Sequence[Mapping[str, Any]] = ()) -> Iterator[None]:
    """Have what is refused only now (not allowed, taken, would move people) say where it stands, and what went before."""
    try:
        yield
    except AirbossError as fault:
        fault.place = fault.place or one.document.place()
        moved = [f"{done['kind']} {done['name']}" for done in before if done["outcome"] != "unchanged"]
        if moved:
            more = f" and {len(moved) - TOLD} more" if len(moved) > TOLD else ""
            kept = f"in force already: {', '.join(moved[:TOLD])}{more}; mend this one and apply all of it again"
            fault.way_out = f"{fault.way_out}; {kept}" if fault.way_out else kept
        raise


def _submitted(house: House, change_id: str, caller: Actor, *, wanted: bool) -> dict[str, Any]:
    with house.store.read() as connection:
        change = house.changes.read(connection, change_id)
    submitted, refused = False, None
    if wanted and change.phase is Phase.DRAFT:
        try:
            change = house.changes.submit(Submit(change_id=change.id), actor=caller)
            submitted = True
        except AirbossError as fault:
            refused = problem_of(fault, house.settings.base_url)
    return {
        "id": change.id,
        "phase": str(change.phase),
        "sentence": change.sentence,
        "submitted": submitted,
        "refused": refused,
    }


# -- services --------------------------------------------------------------------------------------------------------


@router.get("/services", tags=["catalog"])
def list_services(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """List the services with their objectives and how much of their telemetry names its change."""
    require(caller, Action.CATALOG_READ)
    now = house.clock.now()
    with house.store.read() as connection:
        found = house.catalog.services(connection)
        covered = _coverage(house, now, None)
        return {"items": [_service(house, connection, one, covered, now) for one in found]}


@router.get("/services/{name}", tags=["catalog"])
def show_service(house: HouseHere, caller: Caller, name: NameIn) -> dict[str, Any]:
    """Show a service."""
    require(caller, Action.CATALOG_READ)
    now = house.clock.now()
    with house.store.read() as connection:
        found = house.catalog.service(connection, name)
        if found is None:
            raise NotFound(
                f"there is no service {name}", code="service-not-found", way_out="apply a file with kind: Service"
            )
        covered = _coverage(house, now, found.telemetry_name)
        return {
            **_service(house, connection, found, covered, now),
            "description": found.description,
            "depends_on": list(found.depends_on),
            "dependants": [one.name for one in house.catalog.dependants(connection, name)],
            "oncall": found.oncall,
            "runbooks": list(found.runbooks),
            "stateful": found.stateful,
        }


@router.get("/coverage", tags=["catalog"])
def coverage(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Say how much of each service's telemetry of the last hour names its change."""
    require(caller, Action.TELEMETRY_READ)
    return {"items": _coverage(house, house.clock.now(), None)}


def _service(
    house: House, connection: Connection, one: Service, covered: list[dict[str, Any]], now: datetime
) -> dict[str, Any]:
    """Return a service as lists show it. One query and some of telemetry for each objective."""
    ranked = [
        environment.name
        for environment in house.catalog.environments(connection)
        if environment.name in one.environments
    ]
    nearest = ranked[-1] if ranked else (one.environments[-1] if one.environments else "production")
    slos = house.catalog.slos_of(connection, one.name)
    try:
        budgets = house.objectives.budgets(slos, nearest, now) or {}
        newest = house.telemetry.freshness(one.telemetry_name, nearest, now=now)
        delay = house.telemetry.delay(one.telemetry_name, now=now)
    except AirbossError:
        budgets, newest, delay = {}, None, None  # unknown is said as unknown, and the rest of the page stands
    return {
        "name": one.name,
        "owner": one.owner,
        "tier": str(one.tier),
        "environments": list(one.environments),
        "objectives": [
            {
                "name": slo.name,
                "target": slo.target,
                "environment": nearest,
                "known": slo.name in budgets,
                "budget_left": budgets[slo.name]["fact"]["budget_left"] if slo.name in budgets else None,
                "burn": budgets[slo.name]["fact"]["burn"] if slo.name in budgets else None,
            }
            for slo in slos
        ],
        "coverage": [row for row in covered if row["service"] == one.telemetry_name],
        "telemetry_age_s": None if newest is None else max(0.0, (now - newest).total_seconds()),
        "export_delay": None
        if delay is None
        else {"median_s": round(delay.median_s, 3), "max_s": round(delay.max_s, 3)},
    }


def _coverage(house: House, now: datetime, service: str | None) -> list[dict[str, Any]]:
    return [_covered(one, now) for one in house.telemetry.coverage(now=now, service=service)]


def _covered(one: Coverage, now: datetime) -> dict[str, Any]:
    share = one.annotated_share
    return {
        "service": one.service,
        "environment": one.environment,
        "signal": one.signal,
        "items": one.total,
        "annotated_pct": None if share is None else round(100 * share, 3),
        "current": one.current,
        "stale": one.stale,
        "unknown": one.unknown,
        "none": one.none,
        "late": one.late,
        "refused": one.refused,
        "newest_age_s": max(0.0, (now - one.newest_received).total_seconds()),
    }


# -- windows ---------------------------------------------------------------------------------------------------------


@router.get("/calendar", tags=["calendar"])
def calendar(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """List windows and freezes, and whether each is on now."""
    require(caller, Action.CALENDAR_READ)
    now = house.clock.now()
    with house.store.read() as connection:
        return {"now": rfc3339(now), "items": [_window(one, now) for one in house.calendar.windows(connection)]}


def _window(one: Window, now: datetime) -> dict[str, Any]:
    span = active(one, now)
    following = next((start for start, _ in occurrences(one, now, now + IN_SIGHT) if start > now), None)
    return {
        "name": one.name,
        "allow": one.allow,
        "zone": one.zone,
        "reason": one.reason,
        "scope": {
            "services": sorted(one.reach.services),
            "tiers": sorted(one.reach.tiers),
            "environments": sorted(one.reach.environments),
            "kinds": sorted(one.reach.kinds),
        },
        "active": span is not None,
        "until": None if span is None else rfc3339(span[1]),
        "next": None if following is None else rfc3339(following),
    }


# -- reviews and blocked versions ------------------------------------------------------------------------------------


@router.get("/reviews", tags=["reviews"])
def list_reviews(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """List the reviews that wait for people."""
    with house.store.read() as connection:
        return {"items": [review_view(one) for one in house.reviews.waiting(connection, caller)]}


@router.post("/reviews/{review}/close", tags=["reviews"])
def close_review(house: HouseHere, caller: Caller, review: ReviewIdIn, given: shapes.CloseReview) -> dict[str, Any]:
    """Close a review with what people say."""
    answers = {question: Given(word=said.word, note=said.note) for question, said in given.answers.items()}
    command = CloseReview(review=review, answers=answers, verdict=given.verdict, note=given.note)
    return review_view(house.reviews.close(command, caller))


@router.get("/blocked-versions", tags=["changes"])
def list_blocked_versions(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """List the versions that were convicted and may not start again."""
    return {
        "items": [
            {
                "service": one.service,
                "digest": one.digest,
                "change_id": one.change_id,
                "sentence": one.sentence,
                "at": one.at,
            }
            for one in house.rollouts.blocked(caller)
        ]
    }


@router.post("/blocked-versions/lift", status_code=204, tags=["changes"])
def lift_block(house: HouseHere, caller: Caller, given: shapes.LiftBlock) -> None:
    """Let a blocked version start again."""
    house.rollouts.lift(given.service, given.digest, given.reason, caller)
