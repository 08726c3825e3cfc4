"""Canary and baseline of the changes that are out on a service: what each arm does now, and against which objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from airboss.act.rollout import ExposureRow, standing_of
from airboss.bootstrap import House
from airboss.catalog import Service, Slo
from airboss.changes import STARTED, Summary
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError
from airboss.watch.analysis import quantile_us
from airboss.watch.telemetry import ARMS, ArmSeries, WindowCounts

WINDOW: Final = timedelta(hours=1)
"""How far back requests are counted, or as long as the change has been out."""
QUANTILE: Final = 0.95


def tracks_view(
    house: House, connection: Connection, services: Sequence[Service], slos: Sequence[Slo], now: datetime
) -> dict[str, list[dict[str, Any]]]:
    """Return by service the tracks of each change that exposes a part of its users now: {change, title, phase,
    environment, percent, since, canary, baseline, objectives}.

    An arm is {requests, bad, error_pct, p95_ms}, over the last hour or since the change began; an objective is {name,
    target, canary_pct, baseline_pct}, the share of good events of each arm. None where nothing was counted. Two queries,
    one for each service with tracks, and some of telemetry for each track.
    """
    out: dict[str, Summary] = {
        one.id: one for one in house.changes.in_phases(connection, STARTED) if one.started_at is not None
    }
    wanted = {one.name: one for one in services}
    found: dict[str, list[dict[str, Any]]] = {}
    for change_id, rows in standing_of(connection, list(out)).items():
        for row in rows:
            if row.service in wanted and 0 < row.percent < 100:
                own = [slo for slo in slos if slo.service == row.service]
                track = _track(house, connection, out[change_id], row, own, wanted[row.service], now=now)
                found.setdefault(row.service, []).append(track)
    return found


def _track(
    house: House,
    connection: Connection,
    change: Summary,
    row: ExposureRow,
    slos: Sequence[Slo],
    service: Service,
    *,
    now: datetime,
) -> dict[str, Any]:
    since = max(change.started_at or now, now - WINDOW)
    try:
        series = house.telemetry.bucket_series(
            change.id, row.service, row.environment, start=since, end=now, now=now, width=max(now - since, WINDOW)
        )
    except AirbossError:
        counts: Mapping[str, WindowCounts] = {}
    else:
        counts = {
            arm: _counts(one, since, now) for arm, one in zip(ARMS, (series.canary, series.baseline), strict=True)
        }
    return {
        "change": change.id,
        "title": change.title,
        "phase": str(change.phase),
        "environment": row.environment,
        "percent": row.percent,
        "since": rfc3339(since),
        **{arm: _arm(counts.get(arm)) for arm in ARMS},
        "objectives": house.objectives.apart(connection, slos, service.telemetry_name, row.environment, counts),
    }


def _counts(one: ArmSeries, since: datetime, now: datetime) -> WindowCounts:
    return WindowCounts(
        window=now - since,
        start=since,
        end=now,
        total=int(one.requests.sum()),
        bad=int(one.bad.sum()),
        hist=one.hist.sum(axis=0),
        observed=now - since,
    )


def _arm(counts: WindowCounts | None) -> dict[str, Any] | None:
    if counts is None or not counts.total:
        return None
    p95 = None if counts.hist is None else quantile_us(counts.hist, QUANTILE)
    return {
        "requests": counts.total,
        "bad": counts.bad,
        "error_pct": round(100 * counts.bad / counts.total, 4),
        "p95_ms": None if p95 is None else round(p95 / 1000, 3),
    }
