"""Tells telemetry which exposures stand, from what the tower observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from airboss.act.flags import Exposure, ramps_of
from airboss.act.rollout import repo
from airboss.act.rollout.repo import ExposureRow
from airboss.changes import existing
from airboss.records.store import Store
from airboss.sdk.evaluator import TARGETING_KEY
from airboss.watch.telemetry import ActiveExposure, RampedFlag

FLAG: Final = "flag"
"""The kind of target that splits people; every other runs two versions side by side."""


class TowerExposures:
    """Reads the exposures the tower keeps. Used by the ingest in its own process, and by readers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def since(self, at: datetime) -> Sequence[ActiveExposure]:
        """Return the exposures that stand or ended after `at`. Three queries."""
        with self._store.read() as connection:
            rows = repo.exposures(connection, since=at)
            flags = _flags(connection, rows)
        return [_active(row, flags) for row in rows]

    def of_change(self, change_id: str) -> Sequence[ActiveExposure]:
        """Return every exposure of a change. Three queries."""
        with self._store.read() as connection:
            rows = repo.exposures_of(connection, change_id)
            flags = _flags(connection, rows)
        return [_active(row, flags) for row in rows]

    def known(self, change_ids: frozenset[str]) -> frozenset[str]:
        """Return those that name a change here. One query."""
        with self._store.read() as connection:
            return existing(connection, change_ids)


def _flags(connection: Connection, rows: Sequence[ExposureRow]) -> Mapping[tuple[str, str], RampedFlag]:
    """Return the flags that changes ramp, by change and environment, where a hook tells enough to find the arm."""
    changes = {row.change_id for row in rows if row.kind == FLAG}
    if not changes:
        return {}
    return {
        (ramp.change_id, ramp.environment): _flag(ramp)
        for ramp, key in ramps_of(connection, changes)
        if key == TARGETING_KEY and ramp.off_variant not in _new_side(ramp)
    }


def _flag(ramp: Exposure) -> RampedFlag:
    return RampedFlag(key=ramp.flag, canary_variants=_new_side(ramp), baseline_variant=ramp.off_variant)


def _new_side(ramp: Exposure) -> frozenset[str]:
    return frozenset(variant for variant, _ in ramp.split) or frozenset({ramp.on_variant})


def _active(row: ExposureRow, flags: Mapping[tuple[str, str], RampedFlag]) -> ActiveExposure:
    return ActiveExposure(
        change_id=row.change_id,
        design="ramp" if row.kind == FLAG else "deploy",
        service=row.service,
        environment=row.environment,
        unit=row.unit,
        attempt=row.attempt,
        step=row.step,
        start=row.from_at,
        end=row.to_at,
        percent=row.percent,
        flag=flags.get((row.change_id, row.environment)),
    )
