"""The plain OpenTelemetry hook: what an event says gives the arm and the subject that the SDK's element would have given."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.watch.telemetry.conftest import row
from tests.watch.telemetry.otlp import CHANGE, INTERNAL, SERVER, Span, exposure, request, text
from tests.watch.telemetry.test_ingest import arm, ingest, sixtuple, take

from airboss.kernel.clock import to_micros
from airboss.kernel.errors import Invalid
from airboss.sdk.bucketing import Generation
from airboss.sdk.ramp import Ramp, compile_ramp
from airboss.watch.telemetry import (
    ANY_SERVICE,
    ActiveExposure,
    Columns,
    Ingest,
    ProtobufReader,
    RampedFlag,
    read_json,
)

NOW = datetime(2026, 1, 5, 9, 0, 5, tzinfo=UTC)
FLAG = RampedFlag(key="new-cart", canary_variants=frozenset({"on"}), baseline_variant="off")


def ramp(**more: object) -> ActiveExposure:
    return row(NOW - timedelta(minutes=1), flag=FLAG, **more)  # type: ignore[arg-type]


def event(
    key: str = "anna", variant: str = "on", flag: str = "new-cart", reason: str = "split", name: str = ""
) -> dict[str, str]:
    """An event as the hook of OpenFeature's contributions writes it, under `name` if that is given."""
    return {
        "": name or "feature_flag.evaluation",
        "feature_flag.key": flag,
        "feature_flag.result.variant": variant,
        "feature_flag.result.reason": reason,
        "feature_flag.context.id": key,
        "feature_flag.provider.name": "ofrep",
    }


def body(*spans: tuple[str, str, int, list[dict[str, str]]], bad: bool = False) -> ExportTraceServiceRequest:
    """Spans of one process: (id, parent's id, kind, events)."""
    built = request([Span(end=NOW, bad=bad) for _ in spans])
    for made, (name, parent, kind, events) in zip(built.resource_spans[0].scope_spans[0].spans, spans, strict=True):
        made.span_id, made.parent_span_id, made.kind = name.encode(), parent.encode(), kind
        for given_event in events:
            added = made.events.add(name=given_event[""], time_unix_nano=1)
            added.attributes.extend(text(key, value) for key, value in given_event.items() if key)
    return built


def as_protobuf(built: ExportTraceServiceRequest) -> Columns:
    return ProtobufReader().read(built.SerializeToString(), "traces")


def as_json(built: ExportTraceServiceRequest) -> Columns:
    value = MessageToDict(built, use_integers_for_enums=True)
    return read_json(json.dumps(value).encode(), "traces")


both = pytest.mark.parametrize("read", [as_protobuf, as_json])
Read = Callable[[ExportTraceServiceRequest], Columns]


def counted(made: Ingest, columns: Columns) -> dict[str, Any]:
    made.accept(columns, signal="traces", sender_service=ANY_SERVICE, received_us=to_micros(NOW))
    flush = take(made)
    return {name: [sixtuple(cell) for cell in arm(flush, name)] for name in ("canary", "baseline")} | {
        "coverage": [(r.current, r.stale, r.unknown) for r in flush.coverage]
    }


@both
def test_an_event_puts_its_span_into_the_arm_of_the_variant(read: Read) -> None:
    """The new side's variant is the canary, the old side's the baseline; the span counts as naming the change."""
    built = body(("a", "", SERVER, [event("anna")]), ("b", "", SERVER, [event("ben", "off")]))
    got = counted(ingest(ramp()), read(built))
    assert got == {"canary": [(1, 0, 1, 0, 1, 0)], "baseline": [(1, 0, 1, 0, 1, 0)], "coverage": [(2, 0, 0)]}


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=8),
    st.integers(0, 100),
)
def test_an_event_counts_exactly_as_the_sdks_element(keys: list[str], percent: int) -> None:
    """For whoever is asked for, an event and the SDK's own element give the same change, arm, group and subject."""
    place = compile_ramp(
        Ramp(change_id=CHANGE, percent=percent, on_variant="on", off_variant="off", salt="s", key="targetingKey"),
        Generation.V3,
    )
    answers = [place(key) for key in keys]
    assert all(answers)
    spans = [
        (f"s{number}", "", SERVER, [event(key, answer[0])])
        for number, (key, answer) in enumerate(zip(keys, answers, strict=True))
        if answer is not None
    ]
    told = as_protobuf(body(*spans))
    written = ProtobufReader().read(
        request([Span(end=NOW, exposures=(answer[1],)) for answer in answers if answer]).SerializeToString(), "traces"
    )
    made = ingest(ramp())
    made._expose_evaluated(told, np.full(len(spans), made._cells.place("checkout", "production")))
    for column in ("exposed", "changes", "arms", "groups", "subjects"):
        assert getattr(told, column) == getattr(written, column)


