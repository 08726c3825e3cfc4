"""What somebody's tracing shows of a change on its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.tower.world import World

from airboss.kernel import spans
from airboss.sdk.attributes import CHANGE_ID


@pytest.fixture
def seen() -> Iterator[InMemorySpanExporter]:
    """The spans that are made while a test runs."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans.use(provider.get_tracer("test"))
    yield exporter
    spans.use(None)
    provider.shutdown()


def test_every_look_and_effect_of_a_change_is_a_span_that_names_it(world: World, seen: InMemorySpanExporter) -> None:
    """Effects and policy's answers lie inside the look that caused them, in one trace; nothing is made unasked."""
    change = world.propose()
    assert world.run(60, until=lambda: world.percent() > 0)
    made = {span.context.span_id: span for span in seen.get_finished_spans() if span.context is not None}
    effects = [span for span in made.values() if span.name == "flag apply"]
    decisions = [span for span in made.values() if span.name.startswith("policy ")]
    assert effects
    assert decisions
    for effect in effects:
        assert effect.attributes is not None
        assert effect.parent is not None
        assert effect.attributes[CHANGE_ID] == change
        look = made[effect.parent.span_id]
        assert look.name == "look"
        assert look.attributes is not None
        assert look.attributes[CHANGE_ID] == change
    assert all(span.attributes is not None and "airboss.tier" in span.attributes for span in decisions)
