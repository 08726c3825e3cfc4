"""Sends spans of our own work where the settings say; without them nothing of OpenTelemetry is loaded.

Source: OpenTelemetry specification, SDK environment variables. Sampling, headers, limits and the service's name are
OpenTelemetry's own variables, read by its SDK.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

from airboss import __version__
from airboss.kernel import spans
from airboss.kernel.settings import Settings

FLUSH_MS: Final = 1_000

log = logging.getLogger("airboss.serve")


@contextlib.contextmanager
def traced(process: str, settings: Settings) -> Iterator[None]:
    """Send the spans of this process while inside. A place that does not answer costs spans, never work."""
    provider = None if settings.spans_to is None else _provider(process, settings.spans_to)
    if provider is None:
        yield
        return
    spans.use(provider.get_tracer("airboss", __version__))
    log.info("spans are sent to %s", settings.spans_to)
    try:
        yield
    finally:
        spans.use(None)
        provider.force_flush(FLUSH_MS)
        provider.shutdown()


def _provider(process: str, address: str) -> Any:
    """Return what makes and sends spans; None, and said so, where its packages are not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("no spans are sent: install airboss[traces], or unset OTEL_EXPORTER_OTLP_ENDPOINT")
        return None
    ours = Resource({"service.name": "airboss", "service.version": __version__, "airboss.process": process})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, timeout=FLUSH_MS / 1000)))
    return provider
