"""Flags over HTTP: OFREP 0.3 for any OpenFeature client, and the snapshot with its stream for our SDK.

    POST /ofrep/v1/evaluate/flags/{key}     one flag
    POST /ofrep/v1/evaluate/flags           all flags, with ETag
    GET  /ofrep/v1/sse                      word of new revisions
    GET  /sdk/v1/flags                      the definitions themselves, with ETag
    GET  /sdk/v1/flags/stream               word of new revisions

Bare routes with no model layer: they are asked on every page of every service. The environment comes from the query
parameter `environment` or the header `Airboss-Environment`; without either it is production.

Source: OpenFeature Remote Evaluation Protocol 0.3, and what its clients were found to need (always a `variant`, always
`errorDetails`, floats as 1.0, contexts that may be missing).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from hashlib import sha256
from inspect import iscoroutinefunction
from typing import Any, Final, Protocol, TypeAlias, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from airboss.act.flags import PRODUCTION, Flags, Served
from airboss.kernel.clock import Clock, rfc3339
from airboss.kernel.errors import AirbossError, Unavailable
from airboss.kernel.ids import NAME
from airboss.people.access import Action, Actor, Scope, require
from airboss.records.store import Store
from airboss.sdk.attributes import ENVIRONMENT_HEADER
from airboss.sdk.evaluator import Resolution

Authenticate: TypeAlias = Callable[[Request], "Actor | Awaitable[Actor]"]
"""From a request to who sent it; a plain function runs in a thread. Raises Unauthenticated."""

MOST_BYTES: Final = 256 * 1024
HEARTBEAT_S: Final = 15.0
COALESCE_S: Final = 0.02
MOST_STREAMS: Final = 2_000


class Revisions(Protocol):
    """Says when flags changed."""

    async def wait_for_revision(self, after: int) -> int:
        """Return the revision of all flags as soon as it is above `after`."""
        ...


class RevisionWatch:
    """Says when flags changed: at once when this process wrote, within `poll_s` when another server did.

    One watcher serves all streams; it reads the revision only while somebody waits. Register `announce` with
    `Store.on_commit`: it is called from writers' threads and only wakes the watcher.
    """

    def __init__(self, latest: Callable[[], int], clock: Clock, *, poll_s: float = 1.0) -> None:
        self._latest = latest
        self._clock = clock
        self._poll_s = poll_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._waiting: set[tuple[int, asyncio.Future[int]]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False

    def announce(self) -> None:
        """Something was committed; look now. Callable from any thread."""
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not wake.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    def close(self) -> None:
        """End all waiting with Unavailable; called on the event loop when the server is told to stop."""
        self._closed = True
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(_stopping())

    async def wait_for_revision(self, after: int) -> int:
        """Return the revision of all flags as soon as it is above `after`. Raises Unavailable once closed."""
        if self._closed:
            raise _stopping()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._wake, self._watcher, self._waiting = loop, asyncio.Event(), None, set()
        entry: tuple[int, asyncio.Future[int]] = (after, loop.create_future())
        self._waiting.add(entry)
        if self._watcher is None or self._watcher.done():
            self._watcher = loop.create_task(self._watch())
        assert self._wake is not None
        self._wake.set()
        try:
            return await entry[1]
        finally:
            self._waiting.discard(entry)

    async def _watch(self) -> None:
        assert self._wake is not None
        while self._waiting:
            self._wake.clear()
            try:
                revision = await asyncio.to_thread(self._latest)
            except AirbossError:
                revision = -1  # the database is away; streams live on, and the next look may succeed
            for after, waiter in list(self._waiting):
                if revision > after and not waiter.done():
                    waiter.set_result(revision)
            await self._clock.wait(COALESCE_S)  # many commits of other rooms are one look
            ticking = asyncio.ensure_future(self._clock.wait(self._poll_s))
            waking = asyncio.ensure_future(self._wake.wait())
            _, late = await asyncio.wait({ticking, waking}, return_when=asyncio.FIRST_COMPLETED)
            for task in late:
                task.cancel()


class FlagRoutes:
    """The five routes over one `Flags`."""

    def __init__(
        self,
        flags: Flags,
        store: Store,
        authenticate: Authenticate,
        revisions: Revisions,
        clock: Clock,
        *,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._flags = flags
        self._store = store
        self._authenticate = authenticate
        self._revisions = revisions
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._streams = 0

    def routes(self) -> list[Route]:
        """Return the routes, for `app.router.routes.extend(…)`."""
        return [
            Route("/ofrep/v1/evaluate/flags", self._guarded(self._bulk), methods=["POST"]),
            Route("/ofrep/v1/evaluate/flags/{key:path}", self._guarded(self._single), methods=["POST"]),
            Route("/ofrep/v1/sse", self._guarded(self._stream), methods=["GET"]),
            Route("/sdk/v1/flags", self._guarded(self._snapshot), methods=["GET"]),
            Route("/sdk/v1/flags/stream", self._guarded(self._stream), methods=["GET"]),
        ]

    # -- routes --------------------------------------------------------------------------------------------------

    async def _single(self, request: Request) -> Response:
        key = request.path_params["key"]
        context = await _context(request, key)
        served = await self._served(request)
        answer = served.compiled.evaluate(key, context.get("targetingKey"), context)
        body = _answer(key, answer)
        status = 200 if answer.error_code is None else (404 if answer.error_code == "FLAG_NOT_FOUND" else 400)
        return _json(body, status)

    async def _bulk(self, request: Request) -> Response:
        context = await _context(request, None)
        served = await self._served(request)
        # The answers depend on who asks, so the ETag does too.
        asked = sha256(json.dumps(context, sort_keys=True, default=str).encode()).hexdigest()[:16]
        etag = f'"{served.etag.strip(chr(34))}-{asked}"'
        if _matches(request, etag):
            return Response(status_code=304, headers={"ETag": etag})
        key = context.get("targetingKey")
        answers = [_answer(name, flag.evaluate(key, context)) for name, flag in served.compiled.flags.items()]
        body = {
            "flags": answers,
            "eventStreams": [{"type": "sse", "url": _stream_url(request), "inactivityDelaySec": 120}],
            "metadata": {"airboss.revision": served.revision},
        }
        return _json(body, 200, {"ETag": etag})

    async def _snapshot(self, request: Request) -> Response:
        served = await self._served(request)
        headers = {"ETag": served.etag, "Cache-Control": "private, no-cache", "Vary": ENVIRONMENT_HEADER}
        if _matches(request, served.etag):
            return Response(status_code=304, headers=headers)
        return Response(served.body, media_type="application/json", headers=headers)

    async def _stream(self, request: Request) -> Response:
        if self._streams >= MOST_STREAMS:
            return _json(_error(None, "GENERAL", "too many streams are open; poll instead"), 429, {"Retry-After": "30"})
        first = await self._served(request)
        return StreamingResponse(
            self._messages(request, first),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _messages(self, request: Request, served: Served) -> AsyncIterator[bytes]:
        """Yield the state on opening, then every new one, and a heartbeat in between; end with the right to read."""
        self._streams += 1
        waiting: asyncio.Task[int] | None = None
        try:
            yield self._message(served)
            seen = served.revision
            while True:
                if waiting is None:
                    waiting = asyncio.ensure_future(_as_coroutine(self._revisions.wait_for_revision(seen)))
                done, _ = await asyncio.wait({waiting}, timeout=self._heartbeat_s)
                try:
                    await self._actor(request)
                except AirbossError:
                    return
                if not done:
                    yield b": still here\n\n"
                    continue
                try:
                    waiting.result()
                    fresh = await asyncio.to_thread(self._read, _environment(request))
                except AirbossError:
                    return  # the server ends, or its database is away; the client comes back
                waiting = None
                seen = max(seen, fresh.revision)
                if fresh.etag != served.etag:
                    served = fresh
                    yield self._message(served)
        finally:
            self._streams -= 1
            if waiting is not None:
                waiting.cancel()

    def _message(self, served: Served) -> bytes:
        data = json.dumps(
            {"type": "refetchEvaluation", "etag": served.etag, "lastModified": rfc3339(self._clock.now())}
        )
        return f"id: {served.revision}\ndata: {data}\n\n".encode()

    # -- furniture -----------------------------------------------------------------------------------------------

    def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Authenticate, and turn what goes wrong into OFREP's words: clients read `errorCode` and `errorDetails`."""

        async def guarded(request: Request) -> Response:
            key = request.path_params.get("key")
            try:
                await self._actor(request)
                return await endpoint(request)
            except _BadRequest as fault:
                return _json(_error(key, fault.code, fault.detail), fault.status)
            except ClientDisconnect:
                return Response(status_code=499)
            except AirbossError as fault:
                headers = {"WWW-Authenticate": "Bearer"} if fault.status == 401 else {}
                return _json(_error(key, "GENERAL", fault.detail), fault.status, headers)

        return guarded

    async def _actor(self, request: Request) -> Actor:
        if iscoroutinefunction(self._authenticate):
            actor: Actor = await self._authenticate(request)
        else:  # a plain one reads the database
            actor = await asyncio.to_thread(cast("Callable[[Request], Actor]", self._authenticate), request)
        services = frozenset({actor.service}) if actor.service else frozenset()
        require(actor, Action.FLAGS_READ, Scope(services=services))
        return actor

    async def _served(self, request: Request) -> Served:
        return await asyncio.to_thread(self._read, _environment(request))

    def _read(self, environment: str) -> Served:
        with self._store.read() as connection:
            return self._flags.served(connection, environment=environment)


