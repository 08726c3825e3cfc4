"""The documents the catalog keeps, as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from airboss.catalog.edge import Envelope, Handles, Line, LocalTime, Metadata, Name, Names, Prose, Shape, Zone

_SECRET: Final = re.compile(r"pass(word|wd)?|secret|token|api_?key|private_?key|credentials?", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

Tier: TypeAlias = Literal["critical", "important", "standard", "experimental"]


class TeamSpec(Shape):
    members: Handles
    leads: Handles = Field(default_factory=list)


class TeamShape(Envelope):
    kind: Literal["Team"]
    metadata: Metadata
    spec: TeamSpec


class GroupSpec(Shape):
    members: Handles
    backup: Name | None = None


class GroupShape(Envelope):
    kind: Literal["Group"]
    metadata: Metadata
    spec: GroupSpec


class RotaSpec(Shape):
    rotation: Literal["daily", "weekly"]
    starts: LocalTime
    zone: Zone
    people: Annotated[Handles, Field(min_length=1)]


class RotaShape(Envelope):
    kind: Literal["Rota"]
    metadata: Metadata
    spec: RotaSpec


class EnvironmentSpec(Shape):
    rank: Annotated[int, Field(ge=0, le=1000)]
    """Distance from a laptop: production has the highest."""
    exempt: bool = False


class EnvironmentShape(Envelope):
    kind: Literal["Environment"]
    metadata: Metadata
    spec: EnvironmentSpec


def _one_system(value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Accept exactly one system, and secrets by reference only."""
    if len(value) != 1:
        raise PydanticCustomError("bad_target", "name exactly one system, such as envoy: {…}", {})
    _no_secrets(value)
    return value


def _no_secrets(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _no_secrets(item)
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        if _SECRET.fullmatch(key):
            _reference(key, below)
        else:
            _no_secrets(below)


def _reference(key: str, value: Any) -> None:
    """Accept `{env: NAME}` or `{file: path}`; a secret itself never lies in a document."""
    match value:
        case {"env": str(name)} if len(value) == 1 and _REFERENCE.fullmatch(name):
            return
        case {"file": str(path)} if len(value) == 1 and path:
            return
    raise PydanticCustomError(
        "secret_in_file",
        "{key} is a secret and is given by reference only: {env: NAME} or {file: path}",
        {"key": key},
    )


class ConnectionShape(Envelope):
    kind: Literal["Connection"]
    metadata: Metadata
    spec: Annotated[dict[Name, dict[str, Any]], AfterValidator(_one_system)]


class Telemetry(Shape):
    service_name: Line
    """What the service calls itself in `service.name`."""


class ServiceSpec(Shape):
    owner: Name
    tier: Tier
    stateful: bool = False
    depends_on: Names = Field(default_factory=list)
    environments: Annotated[Names, Field(min_length=1)]
    oncall: Name | None = None
    runbooks: Names = Field(default_factory=list)
    telemetry: Telemetry | None = None
    description: Prose | None = None


class ServiceShape(Envelope):
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class RunbookShape(Envelope):
    """The front matter of a Markdown file; `body` is the text below it."""

    kind: Literal["Runbook"]
    name: Name
    service: Name | None = None
    owner: Name
    purposes: Annotated[
        list[Literal["mitigation", "rollback", "triage", "operation"]], Field(alias="for", min_length=1)
    ]
    body: Annotated[str, Field(min_length=1, max_length=200_000)]


class OpenSloMetadata(Shape):
    name: Name
    display_name: Line | None = Field(default=None, alias="displayName")
    labels: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class OpenSloShape(Shape):
    """The envelope of an OpenSLO document. What stands in `spec` is judged by the room of objectives."""

    api_version: Literal["openslo/v1"] = Field(alias="apiVersion")
    kind: Literal["SLI", "SLO"]
    metadata: OpenSloMetadata
    spec: dict[str, Any]
