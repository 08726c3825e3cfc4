"""Who may send telemetry: real tokens at the real receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from tests.faces.api.desk import Desk
from tests.watch.telemetry.otlp import Span, body, json_body

from airboss.faces.server.ingest import authenticator
from airboss.testing import ManualClock, SeededChance
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import IngestApp, TelemetrySettings


@pytest.fixture
def desk(tmp_path: Path, clock: ManualClock, chance: SeededChance) -> Iterator[Desk]:
    opened = Desk(tmp_path, clock, chance)
    yield opened.organised()
    opened.close()


def send(desk: Desk, clock: ManualClock, authorization: str | None, data: bytes, kind: str) -> httpx.Response:
    """Post one body to a receiver that has just been started over the house's bucket store."""
    app = IngestApp(
        store=desk.house.buckets,
        exposures=ListedExposures([]),
        authenticate=authenticator(desk.house.identity),
        clock=clock,
        ingester="ing_test",
        settings=TelemetrySettings(),
    )

    async def posted() -> httpx.Response:
        await app.start()
        headers = {"content-type": kind} | ({"authorization": authorization} if authorization else {})
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://airboss") as client:
            answer = await client.post("/v1/traces", headers=headers, content=data)
        await app.stop()
        return answer

    return asyncio.run(posted())


def counted(desk: Desk, clock: ManualClock, service: str = "checkout") -> int:
    (counts,) = desk.house.telemetry.window_counts(
        service, "production", [timedelta(minutes=1)], at=clock.now() + timedelta(seconds=1)
    )
    return counts.total


def test_tokens_at_the_receiver_are_as_good_as_their_scope_service_and_time(desk: Desk, clock: ManualClock) -> None:
    """None, garbage, a narrow one, one that was revoked and one whose time is over each get a clear answer and count
    nothing; a foreign service's items are rejected by name; the right token counts.
    """
    protobuf, json_ = "application/x-protobuf", "application/json"
    good = desk.token("admin", personal=False, service="checkout", scopes=["telemetry.write"])
    narrow = desk.token("admin", personal=False, service="checkout", scopes=["changes.write"])
    foreign = desk.token("admin", personal=False, service="search", scopes=["telemetry.write"])
    span = Span(end=clock.now())
    for authorization, status in (
        (None, 401),
        ("Basic abc", 401),
        ("Bearer abt_unknown", 401),
        (f"Bearer {good[:-1]}", 401),
        (f"Bearer {narrow}", 403),
    ):
        answer = send(desk, clock, authorization, json_body([span]), json_)
        assert answer.status_code == status, authorization
        told = answer.json()
        assert told["detail"]
        assert told["way_out"]
        assert "Traceback" not in answer.text
    partial = send(desk, clock, f"Bearer {foreign}", body([span]), protobuf)
    told = ExportTraceServiceResponse.FromString(partial.content).partial_success
    assert (partial.status_code, told.rejected_spans) == (200, 1)
    assert "'search'" in told.error_message
    assert counted(desk, clock) == counted(desk, clock, "search") == 0
    assert send(desk, clock, f"Bearer {good}", body([span]), protobuf).content == b""
    assert counted(desk, clock) == 1
    clock.advance(2 * 86400)
    late = send(desk, clock, f"Bearer {good}", json_body([Span(end=clock.now())]), json_)
    assert late.status_code == 401
    assert counted(desk, clock) == 0


def test_a_body_of_twenty_megabytes_is_refused_unread(desk: Desk, clock: ManualClock) -> None:
    """The answer says how much is read at most and what to set; nothing is counted."""
    token = desk.token("admin", personal=False, service="checkout", scopes=["telemetry.write"])
    answer = send(desk, clock, f"Bearer {token}", bytes(20 << 20), "application/json")
    assert answer.status_code == 413
    assert "4,194,304" in answer.json()["detail"]
    assert "smaller batches" in answer.json()["way_out"]


def test_a_collectors_token_writes_for_every_service(desk: Desk, clock: ManualClock) -> None:
    """A token bound to every service, as the collector's page says to make it, counts for whichever service is named."""
    token = desk.token("admin", personal=False, service="*", scopes=["telemetry.write"])
    for service in ("checkout", "search"):
        answer = send(
            desk, clock, f"Bearer {token}", body([Span(end=clock.now(), service=service)]), "application/x-protobuf"
        )
        assert (answer.status_code, answer.content) == (200, b"")
        assert counted(desk, clock, service) == 1
