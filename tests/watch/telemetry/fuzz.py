"""Throws broken OTLP at the receiver, for as long as one likes: `python -m tests.watch.telemetry.fuzz [seconds] [seed]`.

Bodies that are well are cut, spliced, flipped and filled with what parsers dislike; as protobuf, as JSON and as gzip, of
all three signals. Whatever comes: the reader gives columns that fit together and the ingest counts them, or the body is
refused as Invalid with a place, within the time a body may take. Anything else is written to the folder
`/tmp/airboss-fuzz` (or the one of AIRBOSS_FUZZ_DIR) with its traceback, and belongs into `test_found.py`.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.otlp import CHANGE, OTHER_CHANGE, Span, exposure, request, text

from airboss.kernel.clock import to_micros
from airboss.kernel.errors import Invalid
from airboss.watch.telemetry import (
    ANY_SERVICE,
    Ingest,
    ProtobufReader,
    RampedFlag,
    Signal,
    TelemetrySettings,
    read_json,
)
from airboss.watch.telemetry.bodies import inflate

SLOW_S: Final = 1.0
"""A body of a few kilobytes that takes longer than this is a finding."""
_AT: Final = datetime(2026, 1, 5, 9, 0, 5, tzinfo=UTC)
_NASTY: Final = (
    *(
        b"\x00",
        b"\xff" * 9,
        b"\x80" * 12,
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\xed\xa0\x80",
        b"\x08\x00\x0b\x0c",
        b"\x12\x00",
    ),
    *(
        b"{",
        b"[" * 60,
        b"null",
        b"1e999",
        b"-0",
        b'"\\ud800"',
        b"NaN",
        b"99999999999999999999",
        b'""',
        b"true",
        b"[]",
        b"{}",
    ),
)
_SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics", "logs")


def seeds() -> dict[Signal, list[bytes]]:
    """Return bodies that are well, by signal, each in both encodings."""
    spans = [
        Span(end=_AT, exposures=(exposure(1), exposure(2, change=OTHER_CHANGE, arm="baseline")), bad=True),
        Span(end=_AT - timedelta(seconds=3), parent=True, kind=1),
        Span(end=_AT, environment="staging", remote=True, parent=True),
    ]
    traces = request(spans, resource={"deployment.id": CHANGE, "service.instance.id": "pod-1"})
    event = traces.resource_spans[0].scope_spans[0].spans[1].events.add(name="feature_flag.evaluation")
    told = {"key": "new-cart", "result.variant": "on", "result.reason": "split", "context.id": "anna"}
    event.attributes.extend(text(f"feature_flag.{name}", value) for name, value in told.items())
    metrics, logs = ExportMetricsServiceRequest(), ExportLogsServiceRequest()
    for number, kind in enumerate(("gauge", "sum", "histogram", "exponential_histogram", "summary")):
        resource = metrics.resource_metrics.add()
        resource.resource.attributes.append(text("service.name", f"shop-{number}"))
        metric = resource.scope_metrics.add().metrics.add(name="requests")
        getattr(metric, kind).data_points.add(time_unix_nano=number)
    block = logs.resource_logs.add()
    block.resource.attributes.append(text("airboss.change.id", CHANGE))
    block.scope_logs.add().log_records.add(severity_text="INFO").body.string_value = "hello"
    return {
        signal: [
            built.SerializeToString(),
            json.dumps(MessageToDict(built, use_integers_for_enums=True)).encode(),
        ]
        for signal, built in zip(_SIGNALS, (traces, metrics, logs), strict=True)
    }


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return `data` with one to six mistakes in it."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(8):
            case 0 if made:
                made[at % len(made)] ^= 1 << chance.randrange(8)
            case 1 if made:
                made[at % len(made)] = chance.randrange(256)
            case 2:
                del made[at : at + chance.randint(1, 16)]
            case 3:
                made[at:at] = chance.choice(_NASTY)
            case 4:
                made[at : at + 4] = chance.choice(_NASTY)
            case 5:
                start = chance.randrange(len(other) + 1)
                made[at:at] = other[start : start + chance.randint(1, 64)]
            case 6:
                del made[at:]
            case _:
                made[at:at] = made[at : at + chance.randint(1, 64)]
    return bytes(made)


def mutate_json(data: bytes, chance: random.Random) -> bytes:
    """Return a JSON body with some of its values replaced by ones of another kind: it still is JSON."""
    values: list[Any] = [
        None,
        True,
        -1,
        1.5,
        1e300,
        2**70,
        "",
        "x" * 300,
        "\ud800",
        [],
        {},
        [[]],
        [None],
        {"": None},
        "-5",
        "٣",
    ]

    def walk(value: Any) -> Any:
        if chance.random() < 0.04:
            return chance.choice(values)
        if isinstance(value, dict):
            return {key: walk(inner) for key, inner in value.items() if chance.random() > 0.02}
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return json.dumps(walk(json.loads(data))).encode()


def take_in(body: bytes, signal: Signal, read: Callable[[bytes, Signal], Any], ingest: Ingest) -> None:
    """Read and count one body; what may be refused is. Raises AssertionError for columns that do not fit together."""
    try:
        columns = read(body, signal)
    except Invalid as refused:
        if not refused.place:
            raise AssertionError("a refusal has a place") from refused
        return
    rows = len(columns.resource)
    assert len(columns.origins) == len(columns.items)
    assert {rows} == {len(columns.start_ns), len(columns.end_ns), len(columns.bad)}
    parts = (columns.changes, columns.arms, columns.groups, columns.subjects)
    assert {len(columns.exposed)} == {len(part) for part in parts}
    if columns.details is not None:
        assert set(columns.details(range(rows))) <= set(range(rows))
    ingest.accept(columns, signal=signal, sender_service=ANY_SERVICE, received_us=to_micros(_AT))


def new_ingest() -> Ingest:
    """Return an ingest with a ramp and a deploy in force."""
    since = _AT - timedelta(minutes=1)
    flag = RampedFlag(key="new-cart", canary_variants=frozenset({"on"}), baseline_variant="off")
    rows = [row(since, flag=flag), row(since, change_id=OTHER_CHANGE, design="deploy")]
    ingest = Ingest(TelemetrySettings())
    for change in ingest.unloaded(rows, now_us=to_micros(_AT)):
        ingest.load_subjects(change, [])
    ingest.update(rows, known=frozenset(), now_us=to_micros(_AT))
    return ingest


def attempt(chance: random.Random, bodies: dict[Signal, list[bytes]], reader: ProtobufReader, ingest: Ingest) -> bytes:
    """Make one body and take it in. Raises what it should not, with the body as note."""
    signal = chance.choice(_SIGNALS)
    binary, textual = bodies[signal]
    match chance.randrange(4):
        case 0:
            body, read = mutate_json(textual, chance), read_json
        case 1:
            body, read = mutate(textual, binary, chance), read_json
        case _:
            body, read = mutate(binary, bodies[chance.choice(_SIGNALS)][0], chance), reader.read
    if chance.random() < 0.1:
        packed = mutate(gzip.compress(body, mtime=0), body, chance)
        with contextlib.suppress(Invalid):
            body = inflate(packed, most=1 << 20)
    began = time.process_time()
    try:
        take_in(body, signal, read, ingest)
    except BaseException as fault:
        fault.add_note(f"{signal} {getattr(read, '__name__', read)} {body!r}")
        raise
    took = time.process_time() - began
    assert took < SLOW_S, f"{took:.1f} s for {signal} {body!r}"
    return body


def main() -> int:
    """Run for a while; return how many findings there were."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    chance = random.Random(seed)
    bodies, reader, ingest = seeds(), ProtobufReader(), new_ingest()
    folder = Path(os.environ.get("AIRBOSS_FUZZ_DIR", "/tmp/airboss-fuzz"))
    until, tried, found = time.monotonic() + seconds, 0, set[str]()
    while time.monotonic() < until:
        try:
            attempt(chance, bodies, reader, ingest)
        except Exception:  # noqa: BLE001 - every kind is a finding
            told = traceback.format_exc()
            where = told.rpartition("File ")[2].split("\n")[0]
            if where not in found:
                found.add(where)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{seed}-{tried}.txt").write_text(told)
            ingest = new_ingest()
        tried += 1
        if tried % 20_000 == 0:
            ingest = new_ingest()
    sys.stdout.write(
        f"seed {seed}: {tried:,} bodies in {seconds:.0f} s, {len(found)} kinds of findings {sorted(found) or ''}\n"
    )
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
