"""What goes wrong, as RFC 9457 problem documents: the one place where errors become HTTP.

`code` is stable and has a page; `place` is where in the input the fault lies; `way_out` says what to do. A face for
people may answer with a page instead: `create_app(error_page=…)`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route, compile_path

from airboss.faces.api.meanings import meanings
from airboss.kernel.errors import (
    AirbossError,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Refused,
    Stale,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger("airboss.api")

Problem: TypeAlias = dict[str, Any]
ErrorPage: TypeAlias = Callable[[Request, Problem], Response]
"""Answers a person's browser with a page that says what the problem says."""

MEDIA_TYPE: Final = "application/problem+json"

_TITLES: Final[Sequence[tuple[type[AirbossError], str]]] = (
    (Invalid, "Mend the input"),
    (NotFound, "There is no such thing"),
    (Unauthenticated, "Say who you are"),
    (Forbidden, "Not yours to do"),
    (Refused, "Not now"),
    (Stale, "Somebody was faster"),
    (Unavailable, "Nothing happened; try again"),
    (OutcomeUnknown, "It may have happened; look before you repeat it"),
)
_STATUS: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("bad-request", "Mend the input", "the request cannot be read"),
    404: ("route-not-found", "There is no such thing", "nothing is answered at this address"),
    405: ("method-not-allowed", "Mend the input", "this address is not asked with this method"),
    413: ("body-too-large", "Mend the input", "the body is too large"),
}


_WAYS_OUT: Final[Mapping[int, str]] = {
    400: "send JSON in UTF-8, not nested by the thousand",
    404: "what there is stands in /openapi.json",
    405: "what there is stands in /openapi.json",
    413: "send it in parts",
}


class Unreadable(Invalid):
    """The body is of a kind that is not read here."""

    status = 415
    default_code = "media-type"


class Unconditional(Invalid):
    """An edit must say what it replaces."""

    status = 428
    default_code = "if-match-missing"


class Misdirected(Invalid):
    """The request names a host that is not this server's."""

    status = 421
    default_code = "host-unknown"


class TooMany(Refused):
    """More at once than one server carries."""

    status = 429
    default_code = "too-many"


def problem_of(fault: AirbossError, base_url: str) -> Problem:
    """Return the problem document of an error."""
    title = next((words for kind, words in _TITLES if isinstance(fault, kind)), "Our fault")
    found = _problem(base_url, status=fault.status, code=fault.code, title=title, detail=fault.detail)
    if fault.place is not None:
        found["place"] = fault.place
    # Where an error says nothing of its own, what its page says is true of it too.
    way_out = fault.way_out or meanings().get(fault.code, (None, None))[1]
    if way_out is not None:
        found["way_out"] = way_out
    return found


def internal(base_url: str, incident: str) -> Problem:
    """Return the problem of a bug of ours: nothing about it but the ID under which it stands in the log."""
    return _problem(
        base_url,
        status=500,
        code="internal",
        title="Our fault",
        detail=f"the server could not finish this; it stands in its log as {incident}",
    ) | {
        "incident": incident,
        "way_out": "look whether it happened before you repeat it, and tell whoever runs this server",
    }


def answer(problem: Problem) -> Response:
    """Return a problem as a response."""
    headers = {}
    if problem["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem["status"] in (429, 503) or problem["code"] == "idempotency-in-progress":
        headers["Retry-After"] = "1"
    body = json.dumps(problem, ensure_ascii=False).encode(errors="replace")
    return Response(body, status_code=problem["status"], media_type=MEDIA_TYPE, headers=headers)


async def respond(request: Request, problem: Problem) -> Response:
    """Return a problem as the asker reads it: a page for a person's browser, else problem+json."""
    page: ErrorPage | None = getattr(request.app.state, "error_page", None)
    wants_page = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
    if page is None or not wants_page:
        return answer(problem)
    return await run_in_threadpool(page, request, problem)


def install(app: FastAPI, base_url: str) -> None:
    """Have every error of the application answered as a problem."""

    async def ours(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, AirbossError)
        if fault.status >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, fault)
        return await respond(request, problem_of(fault, base_url))

    async def misfit(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, RequestValidationError)
        return await respond(request, _misfit(fault, base_url))

    async def plain(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)
        known = _STATUS.get(fault.status_code)
        code, title, detail = known or ("bad-request", "Mend the input", str(fault.detail))
        found = _problem(base_url, status=fault.status_code, code=code, title=title, detail=detail)
        if way_out := _WAYS_OUT.get(fault.status_code):
            found["way_out"] = way_out
        response = await respond(request, found)
        response.headers.update(fault.headers or {})
        if fault.status_code == 405:
            response.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return response

    app.add_exception_handler(AirbossError, ours)
    app.add_exception_handler(RequestValidationError, misfit)
    app.add_exception_handler(HTTPException, plain)


def _methods(request: Request) -> set[str]:
    """Return every method an address is asked with: several routes share one, and each knows only its own."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    paths = request.app.openapi()["paths"]
    here = request.url.path
    # A path that is written out is itself, and no name in another one's place.
    matching = [here] if here in paths else [path for path in paths if compile_path(path)[0].match(here)]
    return found | {method.upper() for path in matching for method in paths[path]}


def _misfit(fault: RequestValidationError, base_url: str) -> Problem:
    """Return the problem of input that does not fit its shape: the first fault up front, all of them in `faults`."""
    faults = [{"place": _place(one["loc"]), "detail": _words(one)} for one in fault.errors()[:20]]
    first = faults[0]
    found = _problem(base_url, status=422, code="bad-input", title="Mend the input", detail=first["detail"])
    return found | {"place": first["place"], "faults": faults}


def _words(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"unknown field {str(error['loc'][-1])!r}"
    if kind == "missing":
        return "this is missing"
    if kind == "json_invalid":
        return f"the body is not JSON: {error.get('ctx', {}).get('error', '')}"
    if kind == "string_pattern_mismatch":
        return "a character stands here that may not, such as a control character"
    return str(error["msg"])


def _place(location: Sequence[int | str]) -> str:
    """Return where a fault lies as a path: `body.files[0].text`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else (f".{step}" if path else str(step))
    return path.encode(errors="replace").decode()


def _problem(base_url: str, *, status: int, code: str, title: str, detail: str) -> Problem:
    return {
        "type": f"{base_url}/docs/errors/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
