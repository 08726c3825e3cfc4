"""What every request passes before it is looked at: whose host it names, where it comes from, how large it is.

Bare ASGI, around the whole application. It also answers for our own bugs, and puts the security headers on whatever
leaves.

Sources: Fetch standard (Origin and Sec-Fetch-Site), OWASP cheat sheets on CSRF and on HTTP headers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airboss.faces.api.callers import COOKIE
from airboss.faces.api.problems import Misdirected, internal, problem_of, respond
from airboss.kernel.errors import AirbossError, Forbidden, Invalid
from airboss.kernel.ids import Ids
from airboss.kernel.settings import Settings

log = logging.getLogger("airboss.api")

BODY_MOST: Final = 2 * 1024 * 1024
LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_ANY_HOST: Final = frozenset({"/healthz", "/readyz"})
"""Asked by machines that know an address and no name; they say nothing that needs guarding."""
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer: with it browsers send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""For whatever says nothing else itself; pages bring a policy of their own."""


class TooLarge(Invalid):
    """The body is larger than is read here."""

    status = 413
    default_code = "body-too-large"


class Gate:
    """ASGI middleware; one for the application."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ids: Ids) -> None:
        self._app = app
        self._ids = ids
        self._base_url = settings.base_url
        base = urlsplit(settings.base_url)
        self._https = base.scheme == "https"
        self._hosts = {f"{name}:{settings.port}" for name in LOOPBACK} | {base.netloc.lower()}
        self._names = {host.lower() for host in settings.hosts}
        self._origins = {f"{base.scheme}://{base.netloc}".lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._guard(message)
            await send(message)

        try:
            self._check(scope, headers)
        except AirbossError as fault:
            response = await respond(Request(scope), problem_of(fault, self._base_url))
            await response(scope, receive, sending)
            return
        try:
            await self._app(scope, _limited(receive), sending)
        except ClientDisconnect:
            return
        except Exception:
            incident = self._ids.new("inc")
            log.exception("incident %s: %s %s", incident, scope["method"], scope["path"])
            if started:
                raise
            response = await respond(Request(scope), internal(self._base_url, incident))
            await response(scope, receive, sending)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raise what is wrong with a request before anybody reads it."""
        host = headers.get("host", "").lower()
        if scope["path"] not in _ANY_HOST and not self._is_ours(host):
            raise Misdirected(
                f"this server is not called {host[:200]!r}",
                way_out=f"ask {self._base_url}, or name the host to the server: --hosts",
            )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > BODY_MOST:
            raise _too_large()
        if scope["method"] not in _SAFE and "authorization" not in headers:
            self._check_origin(headers, host)

    def _is_ours(self, host: str) -> bool:
        return host in self._hosts or host in self._names or host.rpartition(":")[0] in self._names

    def _check_origin(self, headers: Headers, host: str) -> None:
        """Refuse what another site makes a browser send. A request without a cookie needs no Origin, only no foreign one."""
        origin = headers.get("origin")
        if origin is None:
            # A browser that sends a cookie and no Origin says at least from where, or is no browser of ours.
            mine = headers.get("sec-fetch-site") in ("same-origin", "none")
            if mine or f"{COOKIE}=" not in headers.get("cookie", ""):
                return
        elif origin.lower() in self._origins or origin.lower() in (f"http://{host}", f"https://{host}"):
            # The host was checked above, so an origin of the same name is this server's own page.
            return
        raise Forbidden(
            "this request comes from another site"
            if origin
            else "a request with a session must say where it comes from",
            code="origin-foreign",
            way_out="use the pages of this server, or a token: Authorization: Bearer abt_…",
        )

    def _guard(self, message: MutableMapping[str, Any]) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self._https:
            headers.setdefault("strict-transport-security", "max-age=31536000")


def _limited(receive: Receive) -> Receive:
    """Return a receive that gives up when the body grows too large, whatever its length was said to be."""
    size = 0

    async def counting() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_MOST:
            # FastAPI lets only its own kind of error through while it reads a body.
            raise HTTPException(413)
        return message

    return counting


def _too_large() -> TooLarge:
    return TooLarge(f"the body has more than {BODY_MOST:,} bytes", way_out="send it in parts")
