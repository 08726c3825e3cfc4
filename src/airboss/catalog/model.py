"""What the catalog knows, as read-only views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

SliKind: TypeAlias = Literal["ratio", "threshold"]


class Tier(StrEnum):
    """How much hangs on a service."""

    CRITICAL = "critical"
    IMPORTANT = "important"
    STANDARD = "standard"
    EXPERIMENTAL = "experimental"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document in force: its canonical bytes, their digest, and how often it has changed (from 1)."""

    kind: str
    name: str
    revision: int
    digest: str
    data: bytes
    value: Mapping[str, Any]
    applied_at: datetime
    applied_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that runs and has an owner."""

    name: str
    owner: str
    tier: Tier
    stateful: bool
    depends_on: tuple[str, ...]
    environments: tuple[str, ...]
    oncall: str | None
    runbooks: tuple[str, ...]
    telemetry_name: str
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """People who own services. Handles, as in `Actor.name`."""

    name: str
    members: frozenset[str]
    leads: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """People who may fill seats of an approval; `backup` is asked when too few of them may."""

    name: str
    members: frozenset[str]
    backup: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rota:
    """Who is on call in turn, from a local time on."""

    name: str
    rotation: Literal["daily", "weekly"]
    starts: datetime
    zone: str
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where changes go; production has the highest rank. An exempt one is for trying things out."""

    name: str
    rank: int
    exempt: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How to reach a system outside; secrets are references (`{env: NAME}`, `{file: path}`)."""

    name: str
    system: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sli:
    """An OpenSLO indicator. `service` is the one its built-in source names, if any; `content` is the whole document."""

    name: str
    kind: SliKind
    service: str | None
    content: Mapping[str, Any]
    signals: frozenset[str] = frozenset()
    """What it tells, by its label `airboss.dev/signal` (a name, or a list of them)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """An OpenSLO objective. `target` is the strictest of its objectives, a share; `content` is the whole document."""

    name: str
    service: str | None
    indicator: str | None
    target: float | None
    content: Mapping[str, Any]
    window: str | None = None
    """How long its budget lasts, as it was written: 28d."""
    signals: frozenset[str] = frozenset()
    """What it tells, as of an indicator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """Steps for people and machines, in Markdown."""

    name: str
    service: str | None
    owner: str
    purposes: frozenset[str]
    body: str
