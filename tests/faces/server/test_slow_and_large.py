"""Requests that are slow or without end, over a real connection: refused in time, nothing held, the server answers on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faces.api.test_live import Listening, Served
from tests.faces.server.test_processes import until

from airboss.faces.server import careful
from airboss.faces.server.ingest import authenticator
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import IngestApp, TelemetrySettings

HOST = b"Host: 127.0.0.1:8700\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    desk = Served(tmp_path_factory.mktemp("served"))
    yield desk
    desk.stop()
    desk.close()


def told(url: str, *sent: bytes) -> dict[str, Any]:
    """Send bytes, wait until the server ends the connection, and return its problem."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            for piece in sent:
                connection.sendall(piece)
        except OSError:
            pass  # it was refused before it was all sent
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"json" in head, answer[:500]
    found: dict[str, Any] = json.loads(body)
    assert found["way_out"]
    assert found["detail"]
    return found


def answers(desk: Served) -> bool:
    host, port = desk.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        return connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (careful.HEAD_MOST + 1) + b"\r\n\r\n",),
        (b"GET /healthz HTTP/1.1\r\n" + HOST, *[b"X: " + b"a" * 1000 + b"\r\n"] * 80),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: ", *[b"a" * 8192] * 8),
        (b"GET /" + b"a" * (careful.HEAD_MOST + 1) + b" HTTP/1.1\r\n" + HOST + b"\r\n",),
    ],
    ids=["at once", "many", "without end", "address"],
)
def test_a_head_without_end_is_refused(served: Served, sent: tuple[bytes, ...]) -> None:
    """However it is cut, a head beyond 64 KiB is refused and its connection ends."""
    assert told(served.url, *sent)["code"] == "head-too-large"
    assert answers(served)


@pytest.mark.parametrize("sent", [(), (b"GET /healthz HTTP/1.1\r\nX: slow",)], ids=["nothing", "half a head"])
def test_a_head_that_does_not_come_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, sent: tuple[bytes, ...]
) -> None:
    """A connection that sends nothing, or half a head, is ended in time."""
    monkeypatch.setattr(careful, "HEAD_S", 0.2)
    assert told(served.url, *sent)["code"] == "head-too-slow"


def test_a_body_that_does_not_come_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops half way is ended in time, and nothing of it was done."""
    monkeypatch.setattr(careful, "BODY_S", 0.3)
    secret = served.token("admin", scopes=["read", "admin"])
    head = (
        b"POST /api/v1/people HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nContent-Length: 100\r\n"
        + f"Authorization: Bearer {secret}\r\n\r\n".encode()
    )
    assert told(served.url, head, b'{"handle": "dev-z"')["code"] == "body-too-slow"
    assert "dev-z" not in served.browser("admin").get("/api/v1/people").text


def test_a_body_of_twenty_megabytes_is_not_read(served: Served) -> None:
    """It is refused by its length before a byte of it is read, and the server answers on."""
    secret = served.token("admin", scopes=["read", "admin"])
    start = b"POST /api/v1/apply HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nConnection: close\r\n"
    mine = f"Authorization: Bearer {secret}\r\n".encode()
    assert told(served.url, start + mine + b"Content-Length: 20971520\r\n\r\n")["code"] == "body-too-large"
    assert answers(served)


def test_a_body_the_receiver_waits_for_comes_in_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telemetry that stops half way is ended in time, also where it was refused before it was read; what it held is free."""
    monkeypatch.setattr(careful, "BODY_S", 0.3)
    secret = served.token("admin", personal=False, service="*", scopes=["telemetry.write"])
    receiver = IngestApp(
        store=served.house.buckets,
        exposures=ListedExposures([]),
        authenticate=authenticator(served.house.identity),
        clock=served.house.clock,
        ingester="ing_test",
        settings=TelemetrySettings(),
    )
    taking = Listening(receiver)
    head = b"POST /v1/traces HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 1000\r\n"
    known = head + f"Authorization: Bearer {secret}\r\n\r\n".encode()
    try:
        assert told(taking.url, known, b"{" * 100)["code"] == "body-too-slow"
        until(lambda: receiver._held == 0)
        unread = told(taking.url, head + b"\r\n", b"{" * 100)
        assert unread["title"] == "unauthenticated"
    finally:
        taking.stop()
