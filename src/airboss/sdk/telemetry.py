"""The arm of every active ramp, on the service's local root span.

The *local root* is the outermost recording span of this process in the current context: the server span of a request,
whatever spans lie between it and the evaluation. It is what service-level indicators count, so that is where the array
`airboss.exposure` has to be. Set up once, next to the exporter:

    provider = TracerProvider(resource=Resource.create(resource_attributes(service="shop", …)))
    follow_local_roots(provider)

Without that call the array goes to the span that is current when the flag is evaluated, which is the same span as long
as the service makes no spans of its own around evaluations.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from openfeature.flag_evaluation import FlagEvaluationDetails, FlagValueType
from openfeature.hook import Hook, HookContext, HookHints
from opentelemetry import trace

from airboss.sdk.attributes import EXPOSURE
from airboss.sdk.resource import resource_attributes, resource_environment

__all__ = ["ExposureHook", "follow_local_roots", "local_root", "resource_attributes", "resource_environment"]

log = logging.getLogger("airboss.sdk")

ROOT_ATTRIBUTE: Final = "_airboss_local_root"
MOST_ARMS: Final = 64


class ExposureHook(Hook):
    """Writes the arm of an answer that a ramp split; `AirbossProvider` brings it along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # reading and writing an attribute are two steps

    def after(
        self,
        hook_context: HookContext,  # noqa: ARG002 - OpenFeature's signature
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,  # noqa: ARG002 - OpenFeature's signature
    ) -> None:
        """Add the arm, if there is one. Never raises: OpenFeature would take that for a failed evaluation."""
        try:
            arm = details.flag_metadata.get(EXPOSURE)
            if isinstance(arm, str):
                self._add(arm)
        except Exception:
            log.exception("the exposure of flag %r could not be recorded", details.flag_key)

    def _add(self, arm: str) -> None:
        span = local_root()
        if not span.is_recording():
            return
        change = arm.partition("/")[0] + "/"
        with self._lock:
            held = tuple((getattr(span, "attributes", None) or {}).get(EXPOSURE) or ())
            # One element per ramp: a request that asks for two people counts for the first one.
            if len(held) < MOST_ARMS and not any(element.startswith(change) for element in held):
                span.set_attribute(EXPOSURE, [*held, arm])


def local_root() -> trace.Span:
    """Return the local root of the current context, or the current span where roots are not followed or it has ended."""
    span = trace.get_current_span()
    root = getattr(span, ROOT_ATTRIBUTE, None)
    return root if isinstance(root, trace.Span) and root.is_recording() else span


def follow_local_roots(tracer_provider: Any) -> None:
    """Let every span of an OpenTelemetry SDK `TracerProvider` remember its local root."""
    from airboss.sdk.spans import LocalRoots  # noqa: PLC0415 - needs opentelemetry-sdk, the hook only its API

    tracer_provider.add_span_processor(LocalRoots())
