"""Bodies as OpenTelemetry's own generated classes make them, from plain descriptions of spans."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from airboss.kernel.clock import to_micros
from airboss.sdk.ids import encode, uuid7

CHANGE = encode("chg", uuid7(1_767_600_000_000, b"0123456789"))
OTHER_CHANGE = encode("chg", uuid7(1_767_600_000_001, b"0123456789"))
SERVER, INTERNAL, CLIENT, CONSUMER = 2, 1, 3, 5


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span in the test's words."""

    end: datetime
    ms: float = 10.0
    bad: bool = False
    kind: int = SERVER
    parent: bool = False
    remote: bool = False
    exposures: tuple[str, ...] = ()
    service: str = "checkout"
    environment: str = "production"


def exposure(subject: int, *, arm: str = "canary", group: int = 7, change: str = CHANGE) -> str:
    return f"{change}/{arm}/{group}/{subject:016x}"


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request(spans: Iterable[Span], *, resource: dict[str, str] | None = None) -> ExportTraceServiceRequest:
    """One resource per run of spans of the same service and environment, in order."""
    built = ExportTraceServiceRequest()
    last = None
    scope = None
    for span in spans:
        if (span.service, span.environment) != last:
            last = (span.service, span.environment)
            block = built.resource_spans.add()
            names = {"service.name": span.service, "deployment.environment.name": span.environment}
            for key, value in (names | (resource or {})).items():
                block.resource.attributes.append(text(key, value))
            scope = block.scope_spans.add()
        assert scope is not None
        end_ns = to_micros(span.end) * 1000
        added = scope.spans.add(
            trace_id=b"t" * 16,
            span_id=b"s" * 8,
            parent_span_id=b"p" * 8 if span.parent else b"",
            flags=0x300 if span.remote else 0x100,
            name="GET /cart",
            kind=span.kind,
            start_time_unix_nano=end_ns - int(span.ms * 1_000_000),
            end_time_unix_nano=end_ns,
        )
        added.attributes.append(text("http.route", "/cart"))
        if span.exposures:
            values = [AnyValue(string_value=one) for one in span.exposures]
            array = AnyValue(array_value=ArrayValue(values=values))
            added.attributes.append(KeyValue(key="airboss.exposure", value=array))
        added.status.code = Status.STATUS_CODE_ERROR if span.bad else Status.STATUS_CODE_UNSET
    return built


def body(spans: Iterable[Span], **more: dict[str, str]) -> bytes:
    return request(spans, **more).SerializeToString()


def json_body(spans: Iterable[Span]) -> bytes:
    """The same request in OTLP JSON: 64-bit numbers as strings, enums as numbers, IDs in hex."""
    value = MessageToDict(request(spans), use_integers_for_enums=True)
    for resource in value["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                span["traceId"], span["spanId"] = b"t".hex() * 16, b"s".hex() * 8
                if "parentSpanId" in span:
                    span["parentSpanId"] = b"p".hex() * 8
    return json.dumps(value).encode()
