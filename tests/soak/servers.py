"""The servers of a soak: whole ones, each a control and an ingest, that may be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.soak.sampling import parts

from airboss.bootstrap import KEY_FILE
from airboss.demo.caller import Caller
from airboss.demo.world import NotStarted, World, free_port

READY_S: Final = 120.0
LOOK_S: Final = 0.05
LATENESS_S: Final = "3"


class Member:
    """One server, with a data folder of its own. `database` is what it shares with others; None for a file of its own."""

    def __init__(self, world: World, folder: Path, name: str, *, database: str | None, routes: Path) -> None:
        self.name = name
        self.data = folder / name
        self.data.mkdir(mode=0o700)
        self.port, self.ingest_port = free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._world, self._database, self._routes = world, database, routes
        self._caller = Caller(self.base_url)

    def start(self) -> None:
        """Start it; `ready` says when it answers."""
        ports = ["--port", str(self.port), "--ingest-port", str(self.ingest_port)]
        database = [] if self._database is None else ["--database", self._database]
        self._world.start(
            self.name,
            "airboss.faces.cli",
            # Its own name, so that it answers whoever comes through the proxy.
            ["serve", "--data", str(self.data), *ports, *database, "--hosts", "127.0.0.1"],
            environment={
                "AIRBOSS_DEMO": "1",
                "AIRBOSS_LATENESS_S": LATENESS_S,
                "AIRBOSS_ROUTE_FOLDER": str(self._routes),
            },
            wait=False,
        )

    def sign_as(self, other: Member) -> None:
        """Sign the record with another's key, as servers of one database do."""
        shutil.copy(other.data / KEY_FILE, self.data / KEY_FILE)

    @property
    def pid(self) -> int:
        """Its control process."""
        return self._world.processes[self.name].pid

    @property
    def processes(self) -> dict[str, int]:
        """Its processes by what they are; empty while it is dead."""
        return parts(self.pid) if self.name in set(self._world.alive()) else {}

    def kill(self) -> None:
        """Kill all its processes outright."""
        self._world.kill(self.name)

    def kill_ingest(self) -> int | None:
        """Kill its ingest, and return which process that was; None while it has none."""
        ingest = self.processes.get("ingest")
        if ingest is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(ingest, signal.SIGKILL)
        return ingest

    def stop(self) -> None:
        """Put its control to sleep where it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Wake it up."""
        os.kill(self.pid, signal.SIGCONT)

    def ready(self) -> bool:
        """Return whether it says it is ready. Raises NotStarted when it has ended."""
        if self.name not in set(self._world.alive()):
            raise NotStarted(f"{self.name} ended; the end of its log:\n{self._world.tail(self.name)}")
        return self._caller.ready()

    def wait(self) -> float:
        """Wait until it is ready and return how long that took, in seconds. Raises AssertionError, NotStarted."""
        return until(self.ready, f"{self.name} is not ready", READY_S)

    def close(self) -> None:
        """Let go of the connections to it."""
        self._caller.close()


def until(comes: Callable[[], bool], what: str, most_s: float) -> float:
    """Wait for something and return how long it took, in seconds. Raises AssertionError with `what`."""
    began = time.monotonic()
    while not comes():
        if time.monotonic() - began > most_s:
            raise AssertionError(f"{what} after {most_s:g} s")
        time.sleep(LOOK_S)
    return time.monotonic() - began
