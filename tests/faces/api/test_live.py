"""Streams of what moves, over a real connection."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.faces.api.desk import Desk

from airboss.faces.api import create_app, live
from airboss.faces.server.careful import Careful
from airboss.faces.server.ingest import Quiet
from airboss.faces.server.sockets import listen, port_of
from airboss.kernel.clock import SystemClock
from airboss.testing import SeededChance


class Listening:
    """An application on a real port, behind the protocol of our servers."""

    def __init__(self, app: Any, port: int = 0) -> None:
        listener = listen("127.0.0.1", port, setting="--port")
        self.url = f"http://127.0.0.1:{port_of(listener)}"
        config = uvicorn.Config(
            app, lifespan="auto", log_config=None, ws="none", http=Careful, timeout_graceful_shutdown=5
        )
        self._server = Quiet(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


class Served(Desk):
    """A desk whose API listens on a real port, on real time."""

    def __init__(self, folder: Path, *, hosts: str | None = None) -> None:
        super().__init__(folder, SystemClock(), SeededChance(11), hosts=hosts)
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._listening = Listening(self.app, port)
        self.url = self._listening.url

    def stop(self) -> None:
        self.app.state.live.close()
        self._listening.stop()

    def restart(self) -> None:
        """End the server with its streams, and start another on the same house and port."""
        self.stop()
        self.app = create_app(self.house)
        self._listen(int(self.url.rpartition(":")[2]))

    @contextmanager
    def follow(self, path: str, secret: str, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
        sent = {"Authorization": f"Bearer {secret}", "Host": "127.0.0.1:8700", **headers}
        with httpx.stream("GET", self.url + path, headers=sent, timeout=20) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line and event:
            yield event
            event = {}
        elif name == "data":
            event["data"] = json.loads(value)
        elif name in ("event", "id"):
            event[name] = value


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(live, "KEEPALIVE_S", 0.3)
    monkeypatch.setattr(live, "RECHECK_S", 0.5)
    opened = Served(tmp_path)
    yield opened
    opened.stop()
    opened.close()


def test_a_move_is_delivered_and_what_was_missed_is_told(served: Served) -> None:
    """A page hears of a fact at once, at most once a second, and after a break of what it missed."""
    served.organised()
    change = served.proposed()
    url = f"/api/v1/changes/{change['id']}"
    secret = served.token("dev-a")
    evidence = {"type": "ci", "green": True, "source": "build 7"}
    with served.follow(f"{url}/events", secret) as events:
        began = time.monotonic()
        assert served.browser("dev-a").post(f"{url}/evidence", json=evidence).status_code == 201
        first = next(events)
        assert time.monotonic() - began < 2
        assert first["event"] == "moved"
        assert first["data"] == {"change_id": change["id"], "position": int(first["id"]), "what": "facts"}
        heard = time.monotonic()
        for number in range(3):
            served.browser("dev-a").post(f"{url}/evidence", json=evidence | {"source": f"build {number}"})
        second = next(events)
        assert time.monotonic() - heard > 0.5
        assert int(second["id"]) > int(first["id"])
    last = served.browser("dev-a").get(f"{url}/facts").json()["items"][-1]["position"]
    with served.follow(f"{url}/events", secret, **{"Last-Event-ID": first["id"]}) as events:
        assert next(events)["data"]["position"] == last
    with served.follow(f"/api/v1/events?after={first['id']}", secret) as events:
        assert next(events)["data"]["change_id"] == change["id"]


def test_a_stream_ends_with_the_right_to_it(served: Served) -> None:
    """Revoking the token ends the stream; so does the end of the change, and coming back to that is answered 204."""
    served.organised()
    change = served.proposed()
    url = f"/api/v1/changes/{change['id']}"
    secret = served.token("dev-b")
    with served.follow("/api/v1/events", secret) as events:
        tokens = served.browser("dev-b").get("/api/v1/tokens").json()["items"]
        assert served.browser("dev-b").delete(f"/api/v1/tokens/{tokens[0]['id']}").status_code == 204
        assert list(events) == []
    secret = served.token("dev-a")
    with served.follow(f"{url}/events", secret) as events:
        assert served.browser("dev-a").post(f"{url}/cancel", json={"reason": "not now"}).status_code == 200
        told = list(events)
    assert [event["event"] for event in told] == ["moved", "over"]
    again = httpx.get(
        f"{served.url}{url}/events",
        headers={"Authorization": f"Bearer {secret}", "Host": "127.0.0.1:8700", "Last-Event-ID": told[-1]["id"]},
    )
    assert again.status_code == 204


def test_streams_end_with_the_server(served: Served) -> None:
    """A server that is told to stop ends the streams of pages and of flags, and does not wait for them."""
    served.organised()
    secret = served.token("dev-a")
    flags = served.token("admin", personal=False, service="checkout", scopes=["flags.read"])
    with served.follow("/api/v1/events", secret) as events, served.follow("/sdk/v1/flags/stream", flags) as revisions:
        assert next(revisions)["data"]["type"] == "refetchEvaluation"
        began = time.monotonic()
        served.stop()
        assert list(events) == []
        assert list(revisions) == []
        assert time.monotonic() - began < 4


def test_a_position_is_a_number(served: Served) -> None:
    """A Last-Event-ID that is none is refused."""
    answer = served.bearer(served.token("admin")).get("/api/v1/events", headers={"Last-Event-ID": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-position")
