"""OTLP JSON bodies to columns: camelCase names, enums as numbers, 64-bit numbers as numbers or strings of digits.

Unknown fields are ignored, as the specification asks; a field we count that has the wrong type refuses the whole body.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, NoReturn

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
    Evaluation,
    Origin,
    origin,
    shown,
)
from airboss.watch.telemetry.evaluations import EVENT, MARK, MOST_EVENTS, Seen, evaluation, join
from airboss.watch.telemetry.model import Signal

_LAYERS: Final[dict[Signal, tuple[str, str]]] = {
    "traces": ("resourceSpans", "scopeSpans"),
    "metrics": ("resourceMetrics", "scopeMetrics"),
    "logs": ("resourceLogs", "scopeLogs"),
}
_POINTS: Final = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
_UINT64: Final = 1 << 64
_LONGEST_NUMBER: Final = 20


def read_json(body: bytes, signal: Signal) -> Columns:
    """Return the columns of one body. Raises Invalid (bad-telemetry) with line and column, or the field's path."""
    request = _parse(body)
    columns = Columns()
    outer, inner = _LAYERS[signal]
    if signal == "traces":
        columns.details = partial(_details, request)
    for number, resource in enumerate(_list(_dict(request, "body"), outer, "")):
        place = f"{outer}[{number}]"
        columns.origins.append(_origin(_dict(resource, place), place))
        scopes = _list(resource, inner, place)
        first = len(columns.resource)
        columns.items.append(
            sum(
                _read_scope(columns, signal, number, scope, f"{place}.{inner}[{at}]") for at, scope in enumerate(scopes)
            )
        )
        if signal == "traces" and MARK in body:
            join(columns, first, _seen(scopes, f"{place}.{inner}"))
    return columns


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except json.JSONDecodeError as fault:
        _refuse(f"body:{fault.lineno}:{fault.colno}", fault.msg)
    except UnicodeDecodeError as fault:
        _refuse(f"body, byte {fault.start}", "this is not UTF-8")
    except RecursionError:
        _refuse("body", "nested too deeply")
    except ValueError as fault:
        _refuse("body", str(fault))


def _read_scope(columns: Columns, signal: Signal, number: int, scope: Any, place: str) -> int:
    """Take in one scope; return how many items it has."""
    _dict(scope, place)
    match signal:
        case "traces":
            spans = _list(scope, "spans", place)
            for at, span in enumerate(spans):
                _read_span(columns, number, span, f"{place}.spans[{at}]")
            return len(spans)
        case "metrics":
            metrics = enumerate(_list(scope, "metrics", place))
            return sum(_points(metric, f"{place}.metrics[{at}]") for at, metric in metrics)
        case "logs":
            return len(_list(scope, "logRecords", place))


def _read_span(columns: Columns, number: int, span: Any, place: str) -> None:
    _dict(span, place)
    kind = _number(span, "kind", place)
    parent = _text(span, "parentSpanId", place)
    flags = _number(span, "flags", place)
    start, end = _number(span, "startTimeUnixNano", place), _number(span, "endTimeUnixNano", place)
    code = _number(_dict(span.get("status") or {}, f"{place}.status"), "code", f"{place}.status")
    if not _is_root(kind, parent, flags):
        return
    for at, pair in enumerate(_list(span, "attributes", place)):
        if _dict(pair, f"{place}.attributes[{at}]").get("key") == EXPOSURE:
            _read_exposures(columns, pair.get("value"))
    columns.resource.append(number)
    columns.start_ns.append(start)
    columns.end_ns.append(end)
    columns.bad.append(code == STATUS_ERROR)


def _details(request: dict[str, Any], rows: Sequence[int]) -> dict[int, Detail]:
    """Return what is shown of some root spans of a request that was read before."""
    wanted, found, row = set(rows), dict[int, Detail](), 0
    for resource in request.get("resourceSpans") or []:
        for scope in resource.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                parent, flags = _text(span, "parentSpanId", ""), _number(span, "flags", "")
                if _is_root(_number(span, "kind", ""), parent, flags):
                    if row in wanted:
                        found[row] = _detail(span)
                    row += 1
    return found


