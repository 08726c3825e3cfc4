"""The HTTP protocol of our servers: uvicorn's, which waits for no request for ever and keeps no head of any length.

Without a bound each connection that sends a byte a minute holds a socket, and a header without end fills the memory. The
time of a body is bounded here, for control and ingest alike; its length where it is read: by the API's gate, and by the ingest.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MOST: Final = 64 * 1024
HEAD_S: Final = 15.0
"""How long the head of a request may take, from its connection or its first byte."""
BODY_S: Final = 60.0
"""How long a body may take to arrive, whole. What we do not read is not the sender's slowness, and does not count."""


class Careful(HttpToolsProtocol):
    """One connection. What is refused here never reaches the application; the connection ends with it."""

    _head = 0
    _in_head = True
    _in_body = False
    _refused = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrowing
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._unwait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that has grown too long is refused however it is cut."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_MOST:
                self._refuse_head()
        elif self._in_body and self._timer is None:
            self._wait_for_body()  # only a body that did not come with its head costs a timer

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Hand a request on, unless its head is too long."""
        self._in_head, self._in_body = False, True
        self._unwait()
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > HEAD_MOST:
            self._refuse_head()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a part of a body on."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand the end of a request on."""
        self._in_body = False
        self._unwait()
        if not self._refused:
            super().on_message_complete()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._refuse_slow)

    def _wait_for_body(self) -> None:
        self._timer = self.loop.call_later(BODY_S, self._refuse_slow_body)

    def _unwait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse_slow(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT,
                code="head-too-slow",
                detail=f"the head of a request took longer than {HEAD_S:g} s",
                way_out="send it at once",
            )

    def _refuse_slow_body(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            self._wait_for_body()
        elif self.cycle.response_started:
            self._refused = True  # it was answered already, and does not end: there is nothing more to say
            self.transport.close()
        else:
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT,
                code="body-too-slow",
                detail=f"the body of a request took longer than {BODY_S:g} s; nothing of it was done",
                way_out="send it at once, or in parts",
            )

    def _refuse_head(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            code="head-too-large",
            detail=f"the address and headers have more than {HEAD_MOST:,} bytes",
            way_out="send fewer or shorter headers",
        )

    def _refuse(self, status: HTTPStatus, *, code: str, detail: str, way_out: str) -> None:
        """Answer with a problem document and end the connection."""
        self._refused = True
        problem: dict[str, Any] = {
            "type": f"/docs/errors/{code}",
            "title": "Mend the input",
            "status": int(status),
            "detail": detail,
            "code": code,
            "way_out": way_out,
        }
        body = json.dumps(problem).encode()
        head = [
            f"HTTP/1.1 {int(status)} {status.phrase}",
            "content-type: application/problem+json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()
