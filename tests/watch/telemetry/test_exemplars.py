"""Traces worth opening: few, both arms, failed and slow first, and nothing in them that says who somebody is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.line import Line
from tests.watch.telemetry.otlp import CHANGE, Span, exposure, request, text

from airboss.kernel.clock import to_micros
from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import (
    ANY_SERVICE,
    Columns,
    Exemplar,
    Ingest,
    ProtobufReader,
    SqlBucketStore,
    TelemetrySettings,
    read_json,
)
from airboss.watch.telemetry.columns import Detail
from airboss.watch.telemetry.exemplars import MOST_OF_A_KIND, MOST_READ_AGAIN


@pytest.fixture
def line(
    file_store: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, settings: TelemetrySettings
) -> Line:
    return Line(file_store, clock, exposures, settings)


def traced(spans: Sequence[Span], first: int = 1) -> ExportTraceServiceRequest:
    """A request in which the nth span is of the trace n."""
    built = request(spans)
    made = [span for block in built.resource_spans for scope in block.scope_spans for span in scope.spans]
    for number, span in enumerate(made, start=first):
        span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
    return built


def send(line: Line, *spans: Span, first: int = 1) -> None:
    line.send_bytes(traced(spans, first).SerializeToString())


def kept(line: Line, arm: str = "canary", why: str = "failed") -> list[Exemplar]:
    line.flush()
    return [one for one in line.reader.exemplars(CHANGE) if (one.arm, one.why) == (arm, why)]


def test_failed_and_slow_traces_of_both_arms_are_kept(
    buckets: SqlBucketStore, clock: ManualClock, exposures: ListedExposures, settings: TelemetrySettings
) -> None:
    """Through either store and back: IDs, name, time, duration, step and arm of a failed one and of a slow one."""
    line, now = Line(buckets, clock, exposures, settings), clock.now()
    send(
        line,
        Span(end=now, kind=3, parent=True),
        Span(end=now, ms=12, bad=True, exposures=(exposure(1),)),
        Span(end=now, ms=500, exposures=(exposure(2, arm="baseline"),)),
        Span(end=now, ms=900),
    )
    line.flush()
    found = line.reader.exemplars(CHANGE)
    assert [(one.arm, one.why, int(one.trace_id, 16)) for one in found] == [
        ("canary", "failed", 2),
        ("baseline", "slow", 3),
    ]
    (failed, _) = found
    assert (failed.service, failed.environment, failed.attempt, failed.step) == ("checkout", "production", 1, 1)
    assert (failed.name, failed.end, failed.duration) == ("GET /cart", now, timedelta(milliseconds=12))
    assert (len(failed.trace_id), len(failed.span_id), failed.attributes) == (32, 16, {"http.route": "/cart"})
    line.flush()
    assert line.reader.exemplars(CHANGE) == found
    assert line.reader.exemplars(CHANGE, attempt=2) == ()


def test_a_deploys_traces_are_kept_too(file_store: SqlBucketStore, clock: ManualClock) -> None:
    """Where the arm comes from the process, its failed requests are as worth opening."""
    rows = ListedExposures([row(clock.now() - timedelta(minutes=1), design="deploy")])
    line = Line(file_store, clock, rows, TelemetrySettings())
    send(line, Span(end=clock.now(), bad=True))
    assert [one.arm for one in kept(line, "baseline")] == ["baseline"]


def test_the_slowest_are_kept(line: Line) -> None:
    """Of many in any order the ten slowest remain, slowest first."""
    order = [(number * 37) % 101 for number in range(101)]
    for at in range(0, 101, 20):
        spans = [Span(end=line.clock.now(), ms=1 + ms, exposures=(exposure(ms),)) for ms in order[at : at + 20]]
        send(line, *spans, first=at + 1)
    found = kept(line, why="slow")
    assert [one.duration // timedelta(milliseconds=1) - 1 for one in found] == list(range(100, 90, -1))


def test_a_flood_of_failures_keeps_few_and_the_newest(line: Line) -> None:
    """However many fail, a change has ten failed traces an arm, of different seconds, the newest among them."""
    for second in range(40):
        line.run(1)
        spans = [Span(end=line.clock.now(), bad=True, exposures=(exposure(n),)) for n in range(200)]
        send(line, *spans, first=1 + 1000 * second)
    found = kept(line)
    assert len(found) == MOST_OF_A_KIND
    assert found[0].end == line.clock.now()
    assert len({one.end for one in found}) == MOST_OF_A_KIND
    assert len(line.store.exemplars(CHANGE)) <= 2 * MOST_OF_A_KIND


def test_one_arms_failures_do_not_hide_the_others(line: Line) -> None:
    """A canary that fails always does not take the places of the baseline's failures."""
    canary = [Span(end=line.clock.now(), bad=True, exposures=(exposure(n),)) for n in range(50)]
    send(line, Span(end=line.clock.now(), bad=True, exposures=(exposure(99, arm="baseline"),)), *canary)
    assert (len(kept(line)), len(kept(line, "baseline"))) == (1, 1)


