"""A span processor that lets each span remember the outermost recording span of its process."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from airboss.sdk.telemetry import ROOT_ATTRIBUTE


class LocalRoots(SpanProcessor):
    """Hands the local root down from parent to child.

    The root is kept on the span itself: it lives exactly as long, needs no lock, and no table can grow.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        parent = trace.get_current_span(parent_context)
        if parent.get_span_context().is_remote or not parent.is_recording():
            return  # this span is a root, and a root needs no reference to itself
        setattr(span, ROOT_ATTRIBUTE, getattr(parent, ROOT_ATTRIBUTE, parent))