@both
@pytest.mark.parametrize(
    "told",
    [
        event(reason="targeting_match"),
        event(reason="default"),
        event(reason="static"),
        event(reason="error"),
        event(reason=""),
        event(key=""),
        event(key="x" * 2000),
        event(flag="another"),
        event(variant="third"),
        event(variant=""),
        event(name="feature_flag.evaluation.v2"),
        event(name="exception"),
    ],
)
def test_only_people_split_by_the_ramp_count(read: Read, told: dict[str, str]) -> None:
    """Targeting, defaults, switches, strangers' flags and answers without a person are neither arm."""
    got = counted(ingest(ramp()), read(body(("a", "", SERVER, [told]))))
    assert got == {"canary": [], "baseline": [], "coverage": [(0, 0, 0)]}


@both
def test_an_event_on_a_child_counts_for_its_local_root(read: Read) -> None:
    """The hook writes to the span that is current; what is counted is the request above it, once, with its own outcome."""
    built = body(
        ("c", "b", INTERNAL, [event("anna")]),
        ("b", "a", INTERNAL, []),
        ("a", "", SERVER, []),
        ("d", "elsewhere", INTERNAL, [event("ben")]),
        bad=True,
    )
    got = counted(ingest(ramp()), read(built))
    assert (got["canary"], got["baseline"]) == ([(1, 1, 1, 1, 1, 1)], [])


@both
def test_a_circle_of_parents_ends(read: Read) -> None:
    """Spans that name each other as parent have no local root, and are not waited for."""
    built = body(("a", "b", INTERNAL, [event()]), ("b", "a", INTERNAL, []), ("r", "", SERVER, []))
    assert counted(ingest(ramp()), read(built))["canary"] == []


@both
def test_a_span_with_element_and_event_counts_once(read: Read) -> None:
    """Where the SDK and the plain hook are both at work, the SDK's element is taken and the event adds nothing."""
    built = body(("a", "", SERVER, [event("anna", "off"), event("anna", "off")]))
    array = built.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="airboss.exposure").value.array_value
    array.values.add(string_value=exposure(1))
    got = counted(ingest(ramp()), read(built))
    assert got == {"canary": [(1, 0, 1, 0, 1, 0)], "baseline": [], "coverage": [(1, 0, 0)]}


def test_a_flag_split_by_something_else_has_no_arm() -> None:
    """A hook tells only the targeting key: where people are split by another attribute, its events prove nothing."""
    got = counted(ingest(row(NOW - timedelta(minutes=1))), as_protobuf(body(("a", "", SERVER, [event()]))))
    assert (got["canary"], got["baseline"]) == ([], [])


def test_an_event_before_the_ramp_is_known_and_stale() -> None:
    """A split outside the time of the ramp is not counted in an arm."""
    later = row(NOW + timedelta(seconds=1), flag=FLAG)
    got = counted(ingest(later), as_protobuf(body(("a", "", SERVER, [event()]))))
    assert got == {"canary": [], "baseline": [], "coverage": [(0, 1, 0)]}


def test_a_broken_event_refuses_the_body_with_its_place() -> None:
    """An event that does not parse is named; nothing of the body is counted."""
    built = body(("a", "", SERVER, [event()]))
    whole = built.SerializeToString()
    at = whole.index(b"feature_flag.evaluation")
    broken = whole[: at - 2] + b"\x1f" + whole[at - 1 :]
    with pytest.raises(Invalid) as refused:
        ProtobufReader().read(broken, "traces")
    assert refused.value.place == "resource_spans[0].scope_spans[0].spans[0].events"
