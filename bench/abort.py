"""From a person's order to abort until its target has been told, with the telemetry intake idle and flooded.

A real server with its two processes. Its ramps were started for real, one a flag; each abort is posted over HTTP and timed
from just before the request until the target took the order to go back, by the clock of the machine they share. The flood
comes from senders of their own, as fast as answers arrive, and on two cores it also takes processor time from the rest.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random  # noqa: TID251 (a measurement is the machine's own time and chance)
import sqlite3
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path
from urllib.parse import urlsplit

from airboss.bootstrap import build, open_folder
from airboss.decide.policy import InlineEngine
from airboss.kernel.clock import SystemClock
from airboss.kernel.settings import DATABASE_FILE, Settings
from airboss.people.access import TokenScope
from airboss.people.identity import IssueToken
from bench.fleet import started, stocked, traffic
from bench.otlp import make, post
from bench.server import new_folder, served
from bench.table import Effort, Row, Sample

SENDERS = 2


def prepared(folder: Path, flags: list[str]) -> tuple[list[str], str, str]:
    """Fill a data folder with ramps at their first step. Return their IDs, a person's token and a sender's."""
    settings, clock = Settings(data=folder), SystemClock()
    open_folder(settings)
    house = build(settings, clock=clock, engine=InlineEngine())
    try:
        people = stocked(house, flags)
        traffic(house, clock)
        changes = asyncio.run(started(house, people, flags))

        def token(scope: TokenScope, service: str | None, by: str) -> str:
            wanted = IssueToken(
                label="bench", scopes=frozenset({scope}), days=1, personal=service is None, service=service
            )
            return house.identity.tokens.issue(wanted, people[by]).secret

        return changes, token(TokenScope.OPERATE, None, "dev-a"), token(TokenScope.TELEMETRY_WRITE, "shop-0", "root")
    finally:
        house.close()


def aborted(url: str, token: str, change: str, database: Path) -> float:
    """Order an abort. Return the seconds until the target took the order to go back."""
    request = urllib.request.Request(
        f"{url}/api/v1/changes/{change}/orders",
        data=json.dumps({"verb": "abort", "reason": "measured"}).encode(),
        headers={"authorization": f"Bearer {token}", "content-type": "application/json", "idempotency-key": change},
    )
    began_us, until = time.time_ns() // 1000, time.monotonic() + 60
    with urllib.request.urlopen(request) as answer:
        assert answer.status in {200, 202}, answer.status
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    query = "SELECT max(done_at) FROM effect WHERE change_id = ? AND kind = 'revert' AND fault IS NULL"
    try:
        while time.monotonic() < until:
            (done_us,) = connection.execute(query, (change,)).fetchone()
            if done_us is not None:
                return (done_us - began_us) / 1e6
            time.sleep(0.02)  # noqa: TID251
    finally:
        connection.close()
    raise AssertionError(f"change {change} was not taken back within a minute")


def flood(
    address: tuple[str, int], token: str, going: Semaphore, stop: Event, counted: multiprocessing.Queue[int]
) -> None:
    """Post as fast as answers come, in a process of its own, until told to stop; say when the first was answered."""
    bodies = [make(1, 1, random.Random(seed)).SerializeToString() for seed in range(5)]
    once = iter((False, True))
    post(address, bodies, token, lambda: next(once))
    going.release()
    counted.put(post(address, bodies, token, stop.is_set))


@contextmanager
def flooded(otlp: str, token: str, rates: list[float]) -> Iterator[None]:
    """Have the intake flooded meanwhile; add the spans a second that were sent."""
    spawned = multiprocessing.get_context("spawn")
    going, stop, counted = spawned.Semaphore(0), spawned.Event(), spawned.Queue()
    where = urlsplit(otlp)
    address = (where.hostname or "127.0.0.1", where.port or 4318)
    senders = [spawned.Process(target=flood, args=(address, token, going, stop, counted)) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for _ in senders:
        assert going.acquire(timeout=60), "the intake answers no sender"
    began = time.monotonic()
    try:
        yield
    finally:
        stop.set()
        rates.append(sum(counted.get(timeout=30) for _ in senders) / (time.monotonic() - began))
        for sender in senders:
            sender.join()


def rows(effort: Effort) -> Iterator[Row]:
    each, turns = effort.of(12, quick=3), effort.of(4, quick=1, full=8)
    idle, busy, rates = list[float](), list[float](), list[float]()
    with new_folder() as folder:
        flags = [f"flag-{number}" for number in range(2 * each * turns + 1)]
        changes, person, sender = prepared(folder, flags)
        with served(folder) as server:
            database = folder / DATABASE_FILE
            aborted(server.url, person, changes.pop(), database)  # the first one warms the server up
            for _ in range(turns):
                idle += [aborted(server.url, person, changes.pop(), database) for _ in range(each)]
                with flooded(server.otlp, sender, rates):
                    busy += [aborted(server.url, person, changes.pop(), database) for _ in range(each)]
    p99 = {
        name: statistics.quantiles(found, n=100, method="inclusive")[98]
        for name, found in (("idle", idle), ("busy", busy))
    }
    ratio = p99["busy"] / p99["idle"]
    yield Row(
        what="abort: request to the target's order, intake flooded, p99",
        ours=f"{p99['busy'] * 1000:.0f} ms of {len(busy)}",
        peer=f"the same with the intake idle: {p99['idle'] * 1000:.0f} ms of {len(idle)}",
        ratio=f"{ratio:.1f}× the time",
        goal="≤ 2× idle",
        reached=ratio <= 2,
        note=f"medians {statistics.median(busy) * 1000:.0f} and {statistics.median(idle) * 1000:.0f} ms; "
        f"{Sample(tuple(rates)).told(0)} spans a second came in, from {SENDERS} senders on the same cores",
    )
