"""What other people's services import from Airboss; everything else here is private to the project.

- `AirbossProvider`: feature flags for the ordinary OpenFeature SDK, evaluated in the process (needs `openfeature-sdk`);
- `ExposureHook`, `follow_local_roots`: put the arm of each active ramp on the service's local root span (needs
  OpenTelemetry);
- `resource_attributes`: the change ID and its companions as an OpenTelemetry resource (needs nothing);
- `with_change`, `without_change`, `change_of`: the change ID as W3C baggage (needs `opentelemetry-api`);
- `ChangeIdFilter`, `process_change`: the change ID in log records, and the one that started this process;
- `compile_snapshot`, `Snapshot`, `Resolution`: the evaluator alone.

Names are loaded when they are first asked for, so a service pays only for what it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airboss.sdk.context import ChangeIdFilter, change_of, process_change, with_change, without_change
    from airboss.sdk.evaluator import Resolution, Snapshot, compile_snapshot
    from airboss.sdk.provider import AirbossProvider
    from airboss.sdk.resource import resource_attributes
    from airboss.sdk.telemetry import ExposureHook, follow_local_roots

_HOMES: Final = {
    "AirbossProvider": "provider",
    "ChangeIdFilter": "context",
    "ExposureHook": "telemetry",
    "Resolution": "evaluator",
    "Snapshot": "evaluator",
    "change_of": "context",
    "compile_snapshot": "evaluator",
    "follow_local_roots": "telemetry",
    "process_change": "context",
    "resource_attributes": "resource",
    "with_change": "context",
    "without_change": "context",
}

__all__ = [
    "AirbossProvider",
    "ChangeIdFilter",
    "ExposureHook",
    "Resolution",
    "Snapshot",
    "change_of",
    "compile_snapshot",
    "follow_local_roots",
    "process_change",
    "resource_attributes",
    "with_change",
    "without_change",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
