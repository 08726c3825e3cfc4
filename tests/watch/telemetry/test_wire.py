"""Bodies are read right or refused whole, in both encodings."""

from __future__ import annotations

import contextlib
import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.watch.telemetry.otlp import (
    CHANGE,
    CLIENT,
    CONSUMER,
    INTERNAL,
    OTHER_CHANGE,
    Span,
    body,
    exposure,
    json_body,
    request,
    text,
)

from airboss.kernel.errors import Invalid, Unavailable
from airboss.sdk import exposure as sdk
from airboss.watch.telemetry import Origin, ProtobufReader, Signal, read_json, require_fast_parser
from airboss.watch.telemetry.bodies import TooLarge, inflate
from airboss.watch.telemetry.columns import Columns

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


def mixed() -> list[Span]:
    return [
        Span(end=NOW, exposures=(exposure(1), exposure(2, change=OTHER_CHANGE, arm="baseline", group=99))),
        Span(end=NOW, kind=CLIENT, parent=True, bad=True),
        Span(end=NOW, kind=INTERNAL, parent=True, remote=True, bad=True),
        Span(end=NOW, kind=INTERNAL),
        Span(end=NOW, kind=CONSUMER, parent=True, exposures=("nonsense",)),
        Span(end=NOW, service="cart", exposures=(exposure(3),)),
    ]


def test_root_spans_are_told_from_the_rest() -> None:
    """Server, consumer, parentless and remotely parented spans count; a local child does not."""
    columns = ProtobufReader().read(body(mixed()), "traces")
    assert columns.items == [5, 1]
    assert columns.resource == [0, 0, 0, 0, 1]
    assert columns.bad == [False, True, False, False, False]
    assert columns.origins == [Origin("checkout", "production", ()), Origin("cart", "production", ())]


def test_exposures_are_read_with_their_spans() -> None:
    """One short element takes the fast way and several take the slow one, with the same result; nonsense is told."""
    columns = ProtobufReader().read(body(mixed()), "traces")
    assert columns.exposed == [0, 0, 4]
    assert columns.changes == [CHANGE.encode(), OTHER_CHANGE.encode(), CHANGE.encode()]
    assert (columns.arms, columns.groups) == ([0, 1, 0], [7, 99, 7])
    assert columns.subjects == [b"%016x" % number for number in (1, 2, 3)]
    assert columns.malformed == [3]


def test_json_and_protobuf_agree() -> None:
    """Both encodings of a request give the same columns."""
    assert read_json(json_body(mixed()), "traces") == ProtobufReader().read(body(mixed()), "traces")


@settings(deadline=None)
@given(key=st.text(st.characters(codec="utf-8"), max_size=20), canary=st.booleans())
def test_what_the_sdk_writes_is_what_we_read(key: str, canary: bool) -> None:
    """Any subject's element written by the SDK is read as one exposure of that arm, group and subject."""
    element = sdk.writer(CHANGE, canary=canary)(key)
    columns = Columns()
    columns.expose(element.encode())
    told = sdk.read(element)
    assert told is not None
    assert columns.malformed == []
    assert (columns.arms, columns.groups) == ([0 if canary else 1], [told.group])
    assert columns.subjects == [told.subject.encode()]


@pytest.mark.parametrize(
    "element",
    ["", "/", f"{CHANGE}/canary/7", f"{CHANGE}/control/7/{1:016x}", f"{CHANGE}/canary/100/{1:016x}",
     f"{CHANGE}/canary/07/{1:016x}", f"{CHANGE}/canary/7/{1:015x}", f"{CHANGE}/canary/7/{1:016x}/x", "x" * 200],
)  # fmt: skip
def test_malformed_elements_are_told(element: str) -> None:
    """An element that is not of the form counts as a malformed annotation of its span, and as nothing else."""
    columns = ProtobufReader().read(body([Span(end=NOW, exposures=(element,))]), "traces")
    assert (columns.exposed, columns.malformed, len(columns.resource)) == ([], [0], 1)


def test_an_exposure_inside_other_text_is_not_one() -> None:
    """A user agent that contains the bytes of an exposure attribute puts nobody into an arm."""
    built = request([Span(end=NOW, exposures=(exposure(1),))])
    span = built.resource_spans[0].scope_spans[0].spans[0]
    forged = span.attributes[1].SerializeToString().decode("latin-1")
    del span.attributes[1]
    span.attributes.append(text("user_agent.original", forged))
    assert ProtobufReader().read(built.SerializeToString(), "traces").exposed == []


def test_an_exposure_that_is_no_list_is_malformed() -> None:
    """The attribute as a plain string is a malformed annotation in both encodings."""
    built = request([Span(end=NOW)])
    built.resource_spans[0].scope_spans[0].spans[0].attributes.append(text("airboss.exposure", exposure(1)))
    assert ProtobufReader().read(built.SerializeToString(), "traces").malformed == [0]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"\xff\xff\xff", "body, after 0 resource_spans"),
        (body(mixed())[:-3], "body, after 1 resource_spans"),
        (b"\x0a\x05\x12\x03\x12\x01\xff", "resource_spans[0].scope_spans[0].spans[0]"),
    ],
)
def test_broken_protobuf_is_refused_with_its_place(data: bytes, place: str) -> None:
    """What does not parse is refused whole, and the place is as deep as the outer layers still read."""
    with pytest.raises(Invalid, match="not OTLP protobuf") as caught:
        ProtobufReader().read(data, "traces")
    assert (caught.value.code, caught.value.place) == ("bad-telemetry", place)


