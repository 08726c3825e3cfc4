"""Health, readiness, and the streams of what moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

from airboss.act.rollout import lag as tower_lag
from airboss.bootstrap import House
from airboss.decide.policy import Point, fixture
from airboss.faces.api.callers import Caller, Doorkeeper, Guarded, HouseHere
from airboss.faces.api.inputs import ChangeIdIn
from airboss.faces.api.live import Broadcaster
from airboss.faces.api.meanings import meanings
from airboss.faces.api.metrics import MEDIA_TYPE, exposition
from airboss.kernel.clock import SystemClock, from_micros
from airboss.kernel.errors import AirbossError, Invalid, NotFound
from airboss.people.access import Action, Actor, require

public = APIRouter(tags=["system"])
router = APIRouter(route_class=Guarded, tags=["live"])
measured = APIRouter(route_class=Guarded, tags=["system"])

PENDING_MOST: Final = timedelta(seconds=5)
LAG_MOST_S: Final = 10.0
CLOCK_BEHIND_MOST_S: Final = 30.0
"""Servers of one database differ by less; a clock behind by more was set back, or is wrong."""
INGEST_AGE_MOST: Final = timedelta(seconds=20)


@public.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@public.get("/readyz")
def readyz(house: HouseHere) -> JSONResponse:
    """Say whether everything this server rests on works; 503 when something does not.

    A balancer that takes servers out should ask /healthz: with telemetry away, people must still be able to roll back.
    """
    checks = [
        _checked("database", lambda: _database(house)),
        _checked("journal", lambda: _journal(house)),
        _checked("clock", lambda: clock_agrees(house)),
        _checked("tower", lambda: _tower(house)),
        _checked("policy", lambda: _policy(house)),
        _checked("ingest", lambda: _ingest(house)),
    ]
    ready = all(check["ok"] for check in checks)
    return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)


@measured.get("/metrics", response_class=PlainTextResponse)
def metrics(house: HouseHere, caller: Caller) -> PlainTextResponse:
    """Give the server's own metrics, for Prometheus: with a token of scope `read`, for they name services and changes."""
    require(caller, Action.TELEMETRY_READ)
    return PlainTextResponse(exposition(house), media_type=MEDIA_TYPE)


@public.get("/docs/errors/{code}", response_class=PlainTextResponse)
def error_page(code: str) -> PlainTextResponse:
    """Say what an error's code means and what to do about it: where every problem's `type` leads."""
    found = meanings().get(code)
    if found is None:
        raise NotFound(
            f"there is no error {code!r}", code="error-unknown", way_out="the codes are in the documentation"
        )
    means, way_out = found
    return PlainTextResponse(f"{code}\n\n{means}\n\nWay out: {way_out}\n")


def _checked(name: str, look: Callable[[], tuple[bool, str]]) -> dict[str, Any]:
    try:
        ok, sentence = look()
    except AirbossError as fault:
        ok, sentence = False, fault.detail
    return {"name": name, "ok": ok, "sentence": sentence}


def _database(house: House) -> tuple[bool, str]:
    with house.store.read() as connection:
        house.journal.size(connection)
    return True, "answers"


def _journal(house: House) -> tuple[bool, str]:
    with house.store.read() as connection:
        oldest = house.journal.oldest_pending(connection)
    if oldest is None:
        return True, "every fact has its place"
    age = house.clock.now() - oldest
    return age < PENDING_MOST, f"the oldest fact without a place waits for {age.total_seconds():.1f} s"


