"""The demo's customers: a bounded, seeded, open-loop load on a few HTTP services.

    python -m airboss.demo.load --target http://127.0.0.1:8101/checkout --rate 350 --users 50000 --seconds 180 \
        --seed 7 --out load.jsonl

Customers are sticky: number 17 is always `user-000017`, on every service. Each request comes from one of them, drawn evenly;
arrivals are a Poisson stream whose rate follows a day compressed to two minutes. A few customers use a client build that
every service refuses: they fail whatever is rolled out, as some always do. Sends to loopback only, never for longer than
`--seconds`, never more than `--connections` at once to one target.

One line is written for each second, target and variant that answered: {second, target, variant, requests, bad, p50_ms,
p95_ms}; `second` is Unix time, `variant` is what the service says it served ("" where it could not say), `bad` counts answers
of 500 and above, broken connections and answers that took longer than `--timeout`. A line with `left_out` tells of requests
that were due and not sent because all connections were busy.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import math
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO, cast
from urllib.parse import urlsplit

DAY_S: Final = 120.0
"""Length of the compressed day."""
SWING: Final = 0.2
"""How far the rate rises above and falls below its mean in a day."""
TICK_S: Final = 0.02
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
LEGACY_BUILD: Final = "3.1"
CURRENT_BUILD: Final = "4.0"
LEGACY_SHARE: Final = 0.0004
"""Share of customers whose client always fails."""


@dataclass(slots=True)
class Tally:
    """What came back in one second from one target in one variant. Durations in seconds."""

    requests: int = 0
    bad: int = 0
    durations: list[float] = field(default_factory=list)

    def line(self, second: int, target: str, variant: str) -> dict[str, object]:
        """Return the JSON line."""
        ordered = sorted(self.durations)
        return {
            "second": second,
            "target": target,
            "variant": variant,
            "requests": self.requests,
            "bad": self.bad,
            "p50_ms": round(1000 * quantile(ordered, 0.5), 1),
            "p95_ms": round(1000 * quantile(ordered, 0.95), 1),
        }


def quantile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie; 0 for none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def rate_at(rate: float, elapsed: float) -> float:
    """Return requests a second `elapsed` seconds into the run: the mean rate, moved by the hour of the compressed day."""
    return rate * (1 + SWING * math.sin(2 * math.pi * elapsed / DAY_S))


def poisson(mean: float, chance: random.Random) -> int:
    """Return a Poisson draw for a small mean (inversion by products, Knuth)."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def legacy_customers(users: int, chance: random.Random) -> frozenset[int]:
    """Return which customers use the build that always fails."""
    return frozenset(chance.sample(range(users), max(1, round(users * LEGACY_SHARE))))


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request on it at a time."""

    __slots__ = ("buffer", "sent_at", "target", "transport")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own is one without saying so

    def send(self, request: bytes, now: float) -> None:
        """Send one request; the answer, or its absence, is told to the target."""
        if self.transport is None:
            raise RuntimeError("the connection is not open yet")
        self.sent_at = now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        parsed = parse_answer(self.buffer)
        if parsed is None:
            return
        status, variant, close = parsed
        self.buffer = b""
        sent_at, self.sent_at = self.sent_at, 0.0
        if close and self.transport is not None:
            self.transport.close()
        else:
            self.target.idle.append(self)
        self.target.heard(status, variant, sent_at)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.target.connections.discard(self)
        if self.sent_at:
            sent_at, self.sent_at = self.sent_at, 0.0
            self.target.heard(0, "", sent_at)


def parse_answer(buffer: bytes) -> tuple[int, str, bool] | None:
    """Return (status, variant, whether the server closes) of a complete answer, or None while it is not complete.

    Reads what the demo's services send: a head with Content-Length, names in lower case.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = 0
    found = buffer.find(b"content-length: ", 0, end)
    if found >= 0:
        length = int(buffer[found + 16 : buffer.index(b"\r\n", found)])
    if len(buffer) < end + 4 + length:
        return None
    variant = ""
    found = buffer.find(b"shop-variant: ", 0, end)
    if found >= 0:
        variant = buffer[found + 14 : buffer.index(b"\r\n", found)].decode("latin-1")
    return int(buffer[9:12]), variant, buffer.find(b"connection: close", 0, end) >= 0


