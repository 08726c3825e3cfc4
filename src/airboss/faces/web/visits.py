"""One request for a page: who asks, what they filled in, and the ways to answer."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from airboss.faces.web.render import SECURITY_HEADERS
from airboss.faces.web.views import State
from airboss.kernel.errors import Invalid, Unauthenticated
from airboss.people.access import ANONYMOUS, Actor
from airboss.people.identity import SignedIn

FLASH: Final = "airboss_flash"
FLASH_S: Final = 60
FORM_MOST: Final = 64 * 1024
FIELDS_MOST: Final = 100
PACK_FROM: Final = 2_048
"""Answers smaller than this are not worth packing."""
FORM_TYPE: Final = "application/x-www-form-urlencoded"


class Doorkeeper(Protocol):
    """Knows callers, and puts sessions into cookies; the application's own (`app.state.doorkeeper`)."""

    def actor(self, request: Request) -> Actor: ...
    def let_in(self, response: Response, session: SignedIn, *, now_s: float) -> None: ...
    def let_out(self, response: Response) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request as handlers see it: `actor` is known, `form` read."""

    request: Request
    actor: Actor
    form: Mapping[str, str]

    @property
    def query(self) -> Mapping[str, str]:
        """What stands behind the question mark."""
        return self.request.query_params

    @property
    def path(self) -> Mapping[str, str]:
        """What the route's braces caught."""
        return self.request.path_params

    @property
    def doorkeeper(self) -> Doorkeeper:
        """Who puts sessions into cookies."""
        found: Doorkeeper = self.request.app.state.doorkeeper
        return found

    def flash(self) -> State | None:
        """Return what the last action came to, told once."""
        return _read_flash(self.request.cookies.get(FLASH))


Handler = Callable[[Visit], Response]


def endpoint(handle: Handler, *, public: bool = False) -> Callable[[Request], Any]:
    """Return the ASGI side of a plain handler: the form is read on the loop, the rest runs in a thread.

    Whoever is not signed in is refused with Unauthenticated, which the error page turns into the way to sign in.
    """

    async def answer(request: Request) -> Response:
        form = await _form(request) if request.method == "POST" else {}

        def run() -> Response:
            keeper: Doorkeeper = request.app.state.doorkeeper
            try:
                actor = keeper.actor(request)
            except Unauthenticated:
                if not public:
                    raise
                actor = ANONYMOUS
            if actor.kind == "anonymous" and not public:
                raise Unauthenticated("nobody is signed in", way_out="sign in")
            return handle(Visit(request=request, actor=actor, form=form))

        return await run_in_threadpool(run)

    return answer


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises Invalid for anything else, and for too much of it."""
    if request.headers.get("content-type", FORM_TYPE).partition(";")[0].strip() != FORM_TYPE:
        raise Invalid("this is not a form", code="bad-form", way_out="use the pages, or the API for JSON")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_MOST:
            raise Invalid(f"a form has at most {FORM_MOST:,} bytes", code="too-long")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MOST, errors="strict")
    except (UnicodeDecodeError, ValueError) as fault:
        raise Invalid("the form cannot be read", code="bad-form") from fault
    if any("\0" in value for _, value in fields):
        raise Invalid("the character NUL stands in no text", code="bad-form")
    return dict(fields)


def html(visit: Request, text: str, *, status: int = 200) -> Response:
    """Return a page, packed where the browser takes that; a flash that was told is taken away."""
    body = text.encode()
    headers = {**SECURITY_HEADERS, "vary": "accept-encoding"}
    if len(body) >= PACK_FROM and "gzip" in visit.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 5)
        headers["content-encoding"] = "gzip"
    response = Response(body, status_code=status, media_type="text/html", headers=headers)
    if FLASH in visit.cookies:
        response.delete_cookie(FLASH, httponly=True, samesite="lax")
    return response


def see(address: str, *, told: State | None = None) -> Response:
    """Send the browser to look at another page (303), and have that page tell what came of the action."""
    response = RedirectResponse(address, status_code=303, headers={"cache-control": "no-store"})
    if told is not None:
        words = base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
        response.set_cookie(FLASH, words, max_age=FLASH_S, httponly=True, samesite="lax")
    return response


def local(address: str | None, otherwise: str = "/") -> str:
    """Return an address of this server, never of another: what leads on after signing in."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")) or not address.isprintable():
        return otherwise
    return address


def quoted(address: str) -> str:
    """Return an address as the value of a query parameter."""
    return quote(address, safe="/")


def _read_flash(value: str | None) -> State | None:
    if value is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(value))
        tone, word, sentence = found["tone"], str(found["word"]), str(found.get("sentence", ""))
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
    return (
        {"tone": tone, "word": word, "sentence": sentence} if tone in ("well", "waiting", "needs", "harmed") else None
    )
