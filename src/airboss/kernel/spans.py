"""Spans of our own work: nothing, unless the server was told where to send them.

The one place that knows OpenTelemetry here; whoever works says only what it does and for which change. A span that
cannot be begun never stops the work it is about.

Source of the model: OpenTelemetry specification, Trace API.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

from airboss.sdk.attributes import CHANGE_ID

Value: TypeAlias = str | int | float | bool


class Span(Protocol):
    """Work under way."""

    def set_attribute(self, key: str, value: Value) -> None:
        """Say one more thing of it."""


class Tracer(Protocol):
    """Begins spans; that of OpenTelemetry, in production."""

    def start_as_current_span(
        self, name: str, *, kind: Any, attributes: Mapping[str, Value]
    ) -> contextlib.AbstractContextManager[Span]:
        """Return a span for a `with`, the child of the one around it."""


class _Unseen:
    def set_attribute(self, key: str, value: Value) -> None:
        """Nobody listens."""


_UNSEEN: Final = _Unseen()
_using: list[Any] = []


def use(tracer: Tracer | None) -> None:
    """Send spans to `tracer` from now on; None ends it. Called once, at the start of a process."""
    _using[:] = [] if tracer is None else [tracer]


def wanted() -> bool:
    """Return whether anybody listens."""
    return bool(_using)


def trace_id() -> str | None:
    """Return the trace of the work under way, 32 hexadecimal digits; None where nobody listens or nothing is under way."""
    if not _using:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - loaded already by whoever set the tracer

    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


@contextlib.contextmanager
def span(name: str, *, change: str | None = None, serving: bool = False, **attributes: Value) -> Iterator[Span]:
    """Tell of the work inside, under a name of few values; attributes read `airboss.<name>`, the change its own.

    `serving` marks the answer to a request from elsewhere.

    What is raised inside is recorded with the span and raised on.
    """
    if not _using:
        yield _UNSEEN
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - loaded already by whoever set the tracer

    said: dict[str, Value] = {f"airboss.{key}": value for key, value in attributes.items()}
    if change is not None:
        said[CHANGE_ID] = change
    kind = SpanKind.SERVER if serving else SpanKind.INTERNAL
    with _using[0].start_as_current_span(name, kind=kind, attributes=said) as under_way:
        yield under_way
