"""The shop is an ordinary service: it reports what it serves, and serves whether or not Airboss is there."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from airboss.demo.world import Tokens, World, free_port


class _Sink(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps it, with the authorisation it came with."""

    def __init__(self) -> None:
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []
        self.arrived = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: _Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.server.received.append((self.headers["authorization"], ExportTraceServiceRequest.FromString(body)))
            self.server.arrived.set()
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def sink() -> Iterator[_Sink]:
    server = _Sink()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _token(folder: Path, text: str) -> Path:
    path = folder / f"{text}.token"
    path.write_text(text + "\n")
    return path


def _get(url: str, headers: dict[str, str], *, path: str | None = None) -> tuple[int, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", path or parts.path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("shop-variant", "")


def test_the_shop_serves_without_airboss_and_reports_every_request(tmp_path: Path, sink: _Sink) -> None:
    """With no flag server the old engine serves everybody, and spans still tell each request with its status."""
    with World(tmp_path) as processes:
        url = processes.shop(
            "checkout",
            server=f"http://127.0.0.1:{free_port()}",
            otlp=sink.address,
            tokens=Tokens(flags=_token(tmp_path, "flags"), telemetry=_token(tmp_path, "otlp")),
            fault="severe",
            seed=1,
            seconds=60,
        )
        good = [_get(url, {"shop-customer": f"user-{number:06d}", "shop-build": "4.0"}) for number in range(20)]
        refused = _get(url, {"shop-customer": "user-000001", "shop-build": "3.1"})
        nobody = _get(url, {})
        elsewhere = _get(url, {"shop-customer": "user-000001"}, path="/nowhere")
        assert sink.arrived.wait(10)
    assert {variant for _, variant in good} == {"off"}
    assert [status for status, _ in good].count(200) >= 18
    assert refused == (500, "off")
    assert (nobody[0], elsewhere[0]) == (400, 404)
    spans, names = [], set()
    for authorization, request in sink.received:
        assert authorization == "Bearer otlp"
        for resource in request.resource_spans:
            names |= {item.value.string_value for item in resource.resource.attributes if item.key == "service.name"}
            spans += [span for scope in resource.scope_spans for span in scope.spans]
    assert names == {"checkout"}
    assert len(spans) == 21
    failed = [span for span in spans if span.status.code == 2]
    assert len(failed) == 21 - [status for status, _ in good].count(200)
