"""OTLP protobuf bodies to columns.

A body is read whole before anything is counted: what cannot be read is refused with the place of the fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from google.protobuf.message import DecodeError

from airboss.kernel.errors import Invalid
from airboss.sdk.attributes import EXPOSURE
from airboss.watch.telemetry.columns import (
    KIND_CONSUMER,
    KIND_SERVER,
    MOST_EXPOSURES,
    PARENT_IS_REMOTE,
    SHOWN_ATTRIBUTES,
    STATUS_ERROR,
    Columns,
    Detail,
    Origin,
    origin,
    shown,
)
from airboss.watch.telemetry.evaluations import MARK, Seen, join, of_events
from airboss.watch.telemetry.model import Signal
from airboss.watch.telemetry.schema import MESSAGES

_REQUESTS: Final = {"traces": "Traces", "metrics": "Metrics", "logs": "Logs"}
_CACHED_RESOURCES: Final = 4096
_CACHED_RESOURCE_BYTES: Final = 8192
_LONGEST_SHORT: Final = 130
_ONE_ELEMENT: Final = {
    size: bytes((0x2A, size - 2, 0x0A, size - 4, 0x0A, size - 6)) for size in range(7, _LONGEST_SHORT)
}
"""Size of an AnyValue that is an array of one short string → the six bytes before the string."""
_ROOT_KINDS: Final = frozenset({KIND_SERVER, KIND_CONSUMER})
_POINTS: Final = ("gauge", "sum", "histogram", "exponential", "summary")


class ProtobufReader:
    """Decodes bodies; remembers resources it has seen, because an SDK sends the same bytes each time."""

    def __init__(self) -> None:
        self._origins: dict[bytes, Origin] = {}

    def read(self, body: bytes, signal: Signal) -> Columns:
        """Return the columns of one body. Raises Invalid (bad-telemetry) with the place."""
        evaluated = signal == "traces" and MARK in body
        try:
            request = MESSAGES["WholeTraces" if evaluated else _REQUESTS[signal]].FromString(body)
        except DecodeError as fault:
            raise _broken(_locate(body, signal), fault) from fault
        columns = Columns()
        if signal == "traces":
            columns.details = partial(_details, body)
        for number, resource in enumerate(request.resources):
            columns.origins.append(self._origin(resource.resource, number, signal))
            if signal == "traces":
                first = len(columns.resource)
                columns.items.append(_read_spans(columns, number, resource.scopes))
                if evaluated:
                    join(columns, first, _seen(number, resource.scopes))
            elif signal == "metrics":
                columns.items.append(sum(_points(metric) for scope in resource.scopes for metric in scope.metrics))
            else:
                columns.items.append(sum(len(scope.records) for scope in resource.scopes))
        return columns

    def _origin(self, resource: bytes, number: int, signal: Signal) -> Origin:
        known = self._origins.get(resource)
        if known is not None:
            return known
        try:
            parsed = MESSAGES["Resource"].FromString(resource)
        except DecodeError as fault:
            raise _broken(f"{_PATHS[signal][0][1]}[{number}].resource", fault) from fault
        found = origin({key: value.string for key, value in parsed.attributes.items()})
        if len(resource) <= _CACHED_RESOURCE_BYTES:
            if len(self._origins) >= _CACHED_RESOURCES:
                self._origins.clear()
            self._origins[resource] = found
        return found


def _read_spans(columns: Columns, number: int, scopes: Any) -> int:
    """Append the root spans of one resource; return how many spans of any kind it has."""
    resource, starts, ends, bad, expose = (
        columns.resource.append,
        columns.start_ns.append,
        columns.end_ns.append,
        columns.bad.append,
        columns.expose,
    )
    total = 0
    for scope_number, scope in enumerate(scopes):
        spans = scope.spans
        total += len(spans)
        for span_number, span in enumerate(spans):
            if span.kind not in _ROOT_KINDS and span.parent and not span.flags & PARENT_IS_REMOTE:
                continue
            value = span.attributes.get(EXPOSURE)
            if value is not None:
                if value[:6] == _ONE_ELEMENT.get(len(value)):
                    expose(value[6:])
                else:
                    _read_exposures(columns, value, (number, scope_number, span_number))
            resource(number)
            starts(span.start)
            ends(span.end)
            status = span.status
            bad(bool(status) and _is_error(status, (number, scope_number, span_number)))
    return total


def _details(body: bytes, rows: Sequence[int]) -> dict[int, Detail]:
    """Read a body again, whole, for what is shown of some of its root spans. What does not read is not shown."""
    wanted, found, row = set(rows), dict[int, Detail](), 0
    for resource in MESSAGES["WholeTraces"].FromString(body).resources:
        for scope in resource.scopes:
            for span in scope.spans:
                if not _is_root(span):
                    continue
                if row in wanted:
                    with contextlib.suppress(DecodeError):
                        found[row] = _detail(span)
                row += 1
    return found


def _detail(span: Any) -> Detail:
    attributes = {}
    for name in SHOWN_ATTRIBUTES:
        data = span.attributes.get(name)
        if data is not None:
            value = MESSAGES["AnyValue"].FromString(data)
            text = value.string or (str(value.integer) if value.integer else "")
            if text:
                attributes[name] = shown(text)
    return Detail(span.trace_id[:16].hex(), span.id[:8].hex(), shown(span.name.decode("utf-8", "replace")), attributes)


def _is_root(span: Any) -> bool:
    return span.kind in _ROOT_KINDS or not span.parent or bool(span.flags & PARENT_IS_REMOTE)


def _seen(number: int, scopes: Any) -> Iterator[Seen]:
    """Yield every span of one resource with what was evaluated in it."""
    for scope_number, scope in enumerate(scopes):
        for span_number, span in enumerate(scope.spans):
            try:
                evaluations = of_events(span.events) if span.events else []
            except DecodeError as fault:
                raise _broken(_span_place((number, scope_number, span_number)) + ".events", fault) from fault
            parent = None if _is_root(span) else (span.trace_id, span.parent)
            yield Seen((span.trace_id, span.id), parent, evaluations)


def _read_exposures(columns: Columns, attribute: bytes, place: tuple[int, int, int]) -> None:
    try:
        values = MESSAGES["AnyValue"].FromString(attribute).array.values
    except DecodeError as fault:
        raise _broken(f"{_span_place(place)}.attributes[{EXPOSURE!r}]", fault) from fault
    if not 0 < len(values) <= MOST_EXPOSURES:  # none: some other kind of value
        columns.malformed.append(len(columns.resource))
        return
    for value in values:
        columns.expose(value.string.encode())


def _is_error(status: bytes, place: tuple[int, int, int]) -> bool:
    if status == b"\x18\x02":
        return True
    try:
        return bool(MESSAGES["SpanStatus"].FromString(status).code == STATUS_ERROR)
    except DecodeError as fault:
        raise _broken(_span_place(place) + ".status", fault) from fault


def _points(metric: Any) -> int:
    return sum(len(getattr(metric, kind).points) for kind in _POINTS)


def _span_place(place: tuple[int, int, int]) -> str:
    return "resource_spans[{}].scope_spans[{}].spans[{}]".format(*place)


def _broken(place: str, fault: Exception) -> Invalid:
    return Invalid(
        f"the body is not OTLP protobuf: {fault}",
        code="bad-telemetry",
        place=place,
        way_out="nothing of this request was counted; send it as the OTLP specification says",
    )


_PATHS: Final[dict[Signal, tuple[tuple[int, str], ...]]] = {
    "traces": ((1, "resource_spans"), (2, "scope_spans"), (2, "spans")),
    "metrics": ((1, "resource_metrics"), (2, "scope_metrics"), (2, "metrics")),
    "logs": ((1, "resource_logs"), (2, "scope_logs"), (2, "log_records")),
}
_CHECKS: Final[dict[Signal, tuple[str, str, str]]] = {
    "traces": ("ResourceSpans", "ScopeSpans", "Span"),
    "metrics": ("ResourceMetrics", "ScopeMetrics", "Metric"),
    "logs": ("ResourceLogs", "ScopeLogs", "ScopeLogs"),
}


def _locate(body: bytes, signal: Signal) -> str:
    """Return where a body that does not parse is broken, as deep as its outer layers still read."""
    place, data = "", body
    for (field, name), message in zip(_PATHS[signal], _CHECKS[signal], strict=True):
        seen = -1
        try:
            for number, part in _fields(data):
                if number != field:
                    continue
                seen += 1
                if not _parses(message, part):
                    place, data = f"{place}{'.' if place else ''}{name}[{seen}]", part
                    break
            else:
                return place or "body"
        except ValueError:
            return f"{place or 'body'}, after {seen + 1} {name}"
    return place


def _parses(message: str, data: bytes) -> bool:
    try:
        MESSAGES[message].FromString(data)
    except DecodeError:
        return False
    return True


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (field number, content) of the length-delimited fields of one message. Raises ValueError where it breaks."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(data, at)
                if at + length > len(data):
                    raise ValueError("cut off")
                yield tag >> 3, data[at : at + length]
                at += length
            case 5:
                at += 4
            case _:
                raise ValueError("no such wire type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number is cut off")
