"""Memory of the receiver under a flood of distinct names: services, instances, span names, environments, change IDs.

Every resource and span is of names never seen before, as from a broken exporter or somebody hostile with a token for
all services. A ramp and a deploy are in force. Counters are flushed into SQLite once a simulated second.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from airboss.kernel.clock import to_micros
from airboss.sdk.ids import encode, uuid7
from airboss.watch.telemetry import (
    ANY_SERVICE,
    ActiveExposure,
    Ingest,
    ProtobufReader,
    TelemetrySettings,
    open_bucket_store,
)
from bench.table import Effort, Row

A_BODY = 500


def change(number: int) -> str:
    return encode("chg", uuid7(1_767_600_000_000 + number, b"0123456789"))


def body(first: int, now_us: int) -> bytes:
    request = ExportTraceServiceRequest()
    for number in range(first, first + A_BODY):
        block = request.resource_spans.add()
        # Half of them at the deploy's own place, each from another pod.
        ours = number % 2
        names = {
            "service.name": "shop" if ours else f"service-{number}",
            "deployment.environment.name": "production" if ours else f"env-{number}",
            "service.instance.id": f"pod-{number}",
            "deployment.id": change(number),
        }
        for key, value in names.items():
            block.resource.attributes.add(key=key).value.string_value = value
        span = block.scope_spans.add().spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name=f"GET /{number}",
            kind=2,
            start_time_unix_nano=now_us * 1000 - number,
            end_time_unix_nano=now_us * 1000,
        )
        element = f"{change(number if number % 3 else 0)}/canary/1/{number:016x}"
        span.attributes.add(key="airboss.exposure").value.array_value.values.add().string_value = element
        span.status.code = 2
    return request.SerializeToString()


def rss_mib() -> float:
    """Return the memory in use now, from the kernel's account of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def rows(effort: Effort) -> Iterator[Row]:
    names = effort.of(200_000, quick=20_000, full=1_000_000)
    before = rss_mib()
    start = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    rows = [
        ActiveExposure(
            change_id=change(number),
            design=design,
            service="shop",
            environment="production",
            unit="shop",
            attempt=1,
            step=1,
            start=start - timedelta(minutes=1),
            end=None,
            percent=10,
        )
        for number, design in ((0, "ramp"), (1, "deploy"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = open_bucket_store(f"sqlite:///{Path(folder) / 'telemetry.db'}")
        store.create()
        ingest, reader = Ingest(TelemetrySettings()), ProtobufReader()
        now_us = to_micros(start)
        source = store.begin("ing_flood", now_us)
        for row in rows:
            ingest.load_subjects(row.change_id, [])
        spent = 0.0
        most = before
        for done in range(0, names, A_BODY):
            if done % 10_000 == 0:
                now_us += 1_000_000
                ingest.update(rows, known=frozenset(), now_us=now_us)
                flush = ingest.take(source=source, at_us=now_us)
                store.flush(flush)
                ingest.confirm(flush)
            most = max(most, rss_mib())
            data = body(done, now_us)
            began = time.process_time()
            columns = reader.read(data, "traces")
            ingest.accept(columns, signal="traces", sender_service=ANY_SERVICE, received_us=now_us)
            spent += time.process_time() - began
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
        store.close()
    yield Row(
        what=f"memory of the receiver after {names:,} resources of names never seen before",
        ours=f"{rss_mib():.0f} MiB",
        note=f"{before:.0f} before, {most:.0f} at most; {size:.1f} MiB in the file; {names / spent:,.0f} resources a second of "
        "processor time",
    )
