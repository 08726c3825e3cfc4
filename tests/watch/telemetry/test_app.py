"""The receiver as senders meet it: over HTTP, with tokens, limits and OTLP's own answers."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.otlp import CHANGE, Span, body, exposure, json_body

from airboss.kernel.clock import SystemClock
from airboss.kernel.errors import Unavailable
from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures, ListedSender, ListedSenders
from airboss.watch.telemetry import Flush, IngestApp, SqlBucketStore, TelemetryReader, TelemetrySettings

PROTOBUF = {"authorization": "Bearer good", "content-type": "application/x-protobuf"}
JSON = {"authorization": "Bearer good", "content-type": "application/json"}


def senders() -> ListedSenders:
    return ListedSenders(
        {
            "good": ListedSender(id="tok_good", service="checkout"),
            "collector": ListedSender(id="tok_collector", service="*"),
            "reader": ListedSender(id="tok_reader", service="checkout", scopes=frozenset({"flags.read"})),
            "session": ListedSender(id="usr_a", service="checkout", scopes=None),
            "unbound": ListedSender(id="tok_unbound", service=None),
        }
    )


def build(
    store: SqlBucketStore, clock: Any, exposures: ListedExposures, who: ListedSenders, **limits: Any
) -> IngestApp:
    return IngestApp(
        store=store,
        exposures=exposures,
        authenticate=who,
        clock=clock,
        ingester="ing_a",
        settings=TelemetrySettings(**limits),
    )


@pytest.fixture
def who() -> ListedSenders:
    return senders()


@pytest.fixture
def app(file_store: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, who: ListedSenders) -> IngestApp:
    return build(file_store, clock, exposures, who, max_body_bytes=100_000, max_inflated_bytes=300_000)


async def posted(app: IngestApp, *requests: tuple[str, dict[str, str], bytes]) -> list[httpx.Response]:
    """Post to a started app, then stop it."""
    await app.start()
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://airboss") as client:
            return [await client.post(path, headers=headers, content=data) for path, headers, data in requests]
    finally:
        await app.stop()


def post(app: IngestApp, headers: dict[str, str], data: bytes, path: str = "/v1/traces") -> httpx.Response:
    return asyncio.run(posted(app, (path, headers, data)))[0]


def total(store: SqlBucketStore, clock: ManualClock, service: str = "checkout") -> int:
    reader = TelemetryReader(store, ListedExposures(), TelemetrySettings())
    return reader.window_counts(service, "production", [timedelta(hours=1)], at=clock.now())[0].total


def test_full_success_is_an_empty_answer(app: IngestApp, clock: ManualClock, file_store: SqlBucketStore) -> None:
    """Both encodings, gzip too, are answered in kind, and what was sent is in the store after the stop."""
    spans = [Span(end=clock.now(), exposures=(exposure(1),))]
    answers = asyncio.run(
        posted(
            app,
            ("/v1/traces", PROTOBUF, body(spans)),
            ("/v1/traces", JSON | {"content-encoding": "gzip"}, gzip.compress(json_body(spans))),
            ("/v1/logs", JSON, b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}'),
            ("/v1/metrics", PROTOBUF, b""),
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.headers["content-type"] for answer in answers[:2]] == ["application/x-protobuf", "application/json"]
    assert (answers[0].content, answers[1].json()) == (b"", {})
    assert answers[2].json()["partialSuccess"]["rejectedLogRecords"] == "1"  # without service.name it is not checkout
    assert total(file_store, clock) == 2


def test_partial_success_is_told_as_otlp_says(app: IngestApp, clock: ManualClock, file_store: SqlBucketStore) -> None:
    """Spans of another service are refused and counted in the answer, the sender's own are taken."""
    spans = [Span(end=clock.now()), Span(end=clock.now(), service="cart"), Span(end=clock.now(), service="cart")]
    binary, text = asyncio.run(
        posted(app, ("/v1/traces", PROTOBUF, body(spans)), ("/v1/traces", JSON, json_body(spans)))
    )
    told = ExportTraceServiceResponse.FromString(binary.content).partial_success
    assert (binary.status_code, told.rejected_spans) == (200, 2)
    assert "'checkout'" in told.error_message
    assert text.json()["partialSuccess"] == {"rejectedSpans": "2", "errorMessage": told.error_message}
    assert total(file_store, clock) == 2
    assert total(file_store, clock, "cart") == 0


