"""The arm on the local root span, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from airboss.sdk.provider import AirbossProvider
from airboss.sdk.resource import resource_attributes, resource_environment
from airboss.sdk.telemetry import follow_local_roots

SIDES = {"on_variant": "on", "off_variant": "off"}


def flag(change: str | None) -> dict[str, object]:
    plain = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    return plain if change is None else {**plain, "ramp": {"change_id": change, "percent": 50, "salt": change, **SIDES}}


@pytest.fixture
def exported():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    follow_local_roots(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    flags = AirbossProvider("http://127.0.0.1:9", "t", start_timeout_s=0)
    flags._use({"revision": 1, "flags": {"one": flag("chg_one"), "two": flag("chg_two"), "plain": flag(None)}})
    flags.initialize = lambda _: None
    api.set_provider_and_wait(flags, "test_telemetry")
    yield exporter, provider.get_tracer("t"), api.get_client("test_telemetry")
    api.clear_providers()


def arms(span) -> list[str]:
    return list((span.attributes or {}).get("airboss.exposure") or ())


def test_the_local_root_carries_one_element_per_ramp(exported) -> None:
    """Two ramps seen in inner spans show on the server span once each; a plain flag shows nothing, inner spans neither."""
    exporter, tracer, client = exported
    remote = SpanContext(trace_id=1, span_id=2, is_remote=True, trace_flags=TraceFlags(1))
    parent = trace.set_span_in_context(NonRecordingSpan(remote))
    context = EvaluationContext("user-1")
    with (
        tracer.start_as_current_span("server", context=parent),
        tracer.start_as_current_span("middle"),
        tracer.start_as_current_span("inner"),
    ):
        for name in ("one", "two", "one", "plain"):
            client.get_boolean_value(name, False, context)
        client.get_boolean_value("one", False, EvaluationContext("somebody else"))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert [arm.split("/")[0] for arm in arms(spans["server"])] == ["chg_one", "chg_two"]
    assert arms(spans["middle"]) == arms(spans["inner"]) == []


def test_work_that_outlives_its_request_is_its_own_root(exported) -> None:
    """A span whose root has ended takes the element itself, instead of losing it."""
    exporter, tracer, client = exported
    root = tracer.start_span("server")
    with trace.use_span(root):
        late = tracer.start_span("late")
    root.end()
    with trace.use_span(late, end_on_exit=True):
        client.get_boolean_value("one", False, EvaluationContext("user-1"))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert arms(spans["server"]) == []
    assert len(arms(spans["late"])) == 1


def test_a_sampler_drops_both_arms_alike() -> None:
    """A span that is not sampled gets no arm and costs no fault; of those that are, each has one, in the ramp's share."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=TraceIdRatioBased(0.25))
    follow_local_roots(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    flags = AirbossProvider("http://127.0.0.1:9", "t", start_timeout_s=0)
    flags._use({"revision": 1, "flags": {"one": flag("chg_one")}})
    flags.initialize = lambda _: None
    api.set_provider_and_wait(flags, "sampled")
    client, tracer = api.get_client("sampled"), provider.get_tracer("t")
    for number in range(4000):
        with tracer.start_as_current_span("server"):
            details = client.get_boolean_details("one", False, EvaluationContext(f"user-{number}"))
        assert details.error_code is None
    api.clear_providers()
    shown = [arms(span) for span in exporter.get_finished_spans()]
    assert all(len(arm) == 1 for arm in shown)
    assert 800 < len(shown) < 1200  # 1,000 expected, deviation 27
    assert 0.4 < sum("/canary/" in arm[0] for arm in shown) / len(shown) < 0.6


def test_without_a_span_evaluation_goes_on(exported) -> None:
    """No recording span, no harm."""
    _, _, client = exported
    details = client.get_boolean_details("one", False, EvaluationContext("user-1"))
    assert details.error_code is None
    assert details.flag_metadata["airboss.exposure"].startswith("chg_one/")


def test_resource_attributes_name_the_change_and_nothing_that_moves() -> None:
    """The change is in both attributes; the environment form is percent-encoded."""
    made = resource_attributes(change_id="chg_x", service="shop", version="1,2", environment="production")
    assert made["deployment.id"] == made["airboss.change.id"] == "chg_x"
    assert resource_attributes(service="shop") == {"service.name": "shop"}
    assert "service.version=1%2C2" in resource_environment(made)


def test_importing_the_sdk_needs_neither_opentelemetry_nor_openfeature() -> None:
    """A service that only wants an ID or an evaluator loads neither."""
    script = (
        "import sys, airboss.sdk, airboss.sdk.ids, airboss.sdk.resource, airboss.sdk.evaluator; "
        "sys.exit(any(name.split('.')[0] in {'opentelemetry', 'openfeature'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