def flag_routes(
    flags: Flags, store: Store, authenticate: Authenticate, revisions: Revisions, clock: Clock
) -> list[Route]:
    """Return the routes of OFREP and of our SDK, for `app.router.routes.extend(…)`."""
    return FlagRoutes(flags, store, authenticate, revisions, clock).routes()


class _BadRequest(Exception):
    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping", code="stopping", way_out="ask again in a moment")


async def _as_coroutine(waiting: Awaitable[int]) -> int:
    return await waiting


def _environment(request: Request) -> str:
    name = request.query_params.get("environment") or request.headers.get(ENVIRONMENT_HEADER) or PRODUCTION
    if not NAME.fullmatch(name):
        raise _BadRequest(400, "GENERAL", f"{name[:80]!r} cannot name an environment")
    return name


async def _context(request: Request, key: str | None) -> Mapping[str, Any]:
    """Return the evaluation context of a request; empty where there is none."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST_BYTES:
            raise _BadRequest(400, "INVALID_CONTEXT", f"the context is larger than {MOST_BYTES} bytes")
    if not data.strip():
        return {}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise _BadRequest(400, "PARSE_ERROR", f"the body is not JSON: {fault}") from fault
    context = body.get("context") if isinstance(body, dict) else body
    if context is None:
        return {}
    if not isinstance(body, dict) or not isinstance(context, dict):
        raise _BadRequest(400, "INVALID_CONTEXT", 'the body must be {"context": {…}}')
    subject = context.get("targetingKey")
    if subject is not None and not isinstance(subject, str):
        of = f" of flag {key}" if key else ""
        raise _BadRequest(400, "INVALID_CONTEXT", f"the targetingKey{of} must be a text")
    return context


def _answer(key: str, answer: Resolution) -> dict[str, Any]:
    """Return one evaluation as OFREP has it: no value where the caller's own default is meant."""
    if answer.error_code is not None:
        return _error(key, answer.error_code, answer.error or "")
    body: dict[str, Any] = {
        "key": key,
        "reason": str(answer.reason),
        "variant": answer.variant or "",
        "metadata": dict(answer.metadata),
    }
    if answer.variant is not None:
        body["value"] = answer.value
    return body


def _error(key: str | None, code: str, detail: str) -> dict[str, Any]:
    body = {"errorCode": code, "errorDetails": detail}
    return {"key": key, **body} if key is not None else body


def _json(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    # json.dumps writes 1.0 as 1.0, which clients tell from the integer 1.
    data = json.dumps(body, separators=(",", ":"), default=str).encode()
    return Response(data, status_code=status, media_type="application/json", headers=dict(headers or {}))


def _matches(request: Request, etag: str) -> bool:
    """Return whether If-None-Match names this ETag (RFC 9110 section 13.1.2: compared weakly)."""
    given = request.headers.get("If-None-Match", "")
    return any(one.strip().removeprefix("W/") == etag for one in given.split(",")) or given.strip() == "*"


def _stream_url(request: Request) -> str:
    base = str(request.url.replace(path=f"{request.scope.get('root_path', '')}/ofrep/v1/sse", query=""))
    environment = _environment(request)
    return base if environment == PRODUCTION else f"{base}?environment={environment}"
