"""Time and chance under the test's control."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock that stands still until it is moved; those who wait on it are woken in order of their times."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, tzinfo=UTC)) -> None:
        self._now = start
        self._origin = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._number = 0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._origin).total_seconds()

    async def wait(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self._now + timedelta(seconds=seconds), self._number, future))
        await future

    def advance(self, seconds: float) -> None:
        """Move time forward and wake whoever is due."""
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)


class SeededChance:
    """Random bytes that repeat with their seed: SHA-256 in counter mode. Never for secrets that matter."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._count = 0

    def token(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            self._count += 1
            out += hashlib.sha256(f"{self._seed}/{self._count}".encode()).digest()
        return out[:count]
