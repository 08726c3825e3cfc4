"""The control process: API, pages, tower, sequencer and checkpoints on one event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import uvicorn
import uvloop

from airboss.bootstrap import House, build, open_folder
from airboss.faces.api import clock_agrees, create_app
from airboss.faces.server.careful import Careful
from airboss.faces.server.ingest import Quiet
from airboss.faces.server.keeper import IngestKeeper, first
from airboss.faces.server.logs import log_to_stderr
from airboss.faces.server.single import alone
from airboss.faces.server.sockets import is_loopback, listen, port_of
from airboss.faces.server.traces import traced
from airboss.kernel.clock import Clock, SystemClock
from airboss.kernel.errors import AirbossError, Invalid, Refused
from airboss.kernel.settings import Settings

log = logging.getLogger("airboss.serve")

SEQUENCE_S: Final = 0.2
CHECKPOINT_S: Final = 0.5
GRACE_S: Final = 4
AGAIN_S: Final = 1.0
END_OF_ANOTHER_S: Final = 5.0
THREADS: Final = 32
"""For what waits on the database: looks of the tower, streams, tokens."""


def run_control(settings: Settings, *, with_ingest: bool) -> None:
    """Run control until told to stop. Raises Invalid, Refused or Unavailable before it listens."""
    open_folder(settings)
    _check_tls(settings)
    clock = SystemClock()
    with (
        alone(settings, control=True, ingest=with_ingest),
        listen(settings.host, settings.port, setting="--port") as listener,
    ):
        settings = replace(settings, port=port_of(listener))
        if with_ingest:
            with _listen_for_telemetry(settings, clock) as telemetry:
                _run(replace(settings, ingest_port=port_of(telemetry)), listener, telemetry, clock)
        else:
            _run(settings, listener, None, clock)


def _run(settings: Settings, listener: socket.socket, telemetry: socket.socket | None, clock: Clock) -> None:
    log_to_stderr("control")
    house = build(settings, clock=clock)
    try:
        _check_exposed(house)
        _tell_of_the_clock(house)
        link = house.identity.first_admin_link(settings.data, base_url=settings.base_url)
        with traced("control", settings), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(house, listener, telemetry, link))
    finally:
        house.close()


async def _serve(house: House, listener: socket.socket, telemetry: socket.socket | None, link: str | None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="airboss"))
    settings, clock = house.settings, house.clock
    app = create_app(house, **_pages(house))
    server = _Server(_config(app, settings), on_ready=lambda: _say_ready(settings, link, otlp=telemetry is not None))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loops = [
        asyncio.create_task(_kept("the tower", house.tower.run, stop, clock)),
        asyncio.create_task(_each("sequencer", house.store.sequence, SEQUENCE_S, stop, clock)),
        asyncio.create_task(_each("checkpoints", house.checkpoints.write_due, CHECKPOINT_S, stop, clock)),
    ]
    if telemetry is not None:
        keeper = IngestKeeper(settings, telemetry, clock)
        loops.append(asyncio.create_task(_kept("the ingest's keeper", keeper.run, stop, clock)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await first(stop.wait(), asyncio.shield(serving))
    # Streams end first: a server that waits for them would wait for ever.
    app.state.live.close()
    stop.set()
    server.should_exit = True
    await asyncio.gather(serving, *loops)
    await _sign_the_end(house)
    log.info("stopped")


async def _sign_the_end(house: House) -> None:
    try:
        await asyncio.to_thread(house.checkpoints.write_now)
    except AirbossError as fault:
        log.warning("the last facts are signed by the next start: %s", fault)


async def _kept(name: str, run: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event, clock: Clock) -> None:
    """Run a loop until `stop`; a bug in it is loud and does not end the server."""
    while not stop.is_set():
        try:
            await run(stop)
        except Exception:
            log.exception("%s fell over and is started again", name)
            await first(stop.wait(), clock.wait(AGAIN_S))


async def _each(name: str, work: Callable[[], object], every_s: float, stop: asyncio.Event, clock: Clock) -> None:
    """Do something in a thread again and again until `stop`. What keeps failing alike is told once."""
    told = ""
    while not stop.is_set():
        try:
            await asyncio.to_thread(work)
        except AirbossError as fault:
            if str(fault) != told:
                told = str(fault)
                log.warning("%s: %s", name, fault)
        except Exception as fault:
            if repr(fault) != told:
                told = repr(fault)
                log.exception("%s failed", name)
        else:
            told = ""
        await first(stop.wait(), clock.wait(every_s))


class _Server(Quiet):
    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _config(app: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Careful,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips="*" if settings.behind_proxy else None,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )


def _pages(house: House) -> dict[str, Any]:
    """Return the pages, where they are installed."""
    from airboss.faces import web  # noqa: PLC0415 - loaded with the server only

    make = getattr(web, "routes", None)
    page = getattr(web, "error_page", None)
    found: dict[str, Any] = {} if make is None else {"web_routes": make(house)}
    return found if page is None else {**found, "error_page": page(house)}


def _say_ready(settings: Settings, link: str | None, *, otlp: bool) -> None:
    scheme = "https" if settings.tls_certificate else "http"
    taking = f"{scheme}://{settings.host}:{settings.ingest_port}" if otlp else None
    if sys.stdout.isatty():
        lines = [f"Airboss listens on {settings.base_url}"]
        if taking:
            lines.append(f"Telemetry (OTLP over HTTP): {taking}")
        if link:
            lines += [
                "",
                "Nobody runs this server yet. This link makes the first admin, once, within 15 minutes:",
                link,
            ]
        sys.stdout.write("\n".join(lines) + "\n")
    else:
        if link:
            sys.stdout.write(json.dumps({"event": "first_admin", "link": link}) + "\n")
        ready = {"event": "ready", "url": settings.base_url, "otlp": taking, "pid": os.getpid()}
        sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


def _check_tls(settings: Settings) -> None:
    """Raise Invalid unless certificate and key are both there or both absent."""
    for path in (settings.tls_certificate, settings.tls_key):
        if path is not None and not path.is_file():
            raise Invalid(f"there is no file {path}", code="bad-setting", way_out="name certificate and key files")
    if (settings.tls_certificate is None) is not (settings.tls_key is None):
        raise Invalid(
            "TLS takes a certificate and its key", code="bad-setting", way_out="give --tls-certificate and --tls-key"
        )


def _check_exposed(house: House) -> None:
    """Raise Refused for a server that others could reach without protection, or before anybody runs it."""
    settings = house.settings
    if is_loopback(settings.host):
        return
    if settings.tls_certificate is None and not settings.behind_proxy:
        raise Refused(
            f"{settings.host} can be reached by others, and what they send would go in the open",
            code="exposed-without-tls",
            way_out="give --tls-certificate and --tls-key, or --behind-proxy where a proxy does TLS, or use --host 127.0.0.1",
        )
    with house.store.read() as connection:
        empty = house.identity.persons.is_empty(connection)
    if empty:
        raise Refused(
            "nobody runs this server yet, and others could reach it",
            code="exposed-without-admin",
            way_out="make the first admin on --host 127.0.0.1, or with: airboss user add NAME --role admin --local",
        )


def _tell_of_the_clock(house: House) -> None:
    """Warn of a clock that was set back. The server starts all the same: people must be able to take changes back."""
    agrees, sentence = clock_agrees(house)
    if not agrees:
        log.warning("the clock of this machine %s", sentence)


def _listen_for_telemetry(settings: Settings, clock: Clock) -> socket.socket:
    """Open the telemetry port. The child of a server that was just killed may hold it for a moment longer."""
    until = clock.monotonic() + END_OF_ANOTHER_S
    while True:
        try:
            return listen(settings.host, settings.ingest_port, setting="--ingest-port")
        except Refused as fault:
            if fault.code != "port-taken" or clock.monotonic() >= until:
                raise
            asyncio.run(clock.wait(0.05))