def test_bodies_are_seldom_read_again(clock: ManualClock) -> None:
    """Candidates in every one of a thousand bodies of one second make ten of them be read twice."""
    read = []
    ingest = Ingest(TelemetrySettings())
    rows = [row(clock.now() - timedelta(minutes=1))]
    ingest.load_subjects(CHANGE, [])
    ingest.update(rows, known=frozenset(), now_us=to_micros(clock.now()))

    def counting(columns: Columns) -> Columns:
        inner = columns.details
        assert inner is not None

        def details(wanted: Sequence[int]) -> Mapping[int, Detail]:
            read.append(wanted)
            return inner(wanted)

        columns.details = details
        return columns

    for number in range(1_000):
        span = Span(end=clock.now(), ms=number, bad=True, exposures=(exposure(number),))
        columns = counting(ProtobufReader().read(traced([span], 1 + number).SerializeToString(), "traces"))
        ingest.accept(columns, signal="traces", sender_service=ANY_SERVICE, received_us=to_micros(clock.now()))
    assert len(read) == MOST_READ_AGAIN


def test_only_attributes_of_the_short_list_are_kept(line: Line) -> None:
    """Route, method, status and error are kept, on one line and not too long; addresses, queries and users are not."""
    built = traced([Span(end=line.clock.now(), bad=True, exposures=(exposure(1),))])
    span = built.resource_spans[0].scope_spans[0].spans[0]
    span.name = "GET\n" + "x" * 500
    for key in ("user.id", "url.full", "url.query", "client.address", "enduser.id", "http.request.header.cookie"):
        span.attributes.append(text(key, "anna@shop.example"))
    span.attributes.append(text("error.type", "y" * 500))
    span.attributes.add(key="http.response.status_code").value.int_value = 503
    value = MessageToDict(built, use_integers_for_enums=True)
    inner = value["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    inner["traceId"], inner["spanId"] = span.trace_id.hex(), span.span_id.hex()
    details = [
        columns.details([0])[0]
        for columns in (
            ProtobufReader().read(built.SerializeToString(), "traces"),
            read_json(json.dumps(value).encode(), "traces"),
        )
        if columns.details is not None
    ]
    assert details[0] == details[1]
    assert details[0].attributes == {
        "http.route": "/cart",
        "error.type": "y" * 120,
        "http.response.status_code": "503",
    }
    assert details[0].name == "GET " + "x" * 116
    line.send_bytes(built.SerializeToString())
    assert "anna" not in str(kept(line))


def test_what_could_not_be_written_goes_with_the_next_flush(line: Line) -> None:
    """A failed flush loses no exemplar."""
    send(line, Span(end=line.clock.now(), bad=True, exposures=(exposure(1),)))
    line.ingest.restore(line.ingest.take(source=line.source, at_us=to_micros(line.clock.now())))
    assert len(kept(line)) == 1


def test_a_new_attempt_has_exemplars_of_its_own(line: Line) -> None:
    """Slots are written over by the next attempt, and a question for one attempt never gets another's."""
    send(line, Span(end=line.clock.now(), ms=900, exposures=(exposure(1),)))
    line.run(1)
    line.exposures.rows = [row(line.clock.now(), attempt=2)]
    line.refresh()
    send(line, Span(end=line.clock.now() + timedelta(seconds=1), ms=5, exposures=(exposure(1),)), first=7)
    line.flush()
    assert [int(one.trace_id, 16) for one in line.reader.exemplars(CHANGE, attempt=2)] == [7]
    assert len(line.reader.exemplars(CHANGE)) == 1


def test_exemplars_expire(line: Line) -> None:
    """After their time they are gone, like the traces they point to."""
    send(line, Span(end=line.clock.now(), bad=True, exposures=(exposure(1),)))
    assert kept(line)
    old = dict.fromkeys(("fine_before_us", "change_before_us", "plain_before_us", "coverage_before_us"), 0)
    line.store.prune(**old, exemplar_before_us=to_micros(line.clock.now()) + 1)
    assert not kept(line)


def test_broken_ids_make_no_exemplar(line: Line) -> None:
    """A trace without an ID cannot be opened: it is counted and not kept."""
    built = traced([Span(end=line.clock.now(), bad=True, exposures=(exposure(1),))])
    built.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    line.send_bytes(built.SerializeToString())
    assert not kept(line)
