"""Services: their objectives and budgets, and how much of their telemetry names its change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.catalog import Environment, Service, Slo
from airboss.faces.reads.tracks import tracks_view
from airboss.kernel.errors import AirbossError, NotFound
from airboss.watch.telemetry import Coverage


def services_view(house: House, connection: Connection, now: datetime, *, tracks: bool = False) -> list[dict[str, Any]]:
    """Return every service as lists show it. Three queries, one for each service, and the telemetry's.

    With `tracks` each has those of the changes that are out there, at the queries of `tracks_view`.
    """
    found = house.catalog.services(connection)
    covered = coverage_view(house, now)
    environments = house.catalog.environments(connection)
    slos = house.catalog.slos(connection)
    views = [
        service_view(
            house, one, covered, now, environments=environments, slos=[slo for slo in slos if slo.service == one.name]
        )
        for one in found
    ]
    if tracks:
        out = tracks_view(house, connection, found, slos, now)
        views = [{**one, "tracks": out.get(one["name"], [])} for one in views]
    return views


def service_page_view(house: House, connection: Connection, name: str, now: datetime) -> dict[str, Any]:
    """Return one service with what it depends on, who answers for it, and the tracks of the changes that are out there.

    Six queries, those of `tracks_view`, and the telemetry's.

    Raises NotFound.
    """
    found = house.catalog.service(connection, name)
    if found is None:
        raise NotFound(
            f"there is no service {name}", code="service-not-found", way_out="apply a file with kind: Service"
        )
    covered = coverage_view(house, now, found.telemetry_name)
    slos = house.catalog.slos_of(connection, name)
    return {
        **service_view(
            house,
            found,
            covered,
            now,
            environments=house.catalog.environments(connection),
            slos=slos,
        ),
        "tracks": tracks_view(house, connection, [found], slos, now).get(name, []),
        "description": found.description,
        "depends_on": list(found.depends_on),
        "dependants": [one.name for one in house.catalog.dependants(connection, name)],
        "oncall": found.oncall,
        "runbooks": list(found.runbooks),
        "stateful": found.stateful,
    }


def service_view(
    house: House,
    one: Service,
    covered: Sequence[dict[str, Any]],
    now: datetime,
    *,
    environments: Sequence[Environment],
    slos: Sequence[Slo],
) -> dict[str, Any]:
    """Return a service as lists show it; `slos` are its own. One query, and some of telemetry for each objective."""
    ranked = [environment.name for environment in environments if environment.name in one.environments]
    nearest = ranked[-1] if ranked else (one.environments[-1] if one.environments else "production")
    try:
        budgets = house.objectives.budgets(slos, nearest, now) or {}
        newest = house.telemetry.freshness(one.telemetry_name, nearest, now=now)
        delay = house.telemetry.delay(one.telemetry_name, now=now)
    except AirbossError:
        budgets, newest, delay = {}, None, None  # unknown is said as unknown, and the rest of the page stands
    return {
        "name": one.name,
        "owner": one.owner,
        "tier": str(one.tier),
        "environments": list(one.environments),
        "objectives": [
            {
                "name": slo.name,
                "target": slo.target,
                "window": slo.window,
                "environment": nearest,
                "known": slo.name in budgets,
                "budget_left": budgets[slo.name]["fact"]["budget_left"] if slo.name in budgets else None,
                "burn": budgets[slo.name]["fact"]["burn"] if slo.name in budgets else None,
            }
            for slo in slos
        ],
        "coverage": [row for row in covered if row["service"] == one.telemetry_name],
        "telemetry_age_s": None if newest is None else max(0.0, (now - newest).total_seconds()),
        "export_delay": None
        if delay is None
        else {"median_s": round(delay.median_s, 3), "max_s": round(delay.max_s, 3)},
    }


def coverage_view(house: House, now: datetime, service: str | None = None) -> list[dict[str, Any]]:
    """Return how much of each service's telemetry of the last hour names its change. No query but the telemetry's."""
    return [_covered(one, now) for one in house.telemetry.coverage(now=now, service=service)]


def _covered(one: Coverage, now: datetime) -> dict[str, Any]:
    share = one.annotated_share
    return {
        "service": one.service,
        "environment": one.environment,
        "signal": one.signal,
        "items": one.total,
        "annotated_pct": None if share is None else round(100 * share, 3),
        "current": one.current,
        "stale": one.stale,
        "unknown": one.unknown,
        "none": one.none,
        "late": one.late,
        "far_off": one.far_off,
        "refused": one.refused,
        "newest_age_s": max(0.0, (now - one.newest_received).total_seconds()),
    }
