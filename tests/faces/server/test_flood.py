"""A flood of names at the real receiver, over HTTP: every body is answered, and its memory does not grow with them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
from tests.faces.api.desk import Desk
from tests.faces.server.test_processes import running
from tests.watch.telemetry.otlp import Span, body

from airboss.testing import ManualClock, SeededChance

NAMES = 2_000
"""Distinct services in one request."""


def resident_mb(pid: int) -> float:
    """Return the memory of a process that is its own, in MB."""
    told = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert told is not None
    return int(told.group(1)) / 1024


def test_distinct_services_over_http_fill_no_memory(tmp_path: Path) -> None:
    """Past the limit of services, 40,000 more in each other's wake cost nothing: the receiver counts them as one."""
    desk = Desk(tmp_path, ManualClock(datetime.now(UTC)), SeededChance(7))
    secret = desk.token("admin", personal=False, service="*", scopes=["telemetry.write"])
    settings = replace(desk.house.settings, ingest_port=0)
    desk.close()
    headers = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {secret}"}

    with running(settings, "ingest") as (process, told, _):
        sender = httpx.Client(base_url=told["otlp"], headers=headers, timeout=60)

        def flood(first: int, last: int) -> None:
            for start in range(first, last, NAMES):
                one = body([Span(end=datetime.now(UTC), service="s00000000")])
                many = b"".join(one.replace(b"s00000000", b"s%08d" % name) for name in range(start, start + NAMES))
                answer = sender.post("/v1/traces", content=many)
                assert (answer.status_code, answer.content) == (200, b"")

        flood(0, 8_000)
        before = resident_mb(process.pid)
        flood(8_000, 48_000)
        sender.close()
        # Measured over 400,000 names: flat within 1 MB. Kept whole they would take some 500 bytes each.
        assert resident_mb(process.pid) < before + 8
