"""Live pages: one reader of the journal and of judgements for the process, and a stream for each page that listens.

A message says only that something moved (`change_id`, `position`, `what`); the page asks again for what it shows, so that
access is judged each time. Messages to one stream are merged and leave at most once a second. `position` is the journal's
and the event's ID: a stream that comes back with Last-Event-ID is told what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from sqlalchemy import Connection

from airboss.act.rollout import judged_since
from airboss.changes import OVER, Changes
from airboss.faces.api.flags import RevisionWatch
from airboss.faces.api.problems import TooMany
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError
from airboss.records.journal import Journal
from airboss.records.store import Store

log = logging.getLogger("airboss.live")

What: TypeAlias = Literal["facts", "judgement"]

POLL_S: Final = 0.5
"""How long another server's facts may stay unseen; our own are seen at once."""
LEAST_GAP_S: Final = 0.1
PACE_S: Final = 1.0
KEEPALIVE_S: Final = 15.0
RECHECK_S: Final = 30.0
STREAMS_MOST: Final = 500
BEHIND_MOST: Final = 5_000
"""A stream that is further behind is told to load its page again."""


@dataclass(slots=True, eq=False)
class _Stream:
    """What one page has still to be told. `change_id` None: of every change."""

    change_id: str | None
    pending: dict[str, tuple[int, set[What]]] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, change_id: str, position: int, what: What) -> None:
        if self.change_id is not None and self.change_id != change_id:
            return
        before, said = self.pending.get(change_id, (-1, set()))
        self.pending[change_id] = (max(before, position), said | {what})
        self.arrived.set()

    def take(self) -> list[tuple[str, int, set[What]]]:
        taken = [(change, position, said) for change, (position, said) in self.pending.items()]
        self.pending.clear()
        self.arrived.clear()
        return sorted(taken, key=lambda one: one[1])


