"""The demo's server: `airboss serve` as a process of its own, which may be killed and started again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from airboss.demo.caller import Caller
from airboss.demo.world import NotStarted, World, free_port

NAME: Final = "server"
MODULE: Final = "airboss.faces.cli"
READY_S: Final = 90.0
LOOK_S: Final = 0.1
LATENESS_S: Final = "3"
"""How long telemetry may be late. The shop's exporters send each second from the same machine, so 3 s lose nothing."""


class Server:
    """One server on loopback: pages and API on `port`, telemetry on `ingest_port`."""

    def __init__(self, world: World, data: Path, *, port: int) -> None:
        self._world = world
        self.data = data
        self.port = port or free_port()
        self.ingest_port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.otlp_url = f"http://127.0.0.1:{self.ingest_port}"
        self._caller = Caller(self.base_url)

    def start(self) -> None:
        """Start it; `ready` says when it answers."""
        self._world.start(
            NAME,
            MODULE,
            [
                "serve",
                *("--data", str(self.data), "--port", str(self.port), "--ingest-port", str(self.ingest_port)),
            ],
            environment={"AIRBOSS_DEMO": "1", "AIRBOSS_LATENESS_S": LATENESS_S, "AIRBOSS_ROUTE_FOLDER": str(self.data)},
            wait=False,
        )

    def kill(self) -> None:
        """Kill all its processes outright: control, ingest, policy worker."""
        self._world.kill(NAME)

    def close(self) -> None:
        """Let go of the connections to it. Its processes are the world's to end."""
        self._caller.close()

    def ready(self) -> bool:
        """Return whether it answers and says it is ready. Raises NotStarted when its process has ended."""
        if NAME not in set(self._world.alive()):
            raise NotStarted(f"the server ended; the end of its log:\n{self._world.tail(NAME)}")
        return self._caller.ready()

    def wait(self) -> None:
        """Wait until it is ready. Raises NotStarted."""
        deadline = time.monotonic() + READY_S
        while not self.ready():
            if time.monotonic() > deadline:
                raise NotStarted(f"the server was not ready within {READY_S:g} s:\n{self._world.tail(NAME)}")
            time.sleep(LOOK_S)
