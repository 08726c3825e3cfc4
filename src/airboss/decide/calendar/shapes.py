"""Window documents as people write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from dateutil.rrule import rrule, rrulestr
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from airboss.catalog import (
    AIRBOSS,
    Envelope,
    Held,
    Line,
    LocalTime,
    Metadata,
    Names,
    Order,
    Shape,
    Stored,
    Zone,
    duration_s,
)
from airboss.decide.calendar.model import Length, Reach, Window
from airboss.people.access import Action

_PARTS: Final = frozenset(
    {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTH", "BYMONTHDAY", "BYSETPOS", "BYHOUR", "WKST"}
)
_RULE: Final = re.compile(r"[A-Z]+=[A-Z0-9,+-]+(;[A-Z]+=[A-Z0-9,+-]+)*")
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_DAYS: Final = re.compile(r"(?:([0-9]+)w)?(?:([0-9]+)d)?(.*)")
MOST_COUNT: Final = 1_000
SEARCHED: Final = timedelta(days=5 * 366)
"""A rule that never fires in five years is a mistake."""


def _repeat(text: str) -> str:
    """Accept an RRULE of RFC 5545 that repeats by the day or slower: walking it must stay cheap."""
    if not _RULE.fullmatch(text):
        raise PydanticCustomError(
            "bad_repeat", "'{text}' is not an RRULE such as FREQ=WEEKLY;BYDAY=MO,TU", {"text": text}
        )
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if unknown := sorted(parts.keys() - _PARTS):
        raise PydanticCustomError(
            "bad_repeat",
            "{part} is not read in a repetition; there are {known}",
            {"part": unknown[0], "known": ", ".join(sorted(_PARTS))},
        )
    if parts.get("FREQ") not in _FREQUENCIES:
        raise PydanticCustomError("bad_repeat", "FREQ is one of {known}", {"known": ", ".join(_FREQUENCIES)})
    if parts.get("UNTIL", "").endswith("Z"):
        raise PydanticCustomError("bad_repeat", "UNTIL is local time here: leave the Z out", {})
    for part in ("COUNT", "INTERVAL"):
        if part in parts and not (parts[part].isdigit() and 0 < int(parts[part]) <= MOST_COUNT):
            raise PydanticCustomError("bad_repeat", "{part} is 1 to {most}", {"part": part, "most": MOST_COUNT})
    if "COUNT" in parts and "UNTIL" in parts:
        raise PydanticCustomError("bad_repeat", "say COUNT or UNTIL, not both", {})
    return text


def _length(value: Any) -> Length:
    try:
        seconds = duration_s(value)
    except (TypeError, ValueError) as fault:
        raise PydanticCustomError("bad_duration", "{why}", {"why": str(fault)}) from fault
    if seconds == 0:
        raise PydanticCustomError("bad_duration", "a window lasts longer than nothing", {})
    found = _DAYS.fullmatch(value)
    assert found is not None
    return Length(days=7 * int(found[1] or 0) + int(found[2] or 0), seconds=duration_s(found[3]) if found[3] else 0)


class ScopeShape(Shape):
    services: Names = Field(default_factory=list)
    tiers: list[Literal["critical", "important", "standard", "experimental"]] = Field(default_factory=list)
    environments: Names = Field(default_factory=list)
    kinds: Names = Field(default_factory=list)


class WindowSpec(Shape):
    allow: bool
    zone: Zone
    starts: LocalTime
    lasts: Annotated[Any, BeforeValidator(_length)]
    repeats: Annotated[str, AfterValidator(_repeat)] | None = None
    scope: ScopeShape | None = None
    reason: Line | None = None

    @model_validator(mode="after")
    def _happens(self) -> Self:
        """Refuse a repetition that cannot be read or never happens."""
        if self.repeats is None:
            return self
        try:
            found = rrulestr(self.repeats, dtstart=self.starts)
        except (ValueError, TypeError, KeyError) as fault:
            raise PydanticCustomError("bad_repeat", "repeats: {why}", {"why": str(fault)}) from fault
        if not isinstance(found, rrule) or not _fires(found, self.starts):
            raise PydanticCustomError("bad_repeat", "repeats: this never happens in five years", {})
        return self


def _fires(rule: rrule, starts: datetime) -> bool:
    """Return whether a rule fires within five years; bounded, whatever the rule."""
    try:
        return next(iter(rule.replace(count=None, until=starts + SEARCHED)), None) is not None
    except IndexError:
        # The library looks for a weekday beyond the end of the year, where there is none.
        return False


class WindowShape(Envelope):
    kind: Literal["Window"]
    metadata: Metadata
    spec: WindowSpec


WINDOW: Final = Held(
    kind="Window", order=Order.WINDOW, shape=WindowShape, api_version=AIRBOSS, action=Action.CALENDAR_APPLY
)
"""Windows are kept by the catalog; bootstrap hands it this."""


def window(stored: Stored) -> Window:
    """Return a stored document as a window."""
    spec = WindowShape.model_validate(stored.value).spec
    scope = spec.scope or ScopeShape()
    return Window(
        name=stored.name,
        allow=spec.allow,
        zone=spec.zone,
        starts=spec.starts,
        lasts=spec.lasts,
        repeats=spec.repeats,
        reach=Reach(
            services=frozenset(scope.services),
            tiers=frozenset(scope.tiers),
            environments=frozenset(scope.environments),
            kinds=frozenset(scope.kinds),
        ),
        reason=spec.reason,
    )
