"""A slim protobuf schema of OTLP: the wire format of opentelemetry-proto 1.x with only the fields that are counted.

What is not declared is skipped by the parser, which is what makes it fast; attribute values, statuses and resources stay
bytes until somebody needs them. Attributes are declared as a map: on the wire a map is a repeated message of key = 1 and
value = 2, exactly KeyValue, so the parser's own hash table finds the one attribute we want (0.1 µs; scanning eight in
Python takes 3 µs). The pool is our own, so the generated classes of opentelemetry-proto can live beside it.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation

from airboss.kernel.errors import Unavailable

_F = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "int32": _F.TYPE_INT32,
    "int64": _F.TYPE_INT64,
    "fixed32": _F.TYPE_FIXED32,
    "fixed64": _F.TYPE_FIXED64,
}
_PACKAGE: Final = "airboss.otlp"

_MESSAGES: Final[dict[str, list[str]]] = {
    "AnyValue": ["string string = 1", "int64 integer = 3", "ArrayValue array = 5"],
    "ArrayValue": ["repeated AnyValue values = 1"],
    "Resource": ["map<string,AnyValue> attributes = 1"],
    "SpanStatus": ["string message = 2", "int32 code = 3"],
    "Span": [
        "bytes parent = 4",
        "int32 kind = 6",
        "fixed64 start = 7",
        "fixed64 end = 8",
        "map<string,bytes> attributes = 9",
        "bytes status = 15",
        "fixed32 flags = 16",
    ],
    "ScopeSpans": ["repeated Span spans = 2"],
    "ResourceSpans": ["bytes resource = 1", "repeated ScopeSpans scopes = 2"],
    "Traces": ["repeated ResourceSpans resources = 1"],
    # The slower path, for bodies of which more is wanted than counts.
    "WholeSpan": [
        "bytes trace_id = 1",
        "bytes id = 2",
        "bytes parent = 4",
        "bytes name = 5",
        "int32 kind = 6",
        "fixed64 start = 7",
        "fixed64 end = 8",
        "map<string,bytes> attributes = 9",
        "repeated bytes events = 11",
        "bytes status = 15",
        "fixed32 flags = 16",
    ],
    "WholeScopeSpans": ["repeated WholeSpan spans = 2"],
    "WholeResourceSpans": ["bytes resource = 1", "repeated WholeScopeSpans scopes = 2"],
    "WholeTraces": ["repeated WholeResourceSpans resources = 1"],
    "Event": ["bytes name = 2", "map<string,bytes> attributes = 3"],
    "Points": ["repeated bytes points = 1"],
    "Metric": [
        "Points gauge = 5",
        "Points sum = 7",
        "Points histogram = 9",
        "Points exponential = 10",
        "Points summary = 11",
    ],
    "ScopeMetrics": ["repeated Metric metrics = 2"],
    "ResourceMetrics": ["bytes resource = 1", "repeated ScopeMetrics scopes = 2"],
    "Metrics": ["repeated ResourceMetrics resources = 1"],
    "ScopeLogs": ["repeated bytes records = 2"],
    "ResourceLogs": ["bytes resource = 1", "repeated ScopeLogs scopes = 2"],
    "Logs": ["repeated ResourceLogs resources = 1"],
    "PartialSuccess": ["int64 rejected = 1", "string message = 2"],
    "Response": ["PartialSuccess partial = 1"],
    "RpcStatus": ["int32 code = 1", "string message = 2"],
}


def require_fast_parser(implementation: str | None = None) -> None:
    """Raise Unavailable unless protobuf runs on its C core: pure Python reads 2,500 spans a second and would fall behind."""
    found = implementation or api_implementation.Type()
    if found != "upb":
        raise Unavailable(
            f"protobuf runs on its {found!r} implementation, which is too slow to receive telemetry",
            code="slow-protobuf",
            way_out="install a protobuf wheel with upb for this platform; unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
        )


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="airboss/otlp.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in fields:
            declaration, _, number = line.partition(" = ")
            *repeated, kind, field_name = declaration.split()
            if kind.startswith("map<"):
                entry = message.nested_type.add(name="AttributesEntry")
                entry.options.map_entry = True
                for position, part in enumerate(kind[4:-1].split(","), start=1):
                    _declare(entry, part, ("key", "value")[position - 1], position, repeated=False)
                kind, repeated = f"{name}.AttributesEntry", ["repeated"]
            _declare(message, kind, field_name, int(number), repeated=bool(repeated))
    return file


def _declare(message: descriptor_pb2.DescriptorProto, kind: str, name: str, number: int, *, repeated: bool) -> None:
    added = message.field.add(name=name, number=number, label=_F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL)
    if kind in _TYPES:
        added.type = _TYPES[kind]
    else:
        added.type = _F.TYPE_MESSAGE
        added.type_name = f".{_PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


MESSAGES: Final = _classes()
"""Message classes by name."""
