"""One span a request, named by its route, child of the caller's where it sends `traceparent`.

Bare ASGI, outside of everything else, so that what the gate refuses is seen too. A stream's span ends where it begins to
flow: it stands open for hours.

Source: OpenTelemetry semantic conventions, HTTP server spans; W3C Trace Context.
"""

from __future__ import annotations

import contextlib
from typing import Final

from opentelemetry import context, propagate, trace
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airboss.kernel import spans
from airboss.sdk.attributes import CHANGE_ID

_UNSEEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_BROKEN: Final = 500


class Traced:
    """ASGI middleware, for a server that was told where to send spans."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, and tell of it."""
        if scope["type"] != "http" or scope["path"] in _UNSEEN:
            await self._app(scope, receive, send)
            return
        outer = propagate.extract(dict(Headers(scope=scope)))
        token = context.attach(outer)
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(spans.span(scope["method"], serving=True))
                span = trace.get_current_span()
                span.set_attribute("http.request.method", scope["method"])

                async def sending(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        _tell(span, scope, message)
                    await send(message)

                await self._app(scope, receive, sending)
        finally:
            context.detach(token)


def _tell(span: trace.Span, scope: Scope, start: Message) -> None:
    """Say the route, the change, and how it is answered."""
    if (route := _route(scope)) is not None:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
    named = scope.get("path_params", {}).get("change")
    if isinstance(named, str):
        span.set_attribute(CHANGE_ID, named)
    span.set_attribute("http.response.status_code", start["status"])
    if start["status"] >= _BROKEN:
        span.set_status(trace.StatusCode.ERROR)
    kind = Headers(raw=start.get("headers", [])).get("content-type", "")
    if kind.startswith("text/event-stream"):
        span.end()


def _route(scope: Scope) -> str | None:
    """Return the matched template. A route included under a prefix tells its own part only: the rest is in the address."""
    path: str | None = getattr(scope.get("route"), "path", None)
    if path is None or ":path}" in path:
        return path
    before = scope["path"].split("/")
    return "/".join(before[: len(before) - path.count("/")]) + path
