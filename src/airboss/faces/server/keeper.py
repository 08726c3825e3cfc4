"""Keeps the ingest running as a child of control: started, started again when it dies, ended with us.

The listening socket is ours and is handed down, so no sender meets a closed port while a new child starts. The child's
standard input is a pipe of ours: when it ends, however we ended, the child ends too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from airboss.kernel.clock import Clock
from airboss.kernel.settings import Settings

log = logging.getLogger("airboss.serve")

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
LIVED_S: Final = 10.0
"""A child that lived so long did not die of its start; the next is started at once."""
END_S: Final = 5.0
_PATHS: Final = frozenset({"data", "tls_certificate", "tls_key"})


class IngestKeeper:
    """One child at a time."""

    def __init__(self, settings: Settings, listener: socket.socket, clock: Clock) -> None:
        self._settings = settings
        self._listener = listener
        self._clock = clock
        self.pid: int | None = None
        self.started = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a child until `stop`; whatever becomes of it, this goes on."""
        wait_s = FIRST_WAIT_S
        while not stop.is_set():
            began = self._clock.monotonic()
            try:
                code = await self._one(stop)
            except OSError as fault:
                code = None
                log.error("the ingest could not be started: %s", fault)  # noqa: TRY400 - the fault says all of it
            if stop.is_set():
                return
            lived = self._clock.monotonic() - began
            wait_s = FIRST_WAIT_S if lived >= LIVED_S else min(2 * wait_s, LONGEST_WAIT_S)
            log.error("the ingest ended (%s) after %.1f s; it is started again in %.1f s", _death(code), lived, wait_s)
            await first(stop.wait(), self._clock.wait(wait_s))

    async def _one(self, stop: asyncio.Event) -> int | None:
        descriptor = self._listener.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "airboss.faces.server",
            str(descriptor),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            pass_fds=(descriptor,),
        )
        self.pid = process.pid
        self.started += 1
        assert process.stdin is not None, "asked for above"
        with contextlib.suppress(OSError):  # it died already, and is waited for below
            process.stdin.write(settings_line(self._settings))
            await process.stdin.drain()
        await first(process.wait(), stop.wait())
        if process.returncode is None:
            process.stdin.close()
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                log.warning("the ingest did not end within %g s and is killed", END_S)
                process.kill()
                await process.wait()
        self.pid = None
        return process.returncode


async def first(*waits: Any) -> None:
    """Wait until one of several has come, and let go of the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def settings_line(settings: Settings) -> bytes:
    """Return settings as one line. They may hold a database's password: never put them on a command line."""
    return json.dumps(asdict(settings), default=str).encode() + b"\n"


def read_settings_line(line: bytes) -> Settings:
    """Return the settings of `settings_line`."""
    given: dict[str, Any] = json.loads(line)
    for name in _PATHS:
        given[name] = None if given[name] is None else Path(given[name])
    return Settings(**{**given, "hosts": tuple(given["hosts"])})


def _death(code: int | None) -> str:
    if code is None:
        return "not started"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
