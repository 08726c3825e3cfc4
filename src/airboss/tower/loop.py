"""The tower's loop: claim what is due, look at it, sleep until something is.

Level-triggered: a look never relies on having seen the one before. Killed anywhere, the next claim of the change, by
this server or another, does the same again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from airboss.act.rollout import Claim, claims
from airboss.kernel import failpoints, spans
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, Stale
from airboss.records.store import Store

LEASE_S: Final = 12.0
"""With the next beat it ends well before the 15 s after which another server is to have gone on."""
BATCH: Final = 50
AT_ONCE: Final = 16
URGENT_AT_ONCE: Final = 16
"""Looks beside those, kept free for what is ordered or being taken back."""
IDLE_S: Final = 0.2
RETRY_S: Final = 2.0
FORMAT: Final = 1

log = logging.getLogger("airboss.tower")

T = TypeVar("T")
Offload = Callable[[Callable[[], T]], Awaitable[T]]


class Look(Protocol):
    """Looks at one change and releases its claim."""

    async def __call__(self, held: Claim) -> None: ...


class Tower:
    """One server's worker. Any number of them may run on one database."""

    def __init__(self, *, store: Store, clock: Clock, owner: str, look: Look) -> None:
        self._store = store
        self._clock = clock
        self._owner = owner
        self._look = look
        self._poked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def poke(self) -> None:
        """Look for work now rather than at the next beat; may be called from any thread. A hint only."""
        loop = self._loop
        if loop is not None:
            # The loop may close between asking and calling; then nobody waits for the hint any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._poked.set)

    def claim(self, limit: int = BATCH, *, only_urgent: bool = False) -> list[Claim]:
        """Take what is due, what is urgent before the rest. One short transaction, none when nothing is due."""
        now = self._clock.now()
        with self._store.read() as connection:
            shared = self._store.now(connection)
            if not claims.any_due(connection, now, shared=shared, format_=FORMAT, only_urgent=only_urgent):
                return []
        with self._store.write() as tx:
            return claims.claim(
                tx,
                owner=self._owner,
                now=now,
                lease_s=LEASE_S,
                limit=limit,
                format_=FORMAT,
                only_urgent=only_urgent,
            )

    async def look_at(self, held: Claim) -> None:
        """Look at one claimed change. Whatever goes wrong, the loop goes on and the change is looked at again."""
        failpoints.reach("tower.after_claim")
        try:
            with spans.span("look", change=held.change_id):
                await self._look(held)
        except Stale:
            log.info("change %s was moved by somebody else; looking again", held.change_id)
            await self._retry(held, 0.0)
        except AirbossError as fault:
            log.warning("change %s: %s; looking again in %g s", held.change_id, fault, RETRY_S)
            await self._retry(held, RETRY_S)
        except failpoints.Reached:
            raise
        except Exception:
            # A bug of ours must not stop the other changes; it is loud in the log and the change stays where it is.
            log.exception("change %s could not be looked at", held.change_id)
            await self._retry(held, 5 * RETRY_S)

    async def _retry(self, held: Claim, in_s: float) -> None:
        def give_back() -> None:
            now = self._clock.now()
            with self._store.write() as tx:
                claims.put_off(tx, held, now=now, due_at=now + timedelta(seconds=in_s))

        try:
            await asyncio.to_thread(give_back)
        except AirbossError as fault:
            # The lease runs out by itself; until then nobody looks, and nothing advances.
            log.warning("the claim on %s could not be given back: %s", held.change_id, fault)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; looks under way are finished."""
        self._loop = asyncio.get_running_loop()
        under_way: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            # What was looked at may be due again at once, as an order is once it was taken; and now there is room.
            self._poked.set()

        while not stop.is_set():
            # Claim no more than can be looked at now: a lease must not run down in a queue. What is to be taken back waits
            # for nobody: neither for those that were due before it, nor for looks that wait for a slow target.
            room, urgent_room = max(AT_ONCE - len(under_way), 0), AT_ONCE + URGENT_AT_ONCE - len(under_way)
            self._poked.clear()
            due = await self._claimed(room or urgent_room, only_urgent=not room) if urgent_room else []
            for held in due:
                task = asyncio.create_task(self.look_at(held))
                under_way.add(task)
                task.add_done_callback(ended)
            if not due:
                await self._rest(stop)
        if under_way:
            await asyncio.wait(under_way)

    async def _claimed(self, limit: int, *, only_urgent: bool) -> list[Claim]:
        try:
            return await asyncio.to_thread(self.claim, limit, only_urgent=only_urgent)
        except AirbossError as fault:
            log.warning("nothing can be claimed: %s", fault)
            return []

    async def _rest(self, stop: asyncio.Event) -> None:
        """Wait for a poke, the next beat or the end, whichever comes first."""
        waits = [
            asyncio.ensure_future(self._poked.wait()),
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self._clock.wait(IDLE_S)),
        ]
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
