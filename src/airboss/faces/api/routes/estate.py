"""What there is: applying files, services and their objectives, coverage, windows, reviews, blocked versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from fastapi import APIRouter

from airboss.bootstrap import House
from airboss.catalog import Parsed
from airboss.changes import Phase, Submit
from airboss.faces.api import shapes
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.inputs import NameIn, ReviewIdIn
from airboss.faces.api.pages import PartQuery, paged
from airboss.faces.api.problems import problem_of
from airboss.faces.reads import (
    blocked_view,
    calendar_view,
    coverage_view,
    review_view,
    reviews_view,
    service_page_view,
    services_view,
    telemetry_view,
)
from airboss.kernel.errors import AirbossError
from airboss.learn.reviews import CloseReview, Given
from airboss.people.access import Action, Actor, require

router = APIRouter(route_class=Guarded)

TOLD: Final = 5


# -- files -----------------------------------------------------------------------------------------------------------


@router.post("/apply", tags=["files"])
def apply(house: HouseHere, caller: Caller, given: shapes.Apply) -> dict[str, Any]:
    """Put files in force: teams, services, objectives, windows, flags, policies, and changes.

    All are checked before any is applied, and one is applied after the other: what only the state of things refuses (an edit
    of a flag that would move people) stops there, and says what is in force by then. Applying the same again changes
    nothing. A change that is refused when it is submitted stays a draft and is told in `refused`.
    """
    parsed = house.kinds.parse_all([(one.text.encode(), one.source) for one in given.files])
    house.kinds.together(parsed)
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
def list_services(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List the services with their objectives and how much of their telemetry names its change."""
    require(caller, Action.CATALOG_READ)
    with house.store.read() as connection:
        return paged(
            services_view(house, connection, house.clock.now(), tracks=True), part, by=lambda row: (row["name"],)
        )


@router.get("/services/{name}", tags=["catalog"])
def show_service(house: HouseHere, caller: Caller, name: NameIn) -> dict[str, Any]:
    """Show a service."""
    require(caller, Action.CATALOG_READ)
    with house.store.read() as connection:
        return service_page_view(house, connection, name, house.clock.now())


@router.get("/coverage", tags=["catalog"])
def coverage(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """Say how much of each service's telemetry of the last hour names its change."""
    require(caller, Action.TELEMETRY_READ)
    return paged(
        coverage_view(house, house.clock.now()),
        part,
        by=lambda row: (row["service"], row["environment"], row["signal"]),
    )


@router.get("/telemetry", tags=["catalog"])
def telemetry(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Say of every service of the catalogue whether its telemetry arrives, and what is wrong with it."""
    require(caller, Action.TELEMETRY_READ)
    with house.store.read() as connection:
        return telemetry_view(house, connection, house.clock.now())


# -- windows ---------------------------------------------------------------------------------------------------------


@router.get("/calendar", tags=["calendar"])
def calendar(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List windows and freezes, and whether each is on now."""
    require(caller, Action.CALENDAR_READ)
    with house.store.read() as connection:
        found = calendar_view(house, connection, house.clock.now())
    return {**found, **paged(found["items"], part, by=lambda row: (row["name"],))}


# -- reviews and blocked versions ------------------------------------------------------------------------------------


@router.get("/reviews", tags=["reviews"])
def list_reviews(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List the reviews that wait for people, with the title and services of their changes."""
    with house.store.read() as connection:
        found = reviews_view(house, connection, caller)
    return paged(found, part, by=lambda row: (row["id"],))


@router.post("/reviews/{review}/close", tags=["reviews"])
def close_review(house: HouseHere, caller: Caller, review: ReviewIdIn, given: shapes.CloseReview) -> dict[str, Any]:
    """Close a review with what people say."""
    answers = {question: Given(word=said.word, note=said.note) for question, said in given.answers.items()}
    command = CloseReview(review=review, answers=answers, verdict=given.verdict, note=given.note)
    return review_view(house.reviews.close(command, caller))


@router.get("/blocked-versions", tags=["changes"])
def list_blocked_versions(house: HouseHere, caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List the versions that were convicted and may not start again."""
    return paged(
        blocked_view(house, caller),
        part,
        by=lambda row: (row["at"], row["service"], row["digest"]),
        newest_first=True,
    )


@router.post("/blocked-versions/lift", status_code=204, tags=["changes"])
def lift_block(house: HouseHere, caller: Caller, given: shapes.LiftBlock) -> None:
    """Let a blocked version start again."""
    house.rollouts.lift(given.service, given.digest, given.reason, caller)
