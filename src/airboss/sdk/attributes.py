"""The names under which a change travels through other people's systems.

Change these and every dashboard, collector rule and CI step out there breaks: they are an interface, not constants.
"""

from __future__ import annotations

from typing import Final

CHANGE_ID: Final = "airboss.change.id"
"""Resource attribute: the change that put this process where it is. Also a W3C baggage key."""

DEPLOYMENT_ID: Final = "deployment.id"
"""Resource attribute of the OpenTelemetry conventions; carries the change ID, so a canary's track follows from it."""

SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"
"""Resource attribute: which pod or process it is. A deploy's canary is judged against groups of the others."""
ENVIRONMENT: Final = "deployment.environment.name"

EXPOSURE: Final = "airboss.exposure"
"""Span attribute (array of strings) on the service's local root span: one element per active ramp, see `exposure`."""

BAGGAGE_KEY: Final = CHANGE_ID
BAGGAGE_ENV: Final = "BAGGAGE"
"""Environment variable that carries W3C baggage into a process (OpenTelemetry, environment variables as carriers)."""
HEADER: Final = "Airboss-Change-Id"
"""HTTP header, where baggage is not available."""

ENVIRONMENT_HEADER: Final = "Airboss-Environment"
"""HTTP header by which an SDK says for which environment it wants flags; without it, production."""

GIT_TRAILER: Final = "Airboss-Change"
"""Trailer of a commit message: `Airboss-Change: chg_…`."""

ENV: Final = "AIRBOSS_CHANGE_ID"
"""Environment variable from which a process learns the change that started it."""

OTEL_RESOURCE_ENV: Final = "OTEL_RESOURCE_ATTRIBUTES"
"""Where every OpenTelemetry SDK reads additional resource attributes."""