def test_a_collector_may_write_for_all(app: IngestApp, clock: ManualClock, file_store: SqlBucketStore) -> None:
    """A token bound to `*` writes for every service."""
    post(app, PROTOBUF | {"authorization": "Bearer collector"}, body([Span(end=clock.now(), service="cart")]))
    assert total(file_store, clock, "cart") == 1


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [("", 401, "unauthenticated"), ("wrong", 401, "unauthenticated"), ("reader", 403, "scope-missing"),
     ("session", 403, "scope-missing"), ("unbound", 403, "token-unbound")],
)  # fmt: skip
def test_who_may_not_write_is_refused(
    app: IngestApp, clock: ManualClock, file_store: SqlBucketStore, token: str, status: int, code: str
) -> None:
    """A token is needed, with the scope of its own and bound to a service; a person's session will not do."""
    answer = post(app, JSON | {"authorization": f"Bearer {token}"}, json_body([Span(end=clock.now())]))
    assert (answer.status_code, answer.json()["title"]) == (status, code)
    assert answer.json()["way_out"]
    assert total(file_store, clock) == 0


def test_a_token_is_asked_about_once_in_a_while(app: IngestApp, clock: ManualClock, who: ListedSenders) -> None:
    """The answer about a token is kept for seconds, so the database is not asked for each request."""
    asyncio.run(posted(app, *[("/v1/traces", PROTOBUF, b"")] * 5))
    assert who.asked == 1


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ((PROTOBUF, b"\xff\xff"), (400, "body, after 0 resource_spans")),
        ((JSON, b'{"resourceSpans": 3}'), (400, "resourceSpans")),
        ((PROTOBUF | {"content-encoding": "gzip"}, gzip.compress(b"x" * 100)[:-2]), (400, "body")),
        ((PROTOBUF | {"content-encoding": "gzip"}, gzip.compress(bytes(400_000))), (413, "body")),
        ((PROTOBUF, bytes(100_001)), (413, "body")),
        ((PROTOBUF | {"content-encoding": "br"}, b""), (415, None)),
        ((PROTOBUF | {"content-type": "text/plain"}, b""), (415, None)),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused_whole(
    app: IngestApp,
    clock: ManualClock,
    file_store: SqlBucketStore,
    sent: tuple[dict[str, str], bytes],
    told: tuple[int, str | None],
) -> None:
    """Nothing of a broken or too large body is counted, and the answer says where it is broken, as Status or problem."""
    (headers, data), (status, place) = sent, told
    answer = post(app, headers, data)
    assert answer.status_code == status
    if headers["content-type"] == "application/x-protobuf":
        rpc = Status.FromString(answer.content)
        assert rpc.code in {3, 8}
        assert rpc.message.startswith(place or "content")
    else:
        assert answer.json().get("place") == place
    assert total(file_store, clock) == 0


def test_one_bad_span_refuses_its_whole_request(app: IngestApp, clock: ManualClock, file_store: SqlBucketStore) -> None:
    """Good spans before a broken one are not half-counted."""
    data = body([Span(end=clock.now())]) + b"\x0a\x05\x12\x03\x12\x01\xff"
    assert post(app, PROTOBUF, data).status_code == 400
    assert total(file_store, clock) == 0