def clock_agrees(house: House) -> tuple[bool, str]:
    """Return whether this machine's clock is not behind the record, and a sentence. Six queries at most."""
    set_back = house.clock.behind_s() if isinstance(house.clock, SystemClock) else 0.0
    if set_back:
        return False, (
            f"is {set_back:,.0f} s behind what is recorded; time goes on from there, and telemetry is judged again when the "
            "clocks agree: set it right (NTP)"
        )
    doubt = house.timekeeping.doubt()
    if doubt is not None:
        return False, f"cannot be believed, and nothing goes forward by it: {doubt}"
    with house.store.read() as connection:
        newest = house.journal.newest(connection)
    behind = (newest - house.clock.now()).total_seconds() if newest is not None else 0.0
    if behind <= CLOCK_BEHIND_MOST_S:
        return True, "is not behind the record"
    return False, f"is {behind:,.0f} s behind the newest fact of the record: was it set back? Set it right (NTP)"


def _tower(house: House) -> tuple[bool, str]:
    with house.store.read() as connection:
        lag = tower_lag(connection, house.clock.now())
    return lag < LAG_MOST_S, f"the most overdue change is {lag:.1f} s late" if lag else "nothing is overdue"


def _policy(house: House) -> tuple[bool, str]:
    ruling = house.policies.decide(Point.SUBMIT, fixture()).ruling
    failed = next((denial.message for denial in ruling.denials if denial.kind == "engine"), None)
    return failed is None, failed or "judges"


def _ingest(house: House) -> tuple[bool, str]:
    now = house.clock.now()
    written = [from_micros(boot.last_flush_us) for boot in house.telemetry.ingesters(now=now) if not boot.ended]
    if not written:
        return False, "nobody takes telemetry in"
    age = now - max(written)
    return age < INGEST_AGE_MOST, f"wrote {max(0.0, age.total_seconds()):.1f} s ago"


# -- streams ---------------------------------------------------------------------------------------------------------

After = Annotated[int | None, Query(ge=-1, le=2**62, description="the journal position the page shows")]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]

_SSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "text/event-stream": {
                "example": 'event: moved\nid: 42\ndata: {"change_id": "chg_…", "position": 42, "what": "facts"}\n\n'
            }
        }
    }
}


@router.get("/changes/{change}/events", responses=_SSE, response_class=StreamingResponse)
async def follow_change(
    house: HouseHere,
    caller: Caller,
    change: ChangeIdIn,
    request: Request,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow a change: word of what moved, at most once a second. 204 when nothing can move any more."""
    require(caller, Action.CHANGE_READ)
    position = _position(after, last_event_id)
    live: Broadcaster = request.app.state.live

    def over() -> bool:
        with house.store.read() as connection:
            return live.is_over(connection, change)

    if position is not None and await asyncio.to_thread(over):
        return Response(status_code=204)  # an EventSource comes back for ever unless it is told so
    return _stream(live, change, request, position)


@router.get("/events", responses=_SSE, response_class=StreamingResponse)
async def follow_all(
    caller: Caller, request: Request, after: After = None, last_event_id: LastEventId = None
) -> Response:
    """Follow every change: word of what moved, at most once a second for each."""
    require(caller, Action.CHANGE_READ)
    return _stream(request.app.state.live, None, request, _position(after, last_event_id))


def _position(after: int | None, last_event_id: str | None) -> int | None:
    if not last_event_id:
        return after
    if not last_event_id.removeprefix("-").isdigit() or len(last_event_id) > 19:
        raise Invalid("Last-Event-ID is a position of the journal", code="bad-position", place="Last-Event-ID")
    return int(last_event_id)


def _stream(live: Broadcaster, change_id: str | None, request: Request, after: int | None) -> Response:
    live.refuse_if_full()
    messages = live.messages(change_id, after=after, still_allowed=_still_allowed(request))
    return StreamingResponse(
        messages, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _still_allowed(request: Request) -> Callable[[], Awaitable[bool]]:
    keeper: Doorkeeper = request.app.state.doorkeeper

    def ask() -> bool:
        try:
            actor: Actor = keeper.known(request)
            require(actor, Action.CHANGE_READ)
        except AirbossError:
            return False
        return True

    async def asked() -> bool:
        return await asyncio.to_thread(ask)

    return asked
