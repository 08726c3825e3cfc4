"""Spans a second of processor time, from bytes to counters and end to end, beside OpenTelemetry's generated classes.

512 spans a request, eight attributes a span, one exposure element of a change in flight each. The peer reads the same
columns out of the same bytes through `opentelemetry-proto`; rounds are interleaved.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import random  # noqa: TID251 (a measurement is the machine's own time and chance)
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from airboss.kernel.clock import SystemClock, to_micros
from airboss.sdk.ids import encode, uuid7
from airboss.testing.telemetry import ListedExposures, ListedSender, ListedSenders
from airboss.watch.telemetry import (
    ANY_SERVICE,
    ActiveExposure,
    Ingest,
    IngestApp,
    ProtobufReader,
    TelemetryReader,
    TelemetrySettings,
    open_bucket_store,
)
from bench.table import Effort, Row, Sample, interleaved, named, over

SPANS = 512
CHANGE = encode("chg", uuid7(1_767_600_000_000, b"0123456789"))
PLAIN = (
    "http.request.method",
    "url.path",
    "http.route",
    "server.address",
    "user_agent.original",
    "network.peer",
    "url.scheme",
)


def make(resources: int, services: int, chance: random.Random) -> ExportTraceServiceRequest:
    request, now = ExportTraceServiceRequest(), time.time_ns()
    for number in range(resources):
        block = request.resource_spans.add()
        attributes = {
            "service.name": f"shop-{number % services}",
            "deployment.environment.name": "production",
            "service.instance.id": f"pod-{number}",
            "service.version": "2.4.0",
        }
        for key, value in attributes.items():
            block.resource.attributes.add(key=key).value.string_value = value
        scope = block.scope_spans.add()
        for _ in range(SPANS // resources):
            took = int(chance.lognormvariate(16, 0.6))
            span = scope.spans.add(
                trace_id=chance.randbytes(16),
                span_id=chance.randbytes(8),
                parent_span_id=chance.randbytes(8),
                name="GET /cart",
                kind=2,
                start_time_unix_nano=now - took,
                end_time_unix_nano=now,
                flags=0x301,
            )
            for key in PLAIN:
                span.attributes.add(key=key).value.string_value = "a usual value"
            arm = "canary" if chance.random() < 0.1 else "baseline"
            element = (
                f"{CHANGE}/{arm}/{chance.randrange(100)}/{chance.randrange(50_000) * 0x9E3779B97F4A7C15 % 2**64:016x}"
            )
            span.attributes.add(key="airboss.exposure").value.array_value.values.add().string_value = element
            span.status.code = 2 if chance.random() < 0.01 else 0
    return request


def rate(work: Callable[[bytes], object], bodies: list[bytes], seconds: float) -> float:
    """Return spans a second of processor time: the machine may be shared."""
    done, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        work(bodies[done % len(bodies)])
        done += 1
    return done * SPANS / (time.process_time() - start)


def generated(data: bytes) -> int:
    """The same columns, read through opentelemetry-proto's classes."""
    rows = []
    for block in ExportTraceServiceRequest.FromString(data).resource_spans:
        resource = {pair.key: pair.value.string_value for pair in block.resource.attributes}
        for scope in block.scope_spans:
            for span in scope.spans:
                found = [
                    value.string_value
                    for pair in span.attributes
                    if pair.key == "airboss.exposure"
                    for value in pair.value.array_value.values
                ]
                rows.append(
                    (
                        resource["service.name"],
                        span.kind,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code,
                        found,
                    )
                )
    return len(rows)


def exposures(services: int) -> list[ActiveExposure]:
    start = datetime.now(UTC) - timedelta(minutes=1)  # noqa: TID251
    return [
        ActiveExposure(
            change_id=CHANGE,
            design="ramp",
            service=f"shop-{number}",
            environment="production",
            unit="shop",
            attempt=1,
            step=1,
            start=start,
            end=None,
            percent=10,
        )
        for number in range(services)
    ]


def counter(services: int) -> Callable[[bytes], None]:
    """Return what the receiver does with a body, but for HTTP and the store: read it, and count."""
    ingest, reader = Ingest(TelemetrySettings()), ProtobufReader()
    ingest.load_subjects(CHANGE, [])
    ingest.update(exposures(services), known=frozenset(), now_us=to_micros(datetime.now(UTC)))  # noqa: TID251

    def work(data: bytes) -> None:
        ingest.accept(
            reader.read(data, "traces"),
            signal="traces",
            sender_service=ANY_SERVICE,
            received_us=int(time.time() * 1e6),  # noqa: TID251
        )

    return work


