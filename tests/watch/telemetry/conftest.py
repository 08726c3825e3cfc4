"""Fixtures of the telemetry room: a bucket store on each real database, and an ingest with one ramp in flight."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.watch.telemetry.otlp import CHANGE

from airboss.testing import ManualClock
from airboss.testing.telemetry import ListedExposures
from airboss.watch.telemetry import ActiveExposure, SqlBucketStore, TelemetrySettings, open_bucket_store


@pytest.fixture
def settings() -> TelemetrySettings:
    return TelemetrySettings()


@pytest.fixture(params=["sqlite", "postgresql"])
def buckets(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlBucketStore]:
    """An empty bucket store, once on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'telemetry.db'}"
    else:
        url = str(request.getfixturevalue("postgresql_url"))
    opened = open_bucket_store(url)
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[SqlBucketStore]:
    """An empty bucket store where the other database would prove nothing more."""
    opened = open_bucket_store(f"sqlite:///{tmp_path / 'only.db'}")
    opened.create()
    yield opened
    opened.close()


def row(
    start: datetime, *, step: int = 1, attempt: int = 1, end: datetime | None = None, **more: object
) -> ActiveExposure:
    """An exposure of the usual change at the usual place."""
    usual = {
        "change_id": CHANGE,
        "design": "ramp",
        "service": "checkout",
        "environment": "production",
        "unit": "checkout",
        "percent": 10.0,
    }
    return ActiveExposure(start=start, end=end, step=step, attempt=attempt, **(usual | more))  # type: ignore[arg-type]


@pytest.fixture
def exposures(clock: ManualClock) -> ListedExposures:
    """The usual change, at step 1 since a minute ago."""
    return ListedExposures([row(clock.now() - timedelta(minutes=1))])