class Target:
    """One service, its connections, and what it answered."""

    def __init__(self, url: str, *, connections: int, timeout_s: float, monotonic: Callable[[], float]) -> None:
        """Raises ValueError for an address that is not a plain-HTTP one on loopback."""
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK or parts.port is None:
            raise ValueError(f"{url} is not an http address with a port on loopback: the load goes nowhere else")
        self.url = url
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path or "/"
        self.limit, self.timeout_s, self.monotonic = connections, timeout_s, monotonic
        self.idle: deque[Connection] = deque()
        self.connections: set[Connection] = set()
        self.tallies: dict[tuple[int, str], Tally] = {}
        self.left_out = 0
        self._opening = 0

    def request(self, user: int, build: str) -> bytes:
        """Return one customer's request as bytes."""
        return (
            f"GET {self.path} HTTP/1.1\r\nhost: {self.host}\r\nshop-customer: user-{user:06d}\r\nshop-build: {build}\r\n\r\n"
        ).encode()

    def offer(self, request: bytes, opened: set[asyncio.Task[None]]) -> None:
        """Send now on an idle connection, or on a new one while there is room; count the request as left out otherwise."""
        while self.idle:
            connection = self.idle.pop()
            if connection in self.connections and connection.transport and not connection.transport.is_closing():
                connection.send(request, self.monotonic())
                return
        if len(self.connections) + self._opening >= self.limit:
            self.left_out += 1
            return
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._open(request))
        opened.add(task)
        task.add_done_callback(opened.discard)

    async def _open(self, request: bytes) -> None:
        started = self.monotonic()
        try:
            _, connection = await asyncio.wait_for(
                asyncio.get_running_loop().create_connection(lambda: Connection(self), self.host, self.port),
                self.timeout_s,
            )
        except (TimeoutError, OSError):
            self.heard(0, "", started)
            return
        finally:
            self._opening -= 1
        self.connections.add(connection)
        connection.send(request, started)

    def heard(self, status: int, variant: str, sent_at: float) -> None:
        """Count an answer; status 0 is no answer at all."""
        now = self.monotonic()
        key = (int(time.time()), variant)
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally()
        tally.requests += 1
        if status == 0 or status >= 500:
            tally.bad += 1
        else:
            tally.durations.append(now - sent_at)

    def sweep(self) -> None:
        """Give up on requests that have waited too long; their connection's loss counts them."""
        oldest = self.monotonic() - self.timeout_s
        for connection in list(self.connections):
            if 0 < connection.sent_at < oldest and connection.transport is not None:
                connection.transport.abort()

    def write(self, out: TextIO, *, before: int) -> None:
        """Write the lines of the seconds that are over."""
        out.writelines(
            json.dumps(self.tallies.pop((second, variant)).line(second, self.url, variant)) + "\n"
            for second, variant in sorted(key for key in self.tallies if key[0] < before)
        )
        if self.left_out:
            out.write(json.dumps({"second": before - 1, "target": self.url, "left_out": self.left_out}) + "\n")
            self.left_out = 0
        out.flush()

    def close(self) -> None:
        """Close all connections; what was under way is no longer counted."""
        for connection in list(self.connections):
            connection.sent_at = 0.0
            if connection.transport is not None:
                connection.transport.abort()


async def run(options: argparse.Namespace, targets: list[Target], out: TextIO, monotonic: Callable[[], float]) -> None:
    """Send for `options.seconds`, or until told to stop, then wait for the last answers."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    chance = random.Random(options.seed)  # noqa: S311  # customers, not keys
    legacy = legacy_customers(options.users, chance)
    opened: set[asyncio.Task[None]] = set()
    start = last = monotonic()
    written = int(time.time())
    while not stop.is_set() and last - start < options.seconds:
        await asyncio.sleep(TICK_S)
        now = monotonic()
        step = min(now - last, 10 * TICK_S)  # after a stall customers do not all come at once
        last = now
        for target in targets:
            for _ in range(poisson(rate_at(options.rate, now - start) * step, chance)):
                user = int(chance.random() * options.users)
                target.offer(target.request(user, LEGACY_BUILD if user in legacy else CURRENT_BUILD), opened)
        second = int(time.time())
        if second > written:
            written = second
            for target in targets:
                target.sweep()
                target.write(out, before=second)
    await asyncio.sleep(min(options.timeout, 1.0))
    for target in targets:
        target.close()
        target.write(out, before=sys.maxsize)


def variant_totals(
    lines: list[str], *, since: float = 0, until: float = math.inf
) -> dict[tuple[str, str], tuple[int, int]]:
    """Sum a load file: (target, variant) to (requests, bad), over the seconds in [since, until)."""
    totals: dict[tuple[str, str], tuple[int, int]] = {}
    seconds = [json.loads(line) for line in lines]
    seconds.sort(key=lambda entry: entry["second"])
    begin = bisect.bisect_left(seconds, since, key=lambda entry: entry["second"])
    for entry in seconds[begin:]:
        if entry["second"] >= until:
            break
        if "variant" in entry:
            key = (entry["target"], entry["variant"])
            requests, bad = totals.get(key, (0, 0))
            totals[key] = (requests + entry["requests"], bad + entry["bad"])
    return totals


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m airboss.demo.load", description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--target", action="append", required=True, help="address of a service on loopback; may be repeated"
    )
    parser.add_argument("--rate", type=float, default=350, help="mean requests a second to each target")
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=5, help="seconds after which an answer counts as bad")
    parser.add_argument("--connections", type=int, default=96, help="most connections to one target")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main() -> None:
    """Run from the command line."""
    options = arguments().parse_args()
    try:
        import uvloop  # noqa: PLC0415  # half the cost of the plain loop, where it is installed

        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        loop_factory = None
    targets = [
        Target(url, connections=options.connections, timeout_s=options.timeout, monotonic=time.monotonic)
        for url in options.target
    ]
    with options.out.open("a") as out, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run(options, targets, out, time.monotonic))


if __name__ == "__main__":
    main()
