"""Following a change over a real connection: by its stream, through a restart of the server, to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faces.api.desk import BASE, CHANGE
from tests.faces.api.test_live import Served

from airboss.faces.cli import watch
from airboss.faces.cli.client import Api
from airboss.faces.cli.config import Reach
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.pulse import Pulse

APIS: list[Api] = []
"""What a test asked through, closed after it."""


class Counting(httpx.HTTPTransport):
    """The network, which names the host as the server knows it and counts what is asked; its stream can be cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.streams = True

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        request.headers["Host"] = BASE.removeprefix("http://")
        if request.url.path.endswith("/events") and not self.streams:
            raise httpx.ConnectError("a proxy that lets no stream through")
        return super().handle_request(request)

    def looks(self, change: str) -> int:
        return self.asked.count(f"/api/v1/changes/{change}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    desk = Served(tmp_path)
    desk.organised()
    yield desk
    desk.stop()
    while APIS:
        APIS.pop().close()
    desk.close()


def proposed(desk: Served) -> str:
    """A draft, which waits for ever."""
    made = desk.browser("dev-a").post("/api/v1/changes", content=CHANGE, headers={"Content-Type": "application/yaml"})
    return str(made.json()["id"])


def cancel(desk: Served, change: str) -> None:
    done = desk.browser("dev-a").post(f"/api/v1/changes/{change}/cancel", json={"reason": "not now"})
    assert done.status_code == 200, done.text


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def api_of(desk: Served, network: Counting) -> Api:
    APIS.append(Api(Reach(server=desk.url, token=desk.token("dev-a"), source="a test"), transport=network))
    return APIS[-1]


def test_a_change_is_looked_at_when_it_moved(served: Served) -> None:
    """With a stream nothing is asked while nothing moves, and a move is heard at once."""
    network, change = Counting(), proposed(served)
    with Pulse(api_of(served, network), change) as pulse:
        until(lambda: pulse.up)
        pulse.wait(0)
        assert not pulse.wait(0.05)
        cancel(served, change)
        assert pulse.wait(10)


@pytest.mark.parametrize("streams", [True, False])
def test_following_ends_as_the_change_does(served: Served, monkeypatch: pytest.MonkeyPatch, *, streams: bool) -> None:
    """By the stream or, where none comes through, by looking: the exit code is the outcome's."""
    monkeypatch.setattr(watch, "LOOK_S", 0.1)
    network, change = Counting(), proposed(served)
    network.streams = streams
    ended: list[tuple[Exit, dict[str, Any]]] = []
    follower = threading.Thread(
        target=lambda: ended.append(watch.watch(api_of(served, network), change, timeout_s=30)), daemon=True
    )
    follower.start()
    until(lambda: network.looks(change) > 1)
    cancel(served, change)
    follower.join(20)
    assert [(code, view["outcome"]) for code, view in ended] == [(Exit.REFUSED, "cancelled")]


def test_a_restart_of_the_server_is_lived_through(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ends with the server; once it is back, what moved is heard, and following ends as the change does."""
    monkeypatch.setattr(watch, "LOOK_S", 0.1)
    monkeypatch.setattr("airboss.faces.cli.pulse.AGAIN_S", 0.1)
    network, change = Counting(), proposed(served)
    ended: list[Exit] = []
    follower = threading.Thread(
        target=lambda: ended.append(watch.quietly(api_of(served, network), change, timeout_s=60)[0]), daemon=True
    )
    follower.start()
    until(lambda: any(path.endswith("/events") for path in network.asked))
    served.restart()
    cancel(served, change)
    follower.join(30)
    assert ended == [Exit.REFUSED]