def post(address: tuple[str, int], bodies: list[bytes], token: str, done: Callable[[], bool]) -> int:
    """Post one request after the other until `done`. Return how many spans were taken."""
    connection = http.client.HTTPConnection(*address)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/x-protobuf"}
    sent = 0
    while not done():
        connection.request("POST", "/v1/traces", bodies[sent % len(bodies)], headers)
        answer = connection.getresponse()
        told = answer.read()
        assert answer.status == 200, told
        sent += 1
    return sent * SPANS


def send(address: tuple[str, int], bodies: list[bytes], seconds: float, counted: multiprocessing.Queue[int]) -> None:
    """Post for so long, in a process of its own."""
    until = time.perf_counter() + seconds
    counted.put(post(address, bodies, "t", lambda: time.perf_counter() >= until))


def end_to_end(resources: int, services: int, seconds: float, clients: int = 2) -> tuple[float, float]:
    """Return spans a second, of wall time and of the receiver's processor time, through uvicorn and into SQLite.

    Every span sent is asserted to be in the store, as another process would read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'telemetry.db'}"
        rows = ListedExposures(exposures(services))
        app = IngestApp(
            store=open_bucket_store(url),
            exposures=rows,
            clock=SystemClock(),
            ingester="ing_bench",
            authenticate=ListedSenders({"t": ListedSender(id="tok_bench", service=ANY_SERVICE)}),
            # The same bodies are sent for seconds, and must not grow late.
            settings=TelemetrySettings(lateness=timedelta(minutes=1)),
        )
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", http="httptools", access_log=False))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)  # noqa: TID251
        chance = random.Random(1)
        bodies = [make(resources, services, chance).SerializeToString() for _ in range(20)]
        spawned = multiprocessing.get_context("spawn")
        counted = spawned.Queue()
        senders = [
            spawned.Process(target=send, args=(listening.getsockname(), bodies, seconds, counted))
            for _ in range(clients)
        ]
        for one in senders:
            one.start()
        used = time.process_time()
        sent = sum(counted.get() for _ in senders)
        used = time.process_time() - used
        for one in senders:
            one.join()
        server.should_exit = True
        thread.join()
        reader = TelemetryReader(open_bucket_store(url), rows, TelemetrySettings())
        names = [f"shop-{number}" for number in range(services)]
        at = datetime.now(UTC)  # noqa: TID251
        seen = sum(reader.window_counts(name, "production", [timedelta(minutes=5)], at=at)[0].total for name in names)
        assert seen == sent, (seen, sent)
        return sent / seconds, sent / used


def rows(effort: Effort) -> Iterator[Row]:
    chance, reader = random.Random(7), ProtobufReader()
    rounds, part = effort.of(5, quick=2), effort.of(10, quick=3) / 10
    for resources, services in ((32, 32), (32, 1), (1, 1)):
        bodies = [make(resources, services, chance).SerializeToString() for _ in range(20)]
        count = counter(services)
        walls: list[float] = []

        def whole(resources: int = resources, services: int = services, walls: list[float] = walls) -> float:
            wall, used = end_to_end(resources, services, 2 * part)
            walls.append(wall)
            return used

        found = interleaved(
            {
                "generated": lambda bodies=bodies: rate(generated, bodies, part),
                "slim": lambda bodies=bodies: rate(lambda data: reader.read(data, "traces"), bodies, part),
                "counted": lambda bodies=bodies, count=count: rate(count, bodies, part),
                "whole": whole,
            },
            rounds,
        )
        is_goal = (resources, services) == (32, 32)
        proto = found["generated"]
        yield Row(
            what=f"OTLP end to end, one core, {resources} resources of {services} services a request",
            ours=found["whole"].told(0, "spans a second"),
            peer=f"{named('opentelemetry-proto')}, columns only: {proto.told(0, 'spans a second')}",
            ratio=f"{over(found['slim'], proto).told(1)}× for the same columns",
            goal="≥ 150,000 (aim 250,000)" if is_goal else "",
            reached=found["whole"].median >= 150_000 if is_goal else None,
            note=f"reading alone {found['slim'].told(0)}, reading and counting {found['counted'].told(0)}; by the clock, with "
            f"two senders on the same cores, {Sample(tuple(walls)).told(0)}",
        )
