"""The ingest process: OTLP in, sole writer of the telemetry buckets. It opens only what it needs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import IO, Final

import uvicorn
import uvloop

from airboss.faces.server.careful import Careful
from airboss.faces.server.logs import log_to_stderr
from airboss.faces.server.single import alone
from airboss.faces.server.sockets import listen, port_of
from airboss.kernel.clock import Clock, SystemClock
from airboss.kernel.errors import Unauthenticated
from airboss.kernel.ids import SystemChance, TimeOrderedIds
from airboss.kernel.settings import Settings
from airboss.people.access import Actor
from airboss.people.identity import Identity
from airboss.records.journal import Journal
from airboss.records.store import open_store
from airboss.tower.exposures import TowerExposures
from airboss.watch.telemetry import Authenticate, IngestApp, TelemetrySettings, open_bucket_store

log = logging.getLogger("airboss.ingest")

GRACE_S: Final = 3


def run_ingest(settings: Settings, *, listener: socket.socket | None = None, parent: IO[bytes] | None = None) -> None:
    """Take telemetry in until told to stop, or until `parent` (a pipe of whoever started us) ends.

    Raises Invalid, Refused or Unavailable before it listens.
    """
    if listener is not None:
        _take_in(settings, listener, parent, by_itself=False)
        return
    with (
        alone(settings, control=False, ingest=True),
        listen(settings.host, settings.ingest_port, setting="--ingest-port") as opened,
    ):
        _take_in(settings, opened, parent, by_itself=True)


def _take_in(settings: Settings, listener: socket.socket, parent: IO[bytes] | None, *, by_itself: bool) -> None:
    settings = replace(settings, ingest_port=port_of(listener))
    log_to_stderr("ingest")
    clock = SystemClock()
    chance = SystemChance()
    ids = TimeOrderedIds(clock, chance)
    store = open_store(settings.database_url, clock=clock)
    if by_itself:
        store.create()
    # Not opened: this process reads tokens and exposures, and records nothing.
    journal = Journal(store, clock=clock, ids=ids, chance=chance)
    identity = Identity(store, journal, clock=clock, ids=ids, chance=chance)
    buckets = open_bucket_store(settings.buckets_url)

    app = IngestApp(
        store=buckets,
        exposures=TowerExposures(store),
        authenticate=authenticator(identity),
        clock=clock,
        ingester=_name(settings, ids),
        settings=TelemetrySettings(lateness=timedelta(seconds=settings.lateness_s)),
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, settings, listener, parent, clock, by_itself=by_itself))
    finally:
        buckets.close()
        store.close()


def authenticator(identity: Identity) -> Authenticate:
    """Return who sends, by the token in the headers; a session is no token. What it raises is an answer to the sender."""

    def authenticate(headers: Mapping[str, str]) -> Actor:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(
                "telemetry is taken with a token only", way_out="send Authorization: Bearer abt_… (airboss token new)"
            )
        return identity.authenticate_token(secret.strip())

    return authenticate


def _name(settings: Settings, ids: TimeOrderedIds) -> str:
    """Return whose boots these are. A bucket file has one writer ever, so the next start closes the books of one that was
    killed at once; elsewhere several may live, and a dead one is only known by its silence.
    """
    return "sole" if settings.buckets_url.startswith("sqlite") else ids.new("ing")


async def _serve(
    app: IngestApp,
    settings: Settings,
    listener: socket.socket,
    parent: IO[bytes] | None,
    clock: Clock,
    *,
    by_itself: bool,
) -> None:
    config = uvicorn.Config(
        app,
        http=Careful,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    server = Quiet(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    loop.add_signal_handler(signal.SIGTERM, stop)
    if parent is None:
        loop.add_signal_handler(signal.SIGINT, stop)
    else:
        threading.Thread(target=_watch, args=(parent, loop, stop), daemon=True).start()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await clock.wait(0.02)
    if server.started:
        log.info("taking telemetry in on port %d", settings.ingest_port)
        if by_itself:
            otlp = f"{'https' if settings.tls_certificate else 'http'}://{settings.host}:{settings.ingest_port}"
            sys.stdout.write(json.dumps({"event": "ready", "otlp": otlp}) + "\n")
            sys.stdout.flush()
    await serving


class Quiet(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a generator, as in the class above
        """Capture none."""
        yield


def _watch(parent: IO[bytes], loop: asyncio.AbstractEventLoop, stop: object) -> None:
    """Wait for the end of the pipe: whoever started us is gone, killed or not."""
    while parent.read(4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(stop)  # type: ignore[arg-type]
