"""The receiver: OTLP/HTTP in, counters out to the store each second. Bare ASGI, for a process of its own.

Source: OTLP 1.5 specification, section OTLP/HTTP (paths, encodings, partial success, Status in error bodies).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from airboss.kernel.clock import Clock, to_micros
from airboss.kernel.errors import AirbossError, Forbidden, Invalid, NotFound, Unavailable
from airboss.watch.telemetry.bodies import NotUnderstood, inflate, too_large
from airboss.watch.telemetry.ingest import Ingest, Receipt
from airboss.watch.telemetry.model import Signal, TelemetrySettings
from airboss.watch.telemetry.ports import ActiveExposures, Authenticate, BucketStore, Sender
from airboss.watch.telemetry.schema import MESSAGES, require_fast_parser
from airboss.watch.telemetry.wire import ProtobufReader
from airboss.watch.telemetry.wire_json import read_json

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WRITE_SCOPE: Final = "telemetry.write"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_PATHS: Final[dict[str, Signal]] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
_REJECTED: Final[dict[Signal, str]] = {
    "traces": "rejectedSpans",
    "metrics": "rejectedDataPoints",
    "logs": "rejectedLogRecords",
}
_SENDERS_REMEMBERED: Final = 1024
_PRUNE_EVERY_S: Final = 600.0
# google.rpc.Code by HTTP status, for the Status message an OTLP client expects.
_RPC_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 422: 3, 429: 8, 503: 14}

_log = logging.getLogger(__name__)


class IngestApp:
    """ASGI application and the loops behind it. `start` and `stop` are also its lifespan.

    Raises Unavailable (slow-protobuf) when protobuf has no C core here.
    """

    def __init__(
        self,
        *,
        store: BucketStore,
        exposures: ActiveExposures,
        authenticate: Authenticate,
        clock: Clock,
        ingester: str,
        settings: TelemetrySettings,
    ) -> None:
        require_fast_parser()
        self._store = store
        self._exposures = exposures
        self._authenticate = authenticate
        self._clock = clock
        self._ingester = ingester
        self._settings = settings
        self._ingest = Ingest(settings)
        self._reader = ProtobufReader()
        self._senders: dict[str, tuple[float, Sender]] = {}
        self._held = 0
        self._source = 0
        self._last_flush: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._broken_bodies = 0

    # -- life

    async def start(self) -> None:
        """Open a boot, load what is in flight, begin to flush. Raises Unavailable when the store does not answer."""
        await asyncio.to_thread(self._store.create)
        now_us = to_micros(self._clock.now())
        self._source = await asyncio.to_thread(self._store.begin, self._ingester, now_us)
        await self.refresh()
        await self.flush()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is counted and close the boot."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()
        await asyncio.to_thread(self._store.end, self._source)

    async def refresh(self) -> None:
        """Learn which exposures are in force, and the subjects of changes that are new here."""
        now = self._clock.now()
        unknown = self._ingest.unknown_changes()
        rows, known = await asyncio.to_thread(self._ask, now, unknown)
        now_us = to_micros(now)
        for change_id in self._ingest.unloaded(rows, now_us=now_us):
            self._ingest.load_subjects(change_id, await asyncio.to_thread(self._store.subjects, change_id))
        self._ingest.update(rows, known=known, now_us=now_us)

    async def flush(self) -> None:
        """Write what moved. Raises Unavailable; then it stays here and goes with the next flush."""
        if self._writing is not None and not self._writing.done():
            # A write nobody waits for any more must not land on top of a newer one.
            await asyncio.wait([self._writing])
        now = self._clock.now()
        taken = self._ingest.take(source=self._source, at_us=to_micros(now))
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._store.flush, taken))
        try:
            await asyncio.shield(self._writing)
        except BaseException:
            self._ingest.restore(taken)
            raise
        self._ingest.confirm(taken)
        self._last_flush = now

    async def _run(self) -> None:
        prune_at = self._clock.monotonic() + _PRUNE_EVERY_S
        while True:
            await self._clock.wait(self._settings.flush_every.total_seconds())
            for work in (self.refresh, self.flush):
                try:
                    await work()
                except AirbossError as fault:
                    _log.warning("telemetry %s: %s", work.__name__, fault)
                except Exception:  # noqa: BLE001 (the loop goes on)
                    # A bug in one round must not silence the receiver; /healthz tells when nothing is written.
                    _log.exception("telemetry %s", work.__name__)
            if self._clock.monotonic() >= prune_at:
                prune_at += _PRUNE_EVERY_S
                await self._prune()

    async def _prune(self) -> None:
        now, kept = self._clock.now(), self._settings
        try:
            await asyncio.to_thread(
                self._store.prune,
                fine_before_us=to_micros(now - kept.fine_kept),
                change_before_us=to_micros(now - kept.changes_kept),
                plain_before_us=to_micros(now - kept.plain_kept),
                coverage_before_us=to_micros(now - kept.coverage_kept),
                exemplar_before_us=to_micros(now - kept.exemplars_kept),
            )
        except AirbossError as fault:
            _log.warning("telemetry prune: %s", fault)

    def _ask(self, now: datetime, unknown: frozenset[str]) -> tuple[list[Any], frozenset[str]]:
        rows = list(self._exposures.since(now - self._settings.changes_idle))
        return rows, self._exposures.known(unknown) if unknown else frozenset()

    # -- requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise NotImplementedError(scope["type"])

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            starting = message["type"] == "lifespan.startup"
            phase = "startup" if starting else "shutdown"
            try:
                await (self.start() if starting else self.stop())
            except AirbossError as fault:
                await send({"type": f"lifespan.{phase}.failed", "message": str(fault)})
                return
            await send({"type": f"lifespan.{phase}.complete"})
            if not starting:
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        path, method = scope["path"], scope["method"]
        if path == "/healthz" and method in {"GET", "HEAD"}:
            await self._health(send)
            return
        try:
            signal = _PATHS.get(path)
            if signal is None:
                raise NotFound(f"{path} is not here", way_out=f"there are {', '.join(_PATHS)} and /healthz")
            if method != "POST":
                await _refuse(
                    send, kind, NotFound(f"{method} is not answered here"), status=405, more=[(b"allow", b"POST")]
                )
                return
            receipt = await self._post(signal, kind, headers, receive)
        except AirbossError as fault:
            self._broken_bodies += isinstance(fault, Invalid)
            await _refuse(send, kind, fault)
            return
        await _reply(send, 200, kind, _success(signal, kind, receipt))

    async def _post(self, signal: Signal, kind: str, headers: dict[str, str], receive: Receive) -> Receipt:
        sender = await self._sender(headers)
        service = bound_service(sender)
        if kind not in {PROTOBUF, JSON}:
            raise NotUnderstood(
                f"content type {kind or 'unset'!r} is not read here", way_out=f"send {PROTOBUF} or {JSON}"
            )
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip", ""}:
            raise NotUnderstood(f"content encoding {encoding!r} is not read here", way_out="send gzip or none")
        if self._ingest.is_full:
            raise _busy("what was received could not be written for too long")
        body = await self._body(headers, receive)
        if encoding == "gzip":
            body = inflate(body, most=self._settings.max_inflated_bytes)
        columns = self._reader.read(body, signal) if kind == PROTOBUF else read_json(body, signal)
        now_us = to_micros(self._clock.now())
        return self._ingest.accept(columns, signal=signal, sender_service=service, received_us=now_us)

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """Read the body. Raises TooLarge, or Unavailable while others hold all the memory bodies may take."""
        most = self._settings.max_body_bytes
        told = headers.get("content-length", "0")
        if told.isdigit() and int(told) > most:
            raise too_large(f"the body has {int(told):,} bytes; at most {most:,} are read")
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Invalid("the body was cut off", code="bad-telemetry", place="body")
                part = message.get("body", b"")
                size += len(part)
                self._held += len(part)
                if size > most:
                    raise too_large(f"the body has more than {most:,} bytes")
                if self._held > self._settings.max_held_bytes:
                    raise _busy("too many bodies are being read")
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
        finally:
            self._held -= size

    async def _sender(self, headers: dict[str, str]) -> Sender:
        key = headers.get("authorization", "")
        now = self._clock.monotonic()
        known = self._senders.get(key)
        if known is not None and known[0] > now:
            return known[1]
        sender = await asyncio.to_thread(self._authenticate, headers)
        if len(self._senders) >= _SENDERS_REMEMBERED:
            self._senders.clear()
        if key:
            self._senders[key] = (now + self._settings.authentication_kept.total_seconds(), sender)
        return sender

    async def _health(self, send: Send) -> None:
        age = None if self._last_flush is None else (self._clock.now() - self._last_flush).total_seconds()
        well = age is not None and age < 10 * self._settings.flush_every.total_seconds()
        body = {
            "status": "ok" if well else "not writing",
            "source": self._source,
            "last_flush_age_s": age,
            "refused_bodies": self._broken_bodies,
        }
        await _reply(send, 200 if well else 503, JSON, json.dumps(body).encode())


def bound_service(sender: Sender) -> str:
    """Return the service a sender may write for, `*` for every. Raises Forbidden without the scope or the binding."""
    if sender.scopes is None or WRITE_SCOPE not in sender.scopes:
        raise Forbidden(
            f"{sender.id} may not write telemetry",
            code="scope-missing",
            way_out=f"use a token with the scope {WRITE_SCOPE}",
        )
    if not sender.service:
        raise Forbidden(
            f"{sender.id} is not bound to a service",
            code="token-unbound",
            way_out="telemetry decides promotions: mint a token for one service",
        )
    return sender.service


def _busy(detail: str) -> Unavailable:
    return Unavailable(detail, code="telemetry-busy", way_out="send it again in a few seconds")


def _success(signal: Signal, kind: str, receipt: Receipt) -> bytes:
    """Return ExportTraceServiceResponse and its siblings: empty when all is well."""
    if kind == JSON:
        partial = {_REJECTED[signal]: str(receipt.rejected), "errorMessage": receipt.message}
        return json.dumps({"partialSuccess": partial} if receipt.message else {}).encode()
    response = MESSAGES["Response"]()
    if receipt.message:
        response.partial.rejected = receipt.rejected
        response.partial.message = receipt.message
    data: bytes = response.SerializeToString()
    return data


async def _refuse(
    send: Send, kind: str, fault: AirbossError, *, status: int | None = None, more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    # OTLP: a body that cannot be read is 400, which clients do not repeat.
    status = status or (400 if fault.status == 422 else fault.status)
    code = _RPC_CODES.get(status, 2)
    if kind == PROTOBUF:
        text = f"{fault}; {fault.way_out}" if fault.way_out else str(fault)
        body: bytes = MESSAGES["RpcStatus"](code=code, message=text).SerializeToString()
    else:
        # google.rpc.Status and RFC 9457 at once: their members do not clash.
        problem = {
            "code": code,
            "message": str(fault),
            "type": f"urn:airboss:error:{fault.code}",
            "title": fault.code,
            "status": status,
            "detail": fault.detail,
            "place": fault.place,
            "way_out": fault.way_out,
        }
        body = json.dumps({key: value for key, value in problem.items() if value is not None}).encode()
    headers = [*more]
    if status in {429, 503}:
        headers.append((b"retry-after", b"3"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await _reply(send, status, PROTOBUF if kind == PROTOBUF else JSON, body, headers)


async def _reply(send: Send, status: int, kind: str, body: bytes, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
