"""The server's own spans, as somebody's collector gets them."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.faces.server.test_processes import running, until

from airboss.bootstrap import read_settings
from airboss.kernel.settings import Settings

CALLER = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A place on loopback that takes OTLP in, and the spans it got."""
    got: list[dict[str, Any]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {one.key: one.value.string_value for one in resource.resource.attributes}
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    said = {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
                    got.append(
                        {"name": span.name, "trace": span.trace_id.hex(), "kind": span.kind, "resource": about, **said}
                    )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", port=0, ingest_port=0)


def test_a_request_is_a_span_of_its_callers_trace_with_route_status_and_change(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by its route, not its address; a refusal too; a log line about it names the trace; a health check is none."""
    with collector() as (address, got):
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with running(replace(settings, spans_to=address)) as (process, told, _):
            change = "chg_01jzq7m0ykf6s9v1q2w3e4r5t6"
            answer = httpx.get(
                f"{told['url']}/api/v1/changes/{change}", headers={"traceparent": f"00-{CALLER}-b7ad6b7169203331-01"}
            )
            assert answer.status_code == 401
            httpx.get(f"{told['url']}/healthz")
            until(lambda: any(span["trace"] == CALLER for span in got))
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    (span,) = [span for span in got if span["trace"] == CALLER]
    assert span["name"] == "GET /api/v1/changes/{change}"
    assert span["kind"] == 2
    assert span["http.response.status_code"] == 401
    assert span["airboss.change.id"] == change
    assert span["resource"]["service.name"] == "airboss"
    assert span["resource"]["deployment.environment.name"] == "test"
    assert not [span for span in got if "healthz" in span["name"]]


def test_a_collector_that_is_away_costs_spans_and_nothing_else(settings: Settings) -> None:
    """The server answers, ends in order and soon, and says where it meant to send."""
    with running(replace(settings, spans_to="http://127.0.0.1:9/v1/traces")) as (process, told, _):
        assert httpx.get(f"{told['url']}/api/v1/changes").status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().decode().splitlines()]
    assert any(line["message"] == "spans are sent to http://127.0.0.1:9/v1/traces" for line in lines)


def test_where_spans_go_is_said_by_us_or_by_opentelemetry() -> None:
    """Our own setting first, then the variable for traces as it is, then the general one with the path; off is off."""
    general = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}
    assert read_settings({}).spans_to is None
    assert read_settings(general).spans_to == "http://c:4318/v1/traces"
    assert read_settings(general | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}).spans_to == "http://t/x"
    assert read_settings(general | {"AIRBOSS_SPANS_TO": "http://a/v1/traces"}).spans_to == "http://a/v1/traces"
    assert read_settings(general | {"OTEL_SDK_DISABLED": "true"}).spans_to is None