def test_a_broken_resource_or_exposure_is_refused() -> None:
    """Parts that stay bytes at first are still refused when they are read and broken."""
    with pytest.raises(Invalid) as caught:
        ProtobufReader().read(b"\x0a\x03\x0a\x01\xff", "traces")
    assert caught.value.place == "resource_spans[0].resource"
    built = request([Span(end=NOW)]).SerializeToString()
    attribute = b"\x0a\x10airboss.exposure\x12\x01\xff"
    span = b"\x30\x02\x4a" + bytes([len(attribute)]) + attribute
    scope = b"\x12" + bytes([len(span)]) + span
    block = b"\x12" + bytes([len(scope)]) + scope
    with pytest.raises(Invalid) as caught:
        ProtobufReader().read(built + b"\x0a" + bytes([len(block)]) + block, "traces")
    assert caught.value.place == "resource_spans[1].scope_spans[0].spans[0].attributes['airboss.exposure']"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_never_escapes_as_anything_but_invalid(data: bytes) -> None:
    """Any bytes at all are either read or refused as Invalid, in both encodings and for every signal."""
    signals: tuple[Signal, ...] = ("traces", "metrics", "logs")
    for signal in signals:
        for read in (ProtobufReader().read, read_json):
            with contextlib.suppress(Invalid):
                assert isinstance(read(data, signal), Columns)


def _set(value: object, *path: str | int) -> bytes:
    document = json.loads(json_body([Span(end=NOW, exposures=(exposure(1),))]))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return json.dumps(document).encode()


SPAN = ("resourceSpans", 0, "scopeSpans", 0, "spans", 0)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"{", "body:1:2"),
        (b"\xff", "body, byte 0"),
        (b"[]", "body"),
        (b'{"resourceSpans": NaN}', "body"),
        (b"[" * 100_000, "body"),
        (_set({}, "resourceSpans"), "resourceSpans"),
        (_set([1], "resourceSpans"), "resourceSpans[0]"),
        (_set("soon", *SPAN, "endTimeUnixNano"), "resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano"),
        (_set("NaN", *SPAN, "endTimeUnixNano"), "resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano"),
        (_set(1.5, *SPAN, "startTimeUnixNano"), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano"),
        (_set(-1, *SPAN, "startTimeUnixNano"), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano"),
        (_set(1 << 64, *SPAN, "startTimeUnixNano"), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano"),
        (_set("9" * 5000, *SPAN, "startTimeUnixNano"), "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano"),
        (_set(True, *SPAN, "kind"), "resourceSpans[0].scopeSpans[0].spans[0].kind"),
        (_set("SPAN_KIND_SERVER", *SPAN, "kind"), "resourceSpans[0].scopeSpans[0].spans[0].kind"),
        (_set([], *SPAN, "status", "code"), "resourceSpans[0].scopeSpans[0].spans[0].status.code"),
        (_set({}, *SPAN, "attributes"), "resourceSpans[0].scopeSpans[0].spans[0].attributes"),
        (_set(3, "resourceSpans", 0, "resource"), "resourceSpans[0].resource"),
    ],
)  # fmt: skip
def test_json_of_wrong_types_is_refused_with_its_place(data: bytes, place: str) -> None:
    """A counted field of the wrong type refuses the whole body and names the field."""
    with pytest.raises(Invalid, match="not OTLP JSON") as caught:
        read_json(data, "traces")
    assert caught.value.place == place


def test_metrics_and_logs_are_counted() -> None:
    """Data points of every kind and log records are counted by resource, in both encodings."""
    metrics = ExportMetricsServiceRequest()
    block = metrics.resource_metrics.add()
    block.resource.attributes.append(text("service.name", "cart"))
    scope = block.scope_metrics.add()
    scope.metrics.add().gauge.data_points.add()
    scope.metrics.add().sum.data_points.add()
    scope.metrics.add().exponential_histogram.data_points.add()
    points = scope.metrics.add().histogram.data_points
    points.add()
    points.add()
    read = ProtobufReader().read(metrics.SerializeToString(), "metrics")
    assert (read.items, read.origins[0].service) == ([5], "cart")
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add()
    assert ProtobufReader().read(logs.SerializeToString(), "logs").items == [1]
    written: dict[str, object] = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{}, {}]}]}]}
    assert read_json(json.dumps(written).encode(), "logs").items == [2]
    written = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"histogram": {"dataPoints": [{}]}}]}]}]}
    assert read_json(json.dumps(written).encode(), "metrics").items == [1]


def test_gzip_is_bounded() -> None:
    """A bomb, a cut-off body and one that is not gzip are refused; several members are one body."""
    assert inflate(gzip.compress(b"one ") + gzip.compress(b"two"), most=100) == b"one two"
    with pytest.raises(TooLarge):
        inflate(gzip.compress(bytes(10_000_000)), most=1_000_000)
    with pytest.raises(TooLarge):
        inflate(gzip.compress(bytes(600)) * 2, most=1_000)
    for broken in (gzip.compress(b"x" * 1000)[:-4], b"not gzip", gzip.compress(b"x") + b"tail"):
        with pytest.raises(Invalid) as caught:
            inflate(broken, most=1_000_000)
        assert caught.value.code == "bad-telemetry"


def test_the_slow_parser_is_refused() -> None:
    """On protobuf's pure-Python fallback the receiver does not start, and says what to install."""
    require_fast_parser()
    with pytest.raises(Unavailable, match="too slow") as caught:
        require_fast_parser("python")
    assert caught.value.code == "slow-protobuf"
