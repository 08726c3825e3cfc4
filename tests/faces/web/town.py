"""A real house behind a real port: production in virtual time (`tests.tower.world`), pages and API as they are served.

The test moves time; the server answers meanwhile from its own threads. Only waiting is done in real time, so that streams
and pacing work while the clock that everything is dated by stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import uvicorn
from tests.tower.world import World

from airboss.faces.api import create_app
from airboss.faces.web import error_page, routes
from airboss.testing import ManualClock

HASTE = 0.1
"""How much of a wait is really waited."""


class Waiting:
    """Tells the time of another clock, and waits in real time, if in haste."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds * HASTE)


class Town:
    """A world and the address it is served at. Time passes in a thread of its own, whoever asks for it."""

    def __init__(self, world: World, url: str, time: ThreadPoolExecutor) -> None:
        self.world = world
        self.url = url
        self._time = time

    def run(self, seconds: int, *, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass as the world does, and wait for it."""
        return self._time.submit(self.world.run, seconds, until=until).result()

    def cookie(self, handle: str) -> dict[str, str]:
        """Return the session cookie of somebody who has just signed in."""
        signing = self.world.house.identity.sign_in
        session = signing.use_link(signing.issue_link(handle, self.world.people["root"]).secret)
        return {"name": "airboss_session", "value": session.secret, "url": self.url}

    def link(self, handle: str) -> str:
        """Return a one-time sign-in link for somebody."""
        issued = self.world.house.identity.sign_in.issue_link(handle, self.world.people["root"])
        return self.url + issued.path


@contextlib.contextmanager
def town(folder: Path, **world: object) -> Iterator[Town]:
    """Serve a new world while the block runs."""
    time = ThreadPoolExecutor(1)
    made = time.submit(lambda: World(folder, **world)).result()
    config = uvicorn.Config("", port=0, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1)
    try:
        with config.bind_socket() as listening:
            port = listening.getsockname()[1]
            settings = replace(made.house.settings, port=port, demo=True)
            house = replace(made.house, clock=Waiting(made.clock), settings=settings)
            config.app = create_app(house, web_routes=routes(house), error_page=error_page(house))
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            try:
                yield Town(made, f"http://127.0.0.1:{port}", time)
            finally:
                config.app.state.live.close()
                server.should_exit = True
                thread.join()
    finally:
        time.submit(made.close).result()
        time.shutdown()
