"""Windows and freezes, and whether each is on now."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.decide.calendar import Window, active, occurrences
from airboss.kernel.clock import rfc3339

IN_SIGHT: Final = timedelta(days=400)
AHEAD: Final = timedelta(days=14)
"""How far ahead spans are named."""
SPANS_MOST: Final = 100


def calendar_view(house: House, connection: Connection, now: datetime) -> dict[str, Any]:
    """Return every window: {now, items}. One query."""
    return {"now": rfc3339(now), "items": [_window(one, now) for one in house.calendar.windows(connection)]}


def _window(one: Window, now: datetime) -> dict[str, Any]:
    span = active(one, now)
    following = next((start for start, _ in occurrences(one, now, now + IN_SIGHT) if start > now), None)
    return {
        "name": one.name,
        "allow": one.allow,
        "zone": one.zone,
        "reason": one.reason,
        "scope": {
            "services": sorted(one.reach.services),
            "tiers": sorted(one.reach.tiers),
            "environments": sorted(one.reach.environments),
            "kinds": sorted(one.reach.kinds),
        },
        "active": span is not None,
        "until": None if span is None else rfc3339(span[1]),
        "ahead": [
            {"start": rfc3339(start), "end": rfc3339(end)}
            for start, end in islice(occurrences(one, now, now + AHEAD), SPANS_MOST)
        ],
        "next": None if following is None else rfc3339(following),
    }