def test_other_paths_and_methods(app: IngestApp) -> None:
    """There is nothing else here, and the answer says what there is."""
    answer = post(app, JSON, b"", "/v1/profiles")
    assert (answer.status_code, "/v1/traces" in answer.json()["way_out"]) == (404, True)

    async def got() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://airboss") as client:
            return await client.get("/v1/traces")

    answer = asyncio.run(got())
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_body_without_end_is_cut_off_at_the_limit(app: IngestApp) -> None:
    """A chunked body that never says its length is refused once it is over the limit."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(50_000)

    async def sent() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://airboss") as client:
            return await client.post("/v1/traces", headers=PROTOBUF, content=endless())

    assert asyncio.run(sent()).status_code == 413


class Unwilling(SqlBucketStore):
    """The real store, but its disk is full while `full` is set."""

    full = False

    def flush(self, flush: Flush) -> None:
        if self.full:
            raise Unavailable("the disk is full")
        super().flush(flush)


def test_a_store_that_fails_is_told_and_nothing_is_lost(
    file_store: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, who: ListedSenders
) -> None:
    """While nothing can be written /healthz says so, a full memory answers 503, and all is written later."""
    store = Unwilling(file_store._engine, plain_width_us=10_000_000)
    app = build(store, clock, exposures, who, max_open_cells=1)

    async def story() -> list[httpx.Response]:
        await app.start()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://airboss") as client:
            answers = [await client.get("/healthz")]
            store.full = True
            answers.append(await client.post("/v1/traces", headers=PROTOBUF, content=body([Span(end=clock.now())])))
            with pytest.raises(Unavailable):
                await app.flush()
            clock.advance(11)
            answers.append(await client.post("/v1/traces", headers=JSON, content=json_body([Span(end=clock.now())])))
            answers.append(await client.get("/healthz"))
            store.full = False
            await app.flush()
            answers.append(await client.get("/healthz"))
        await app.stop()
        return answers

    well, taken, busy, ill, again = asyncio.run(story())
    assert [answer.status_code for answer in (well, taken, busy, ill, again)] == [200, 200, 503, 503, 200]
    assert busy.headers["retry-after"] == "3"
    assert ill.json()["status"] == "not writing"
    assert total(file_store, clock) == 1


def test_the_loop_flushes_and_learns_each_second(
    app: IngestApp, clock: ManualClock, file_store: SqlBucketStore, exposures: ListedExposures
) -> None:
    """Without a request or a stop, what came is written after a second, and a new exposure is in force after one."""

    async def second() -> None:
        await until(lambda: bool(clock._sleepers))
        clock.advance(1)
        await until(lambda: app._last_flush == clock.now())

    async def until(holds: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(5_000):
            if holds():
                return
            await asyncio.to_thread(pause.wait, 0.002)
        pytest.fail("the loop did not come round")

    async def story() -> int:
        await app.start()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://airboss") as client:
            await client.post("/v1/traces", headers=PROTOBUF, content=body([Span(end=clock.now())]))
            await second()
            seen = total(file_store, clock)
            exposures.rows = [row(clock.now(), step=7)]
            await second()
            spans = [Span(end=clock.now(), exposures=(exposure(1),))]
            await client.post("/v1/traces", headers=PROTOBUF, content=body(spans))
            await second()
        await app.stop()
        return seen

    assert asyncio.run(story()) == 1
    assert [series.step for series in file_store.series_of(CHANGE)] == [7]


@pytest.fixture
def address(file_store: SqlBucketStore, exposures: ListedExposures, who: ListedSenders) -> Iterator[str]:
    """A real server on loopback with the machine's clock."""
    exposures.rows = [row(SystemClock().now() - timedelta(minutes=1))]
    app = build(file_store, SystemClock(), exposures, who)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    started = threading.Event()

    async def serve() -> None:
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started and not serving.done():
            await asyncio.wait([serving], timeout=0.01)
        started.set()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(20)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_ordinary_sdk_is_understood(address: str, file_store: SqlBucketStore, compression: Compression) -> None:
    """The OpenTelemetry SDK with its own exporter, unchanged, is counted by arm through a real server."""
    resource = Resource({"service.name": "checkout", "deployment.environment.name": "production"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        f"{address}/v1/traces", headers={"authorization": "Bearer good"}, compression=compression
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for number in range(30):
        with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as span:
            arm = "canary" if number < 10 else "baseline"
            span.set_attribute("airboss.exposure", [exposure(number, arm=arm)])
            if number < 3:
                span.set_status(StatusCode.ERROR, "card refused")
            with tracer.start_as_current_span("price"):
                pass
    provider.shutdown()
    now = SystemClock().now()
    reader = TelemetryReader(file_store, ListedExposures(), TelemetrySettings())

    def written() -> bool:
        return (
            reader.window_counts("checkout", "production", [timedelta(minutes=5)], at=SystemClock().now())[0].total > 0
        )

    ticks = threading.Event()
    for _ in range(100):
        if written():
            break
        ticks.wait(0.1)
    (window,) = reader.window_counts("checkout", "production", [timedelta(minutes=5)], at=now + timedelta(seconds=10))
    assert (window.total, window.bad) == (30, 3)
    series = reader.bucket_series(
        CHANGE, "checkout", "production", start=now - timedelta(minutes=1), end=now + timedelta(seconds=10), now=now
    )
    assert (series.canary.requests.sum(), series.canary.bad.sum(), series.baseline.requests.sum()) == (10, 3, 20)
    coverage = reader.coverage(now=now)
    assert [(one.signal, one.total, one.current) for one in coverage] == [("traces", 30, 30)]