def _detail(span: dict[str, Any]) -> Detail:
    attributes = {}
    for pair in _list(span, "attributes", ""):
        name, value = pair.get("key"), pair.get("value")
        if name in SHOWN_ATTRIBUTES and isinstance(value, dict):
            text = value.get("stringValue", value.get("intValue"))
            if isinstance(text, str | int) and not isinstance(text, bool) and text:
                attributes[name] = shown(str(text).encode("utf-8", "replace").decode())
    ids = [span.get(key) if _is_hex(span.get(key)) else "" for key in ("traceId", "spanId")]
    name = span.get("name")
    named = shown(name.encode("utf-8", "replace").decode()) if isinstance(name, str) else ""
    return Detail(str(ids[0])[:32].lower(), str(ids[1])[:16].lower(), named, attributes)


def _is_hex(value: Any) -> bool:
    return isinstance(value, str) and all(letter in string.hexdigits for letter in value)


def _is_root(kind: int, parent: str, flags: int) -> bool:
    return kind in {KIND_SERVER, KIND_CONSUMER} or not parent or bool(flags & PARENT_IS_REMOTE)


def _seen(scopes: list[Any], place: str) -> Iterator[Seen]:
    """Yield every span of one resource with what was evaluated in it."""
    for scope_number, scope in enumerate(scopes):
        here = f"{place}[{scope_number}]"
        for number, span in enumerate(_list(scope, "spans", here)):
            at = f"{here}.spans[{number}]"
            trace, parent = _text(span, "traceId", at).lower(), _text(span, "parentSpanId", at).lower()
            root = _is_root(_number(span, "kind", at), parent, _number(span, "flags", at))
            events = _list(span, "events", at)[:MOST_EVENTS]
            found = [_evaluation(event, f"{at}.events[{index}]") for index, event in enumerate(events)]
            yield Seen(
                (trace, _text(span, "spanId", at).lower()),
                None if root else (trace, parent),
                [one for one in found if one is not None],
            )


def _evaluation(event: Any, place: str) -> Evaluation | None:
    if _text(_dict(event, place), "name", place) != EVENT:
        return None
    attributes = _attributes(event, place)
    return evaluation(lambda name: attributes.get(name, ""))


def _read_exposures(columns: Columns, value: Any) -> None:
    array = value.get("arrayValue") if isinstance(value, dict) else None
    values = array.get("values") if isinstance(array, dict) else None
    if not isinstance(values, list) or not 0 < len(values) <= MOST_EXPOSURES:
        columns.malformed.append(len(columns.resource))
        return
    for element in values:
        text = element.get("stringValue") if isinstance(element, dict) else None
        columns.expose(text.encode("utf-8", "replace") if isinstance(text, str) else b"")


def _origin(resource: dict[str, Any], place: str) -> Origin:
    inner = _dict(resource.get("resource") or {}, f"{place}.resource")
    return origin(_attributes(inner, f"{place}.resource"))


def _attributes(owner: dict[str, Any], place: str) -> dict[str, str]:
    """Return attributes by key, those that are no text as the empty one."""
    attributes = {}
    for at, pair in enumerate(_list(owner, "attributes", place)):
        here = f"{place}.attributes[{at}]"
        value = _dict(_dict(pair, here).get("value") or {}, f"{here}.value")
        attributes[_text(pair, "key", here)] = _text(value, "stringValue", f"{here}.value")
    return attributes


def _points(metric: Any, place: str) -> int:
    _dict(metric, place)
    return sum(
        len(_list(_dict(metric[kind], f"{place}.{kind}"), "dataPoints", f"{place}.{kind}"))
        for kind in _POINTS
        if metric.get(kind) is not None
    )


def _dict(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(place, f"an object is expected, not {_kind(value)}")
    return value


def _list(parent: dict[str, Any], key: str, place: str) -> list[Any]:
    value = parent.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        _refuse(_join(place, key), f"a list is expected, not {_kind(value)}")
    return value


def _text(parent: dict[str, Any], key: str, place: str) -> str:
    value = parent.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(_join(place, key), f"a string is expected, not {_kind(value)}")
    return value.encode("utf-8", "replace").decode()


def _number(parent: dict[str, Any], key: str, place: str) -> int:
    value = parent.get(key)
    if value is None:
        return 0
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is not int or not 0 <= value < _UINT64:
        _refuse(_join(place, key), f"a whole number from 0 to 2^64-1 is expected, not {_kind(value)}")
    return value


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"{value!r:.30}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(place: str, detail: str) -> NoReturn:
    raise Invalid(
        f"the body is not OTLP JSON: {detail}",
        code="bad-telemetry",
        place=place,
        way_out="nothing of this request was counted; send it as the OTLP specification says",
    )
