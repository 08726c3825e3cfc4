"""Tells telemetry which exposures stand, from what the tower observed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airboss.act.rollout import repo
from airboss.act.rollout.repo import ExposureRow
from airboss.changes import existing
from airboss.records.store import Store
from airboss.watch.telemetry import ActiveExposure


class TowerExposures:
    """Reads the exposures the tower keeps. Used by the ingest in its own process, and by readers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def since(self, at: datetime) -> Sequence[ActiveExposure]:
        """Return the exposures that stand or ended after `at`. One query."""
        with self._store.read() as connection:
            return [_active(row) for row in repo.exposures(connection, since=at)]

    def of_change(self, change_id: str) -> Sequence[ActiveExposure]:
        """Return every exposure of a change. One query."""
        with self._store.read() as connection:
            return [_active(row) for row in repo.exposures_of(connection, change_id)]

    def known(self, change_ids: frozenset[str]) -> frozenset[str]:
        """Return those that name a change here. One query."""
        with self._store.read() as connection:
            return existing(connection, change_ids)


def _active(row: ExposureRow) -> ActiveExposure:
    return ActiveExposure(
        change_id=row.change_id,
        # A flag splits people; every other target runs two versions side by side.
        design="ramp" if row.kind == "flag" else "deploy",
        service=row.service,
        environment=row.environment,
        unit=row.unit,
        attempt=row.attempt,
        step=row.step,
        start=row.from_at,
        end=row.to_at,
        percent=row.percent,
    )
