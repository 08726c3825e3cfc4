"""Exposure, declared and observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airboss.kernel.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How much of production meets the new side. Percent 0–100; `mirror` copies without answering."""

    new_percent: float
    mirror_percent: float = 0.0
    preview: bool = False

    def __post_init__(self) -> None:
        for percent in (self.new_percent, self.mirror_percent):
            if not 0 <= percent <= 100:
                raise Invalid(f"{percent} % is not an exposure", code="bad-exposure", way_out="use 0 % to 100 %")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRef:
    """What a target needs to know of a unit: which change moves what, where. `params` are the target's own words.

    `digest` is what was approved to run on the new side, "" where nobody says: a target that can tell refuses to send
    anybody to something else.
    `attempt` counts rollouts of the change, from 1: an order of an earlier one must find that it came too late.
    """

    change_id: str
    unit: str
    service: str
    environment: str
    kind: str
    params: Mapping[str, Any]
    digest: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What was there before the first exposure: the place a revert goes back to."""

    new_percent: float
    digest: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a target says of itself now. `new_digest` is what really runs on the new side, None where nothing does."""

    exposure: Exposure
    new_digest: str | None
    healthy: bool
    at: datetime
    sentence: str = ""
