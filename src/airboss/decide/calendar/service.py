"""What the calendar says of a change."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from airboss.catalog import Catalog
from airboss.changes import Spec
from airboss.decide.calendar.model import Closed, Open, Reach, Window
from airboss.decide.calendar.rules import state
from airboss.decide.calendar.shapes import window


class Calendar:
    """Answers whether a change may start. Windows are applied through the catalog's register."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def windows(self, connection: Connection) -> list[Window]:
        """Return the windows in force, by name. One query."""
        return [window(stored) for stored in self._catalog.documents(connection, "Window")]

    def reach(self, connection: Connection, spec: Spec) -> Reach:
        """Return what a change touches, as windows ask for it. One query."""
        services = self._catalog.services(connection, spec.services)
        return Reach(
            services=frozenset(spec.services),
            tiers=frozenset(str(service.tier) for service in services),
            environments=frozenset(spec.environments),
            kinds=frozenset({spec.kind}),
        )

    def state(self, connection: Connection, spec: Spec, at: datetime) -> Open | Closed:
        """Return whether a change may start at `at`, by the windows and by its own schedule. Two queries."""
        schedule = spec.schedule
        if schedule.not_after is not None and at >= schedule.not_after:
            return Closed(why=f"it was to start before {_told(schedule.not_after)}", window="schedule", opens_at=None)
        windows, reach = self.windows(connection), self.reach(connection, spec)
        if schedule.not_before is not None and at < schedule.not_before:
            then = state(windows, reach, schedule.not_before, named=schedule.window)
            opens_at = schedule.not_before if isinstance(then, Open) else then.opens_at
            return Closed(
                why=f"it is to start not before {_told(schedule.not_before)}", window="schedule", opens_at=opens_at
            )
        found = state(windows, reach, at, named=schedule.window)
        if isinstance(found, Open) and schedule.not_after is not None:
            return Open(until=min(schedule.not_after, found.until or schedule.not_after))
        return found


def _told(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
