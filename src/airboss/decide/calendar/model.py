"""Windows and freezes, and what they say of a moment. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a window lasts: days by the calendar, the rest by the clock.

    RFC 5545 section 3.3.6: a day ends at the same time of day, also over a change to or from summer time.
    """

    days: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a window is about. Each list that is not empty must have something in common with the change."""

    services: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        return not (self.services or self.tiers or self.environments or self.kinds)

    def meets(self, other: Reach) -> bool:
        """Return whether a change with the reach `other` is meant."""
        pairs = (
            (self.services, other.services),
            (self.tiers, other.tiers),
            (self.environments, other.environments),
            (self.kinds, other.kinds),
        )
        return all(not mine or mine & theirs for mine, theirs in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which changes may start (`allow`) or may not (a freeze), once or again and again.

    `starts` is local time in `zone`. A freeze that says no scope stops every change; an allowing window that says none
    constrains only the changes that name it.
    """

    name: str
    allow: bool
    zone: str
    starts: datetime
    lasts: Length
    repeats: str | None = None
    reach: Reach = field(default_factory=Reach)
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A change may start. `until`: when that ends, None when nothing in sight ends it."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A change may not start: which window says so, why, and when it may next; None when no time is in sight."""

    why: str
    window: str
    opens_at: datetime | None
