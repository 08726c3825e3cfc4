"""The demo's processes: started, found, killed and ended; each with its own log in the demo's folder.

A process that serves prints one JSON line when it listens. What it prints goes to `logs/<name>.out`, its errors to
`logs/<name>.log`. Every process is started in a session of its own, so that a Ctrl-C at the terminal reaches only the
demo, which then ends them in order.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from airboss.demo.nature import SERVICES

START_S: Final = 30.0
"""How long a process may take until it listens."""
LOOK_S: Final = 0.02
END_S: Final = 5.0
"""How long a process may take to end by itself before it is killed."""


class NotStarted(RuntimeError):
    """A process did not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Where a service's two tokens lie."""

    flags: Path
    telemetry: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the customers do. 350 a second to each service gives some 35 new canary customers a second at 10 %."""

    rate: float = 350.0
    users: int = 50_000
    seconds: float = 180.0
    seed: int = 1


class World:
    """The processes of one demo, by name. A context manager: leaving it ends them all."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError when `folder` cannot be made."""
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> dict[str, Any]:
        """Start `python -m module` and return the line it prints when it is ready ({} where `wait` is false).

        Raises NotStarted when it ends or says nothing within START_S.
        """
        process = self._spawn(name, [sys.executable, "-m", module, *arguments], environment)
        return self._ready(name, process) if wait else {}

    def _spawn(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        words = self.logs / f"{name}.out"
        words.unlink(missing_ok=True)
        with words.open("wb") as out, (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and modules, and the Envoy beside them
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def shop(  # a service's whole address book, by name
        self,
        service: str,
        *,
        server: str,
        otlp: str,
        tokens: Tokens,
        fault: str,
        seed: int,
        seconds: float,
        name: str = "",
        more: Sequence[str] = (),
    ) -> str:
        """Start one of the shop's services and return its address: the service's own, unless it is one of several `name`d
        processes, which customers do not ask themselves.
        """
        ready = self.start(
            name or service,
            "airboss.demo.shop",
            [
                *("--service", service, "--server", server, "--otlp", otlp),
                *("--flags-token-file", str(tokens.flags), "--otlp-token-file", str(tokens.telemetry)),
                *("--fault", fault, "--seed", str(seed), "--seconds", str(seconds), *more),
            ],
        )
        url = str(ready["url"])
        if not name:
            self.urls[service] = url
        return url

    def together(self, one: Callable[[int, str], object]) -> None:
        """Call `one(number, service)` for every service, side by side: each start waits for a process."""
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            list(pool.map(one, range(len(SERVICES)), SERVICES))

    def envoy(self, program: str, bootstrap: Path, *, admin_port: int) -> None:
        """Start an Envoy and return when it serves. Raises NotStarted."""
        argv = [program, "-c", str(bootstrap), "--use-dynamic-base-id", "-l", "warning", "--concurrency", "1"]
        process = self._spawn("envoy", argv)
        deadline = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                line = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=2)
                with contextlib.closing(line):
                    line.request("GET", "/ready")
                    if line.getresponse().status == http.HTTPStatus.OK:
                        return
            time.sleep(LOOK_S)
        raise NotStarted(f"envoy did not come up; the end of {self.logs / 'envoy'}.log:\n{self.tail('envoy')}")

    def load(self, traffic: Traffic) -> Path:
        """Start the customers of every service started so far and return the file they write."""
        out = self.folder / "load.jsonl"
        targets = [part for url in self.urls.values() for part in ("--target", url)]
        numbers = {
            "--rate": traffic.rate,
            "--users": traffic.users,
            "--seconds": traffic.seconds,
            "--seed": traffic.seed,
        }
        self.start(
            "load",
            "airboss.demo.load",
            [*targets, *(str(part) for pair in numbers.items() for part in pair), "--out", str(out)],
            wait=False,
        )
        return out

    def kill(self, name: str) -> None:
        """Kill a process and its children outright, as a power cut would. Nothing of it can say goodbye."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def alive(self) -> Iterator[str]:
        """Yield the names of the processes that run."""
        for name, process in self.processes.items():
            if process.poll() is None:
                yield name

    def wait(self, name: str, timeout_s: float) -> int | None:
        """Wait until a process ends by itself and return its exit code, or None after `timeout_s`."""
        try:
            return self.processes[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Ask every process to end, youngest first, and kill what does not."""
        for name in reversed(list(self.processes)):
            process = self.processes.pop(name)
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_S)
            with contextlib.suppress(ProcessLookupError):  # children of its own, if it left any
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _ready(self, name: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Wait for the line that says a process listens."""
        words = self.logs / f"{name}.out"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            for line in words.read_text(errors="replace").splitlines(keepends=True):
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    if isinstance(said, dict) and line.endswith("\n"):
                        return said
            time.sleep(LOOK_S)
        ended = process.poll()
        what = f"ended with {ended}" if ended is not None else f"did not listen within {START_S:.0f} s"
        raise NotStarted(f"{name} {what}; the end of {self.logs / name}.log:\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 12) -> str:
        """Return the last lines of a process's log."""
        path = self.logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def free_port() -> int:
    """Return a port of loopback that nobody listens on now; another may take it before we do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