class Broadcaster:
    """Follows what moves and tells every stream of this process. Reads only while somebody listens."""

    def __init__(
        self, store: Store, journal: Journal, changes: Changes, clock: Clock, *, revision: Callable[[], int]
    ) -> None:
        self._store = store
        self._journal = journal
        self._changes = changes
        self._clock = clock
        self._streams: set[_Stream] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._follower: asyncio.Task[None] | None = None
        self._based: asyncio.Event | None = None
        self._position = -1
        self._judged: datetime | None = None
        self._closing = False
        self._revisions = RevisionWatch(revision, clock)
        store.on_commit(self._announce)

    # -- flags ---------------------------------------------------------------------------------------------------

    async def wait_for_revision(self, after: int) -> int:
        """Return the revision of all flags as soon as it is above `after`. Raises Unavailable when the server ends."""
        return await self._revisions.wait_for_revision(after)

    # -- life ----------------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        """Something was committed; look now. Called from writers' threads."""
        self._revisions.announce()
        loop, wake = self._loop, self._wake
        if loop is not None and wake is not None and not wake.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    def close(self) -> None:
        """End every stream; called on the event loop when the server is told to stop."""
        self._closing = True
        self._revisions.close()
        for stream in self._streams:
            stream.arrived.set()

    @contextlib.asynccontextmanager
    async def _listening(self, change_id: str | None) -> AsyncIterator[_Stream]:
        """Give a stream that hears of everything from now on."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._wake, self._based = loop, asyncio.Event(), asyncio.Event()
            self._follower, self._streams = None, set()
        assert self._based is not None
        stream = _Stream(change_id)
        self._streams.add(stream)
        try:
            if self._follower is None or self._follower.done():
                self._based.clear()
                self._follower = loop.create_task(self._follow())
            await self._based.wait()
            yield stream
        finally:
            self._streams.discard(stream)

    async def _follow(self) -> None:
        assert self._wake is not None
        assert self._based is not None
        while self._streams and not self._closing:
            self._wake.clear()
            try:
                if not self._based.is_set():
                    self._position, self._judged = await asyncio.to_thread(self._base)
                    self._based.set()
                for change_id, position, what in await asyncio.to_thread(self._moved):
                    for stream in self._streams:
                        stream.put(change_id, position, what)
            except AirbossError as fault:
                log.warning("live pages stand still: %s", fault)
            except Exception:
                # A bug here must not silence the pages that listen already.
                log.exception("live pages stand still")
            await self._clock.wait(LEAST_GAP_S)
            await self._rest()

    async def _rest(self) -> None:
        assert self._wake is not None
        waits = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._clock.wait(POLL_S))]
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()

    def _base(self) -> tuple[int, datetime | None]:
        with self._store.read() as connection:
            return self._journal.size(connection) - 1, max(judged_since(connection, None).values(), default=None)

    def _moved(self) -> list[tuple[str, int, What]]:
        """Return what moved since the last look. Two queries."""
        found: list[tuple[str, int, What]] = []
        with self._store.read() as connection:
            facts = self._journal.read(connection, after=self._position)
            if facts:
                self._position = facts[-1].position
                found += [(one.subject, one.position, "facts") for one in facts if one.subject.startswith("chg_")]
            judged = judged_since(connection, self._judged)
        if judged:
            self._judged = max(judged.values())
            found += [(change_id, self._position, "judgement") for change_id in judged]
        return found

    # -- streams -------------------------------------------------------------------------------------------------

    def refuse_if_full(self) -> None:
        """Raise TooMany when this process carries as many streams as it can."""
        if len(self._streams) >= STREAMS_MOST:
            raise TooMany("too many pages listen already", way_out="load the page again now and then instead")

    async def messages(
        self, change_id: str | None, *, after: int | None, still_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """Yield the messages of one stream until it is over: server-sent events (HTML standard section 9.2).

        `after` is the position the page shows. Ends when the change is over, the session ended or the server stops.
        """
        async with self._listening(change_id) as stream:
            yield b"retry: 2000\n\n"
            if after is not None:
                missed = await asyncio.to_thread(self._missed, change_id, after)
                if missed is None:
                    yield _event("reload", self._position, {"change_id": change_id, "position": self._position})
                for change, position in missed or ():
                    stream.put(change, position, "facts")
            async for message in self._moves(stream, still_allowed):
                yield message

    async def _moves(self, stream: _Stream, still_allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        checked = self._clock.monotonic()
        while not self._closing:
            if self._clock.monotonic() - checked >= RECHECK_S:
                checked = self._clock.monotonic()
                if not await still_allowed():
                    return
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    await stream.arrived.wait()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            for change, position, said in stream.take():
                for what in sorted(said):
                    yield _event("moved", position, {"change_id": change, "position": position, "what": what})
            if stream.change_id is not None and await asyncio.to_thread(self._is_over, stream.change_id):
                yield _event("over", self._position, {"change_id": stream.change_id, "position": self._position})
                return
            await self._clock.wait(PACE_S)

    def is_over(self, connection: Connection, change_id: str) -> bool:
        """Return whether nothing can move in a change any more. One query. Raises NotFound."""
        return self._changes.read(connection, change_id).phase in OVER

    def _is_over(self, change_id: str) -> bool:
        with self._store.read() as connection:
            return self.is_over(connection, change_id)

    def _missed(self, change_id: str | None, after: int) -> Iterable[tuple[str, int]] | None:
        """Return what moved after a position, each change once; None when that is too much to tell."""
        with self._store.read() as connection:
            if change_id is not None:
                return [
                    (change_id, one.position)
                    for one in self._journal.of(connection, change_id)[-1:]
                    if one.position > after
                ]
            if self._journal.size(connection) - 1 - after > BEHIND_MOST:
                return None
            facts = self._journal.read(connection, after=after, limit=BEHIND_MOST)
        return {one.subject: one.position for one in facts if one.subject.startswith("chg_")}.items()


def _event(name: str, position: int, data: dict[str, object]) -> bytes:
    return f"event: {name}\nid: {position}\ndata: {json.dumps(data)}\n\n".encode()
