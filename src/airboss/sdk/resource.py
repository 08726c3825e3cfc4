"""The change ID in a service's telemetry."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from airboss.sdk.attributes import CHANGE_ID, DEPLOYMENT_ID, ENVIRONMENT, SERVICE_NAME, SERVICE_VERSION


def resource_attributes(
    *, change_id: str | None = None, service: str, version: str | None = None, environment: str | None = None
) -> dict[str, str]:
    """Return the resource attributes of one running process, for `Resource.create`.

    `change_id` is the change that deployed this process, None where none is known. Never add a stage, track, percentage
    or approver: they change without a restart, and the server derives them.
    """
    attributes = {SERVICE_NAME: service}
    if version:
        attributes[SERVICE_VERSION] = version
    if environment:
        attributes[ENVIRONMENT] = environment
    if change_id:
        attributes[CHANGE_ID] = change_id
        attributes[DEPLOYMENT_ID] = change_id
    return attributes


def resource_environment(attributes: Mapping[str, str]) -> str:
    """Return attributes as the value of OTEL_RESOURCE_ATTRIBUTES: `key=value` pairs, values percent-encoded."""
    return ",".join(f"{key}={quote(value, safe='')}" for key, value in attributes.items())
