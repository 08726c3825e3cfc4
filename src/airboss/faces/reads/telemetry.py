"""Telemetry as people check it: whom it reaches, what is wrong with it, and the traces worth opening of a change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.catalog import Service
from airboss.changes import Change
from airboss.faces.reads.services import coverage_view
from airboss.kernel.clock import rfc3339
from airboss.watch.telemetry import ARMS, SIGNALS, Exemplar

LATE_SHARE: Final = 0.01
"""More than this share of late spans is told: what is late is in no verdict."""


TARGET_PCT: Final = 95.0
"""Share of a service's items that should name a change, by signal."""


def exemplars_view(house: House, change: Change) -> dict[str, Any]:
    """Return traces of the change's present attempt that are worth opening, by arm: failed ones first (newest first), then
    the slowest. At most twenty an arm. No query but the telemetry's.
    """
    found = house.telemetry.exemplars(change.id, attempt=change.attempt)
    return {arm: [_exemplar(one) for one in found if one.arm == arm] for arm in ARMS}


def _exemplar(one: Exemplar) -> dict[str, Any]:
    return {
        "why": one.why,
        "trace_id": one.trace_id,
        "span_id": one.span_id,
        "name": one.name,
        "service": one.service,
        "environment": one.environment,
        "step": one.step + 1,
        "at": rfc3339(one.end),
        "duration_ms": round(one.duration.total_seconds() * 1000, 3),
        "attributes": dict(one.attributes),
    }


def telemetry_view(house: House, connection: Connection, now: datetime) -> dict[str, Any]:
    """Return what is received of every service of the catalogue, also of those never heard of, and what is wrong with it.

    `services`: each with `seen` (`now`: within the hour, `earlier`, `never`), its rows of coverage, and `problems` in
    words. `below_target`: which of whose signals name a change too seldom, the worst first. `unknown`: services that send and are in no catalogue. `observed_pct`: share of the catalogue seen now. Some
    queries for the catalogue, and the telemetry's.
    """
    rows = coverage_view(house, now)
    ever = house.telemetry.services_ever()
    services = [_checked(one, rows, ever) for one in house.catalog.services(connection)]
    known = {one["telemetry_name"] for one in services}
    heard = sum(one["seen"] == "now" for one in services)
    return {
        "services": services,
        "target_pct": TARGET_PCT,
        "below_target": _below_target(services),
        "unknown": sorted({row["service"] for row in rows} - known),
        "observed_pct": round(100 * heard / len(services), 1) if services else None,
    }


def _below_target(services: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for one in services:
        for signal, items in one["signals"].items():
            rows = [row for row in one["coverage"] if row["signal"] == signal]
            named = 100 * sum(row["current"] + row["stale"] for row in rows) / items if items else TARGET_PCT
            if named < TARGET_PCT:
                found.append({"service": one["name"], "signal": signal, "annotated_pct": round(named, 1)})
    return sorted(found, key=lambda row: row["annotated_pct"])


def _checked(service: Service, rows: Sequence[dict[str, Any]], ever: frozenset[str]) -> dict[str, Any]:
    ours = [row for row in rows if row["service"] == service.telemetry_name]
    heard = any(row["items"] for row in ours)
    seen = "now" if heard else "earlier" if service.telemetry_name in ever else "never"
    problems = [problem for row in ours for problem in _problems(row)]
    if seen == "never":
        problems.append(f"no request was ever received as service.name {service.telemetry_name!r}")
    elif seen == "earlier":
        problems.append("nothing was received within the last hour")
    else:
        where = {row["environment"] for row in ours if row["items"] and row["signal"] == "traces"}
        problems += [f"no spans from {name} within the last hour" for name in service.environments if name not in where]
    return {
        "name": service.name,
        "telemetry_name": service.telemetry_name,
        "owner": service.owner,
        "seen": seen,
        "signals": {signal: sum(row["items"] for row in ours if row["signal"] == signal) for signal in SIGNALS},
        "coverage": ours,
        "problems": problems,
    }


def _problems(row: dict[str, Any]) -> list[str]:
    place = f"{row['signal']} of {row['environment']}"
    told = []
    if row["unknown"]:
        told.append(f"{place}: {row['unknown']} of {row['items']} items name a change nobody knows")
    if row["far_off"]:
        told.append(f"{place}: {row['far_off']} spans end too far from now and are not counted; a clock is wrong")
    if row["items"] and row["late"] > LATE_SHARE * row["items"]:
        told.append(f"{place}: {row['late']} of {row['items']} spans come too late to be judged; export sooner")
    if row["refused"]:
        told.append(f"{row['signal']}: {row['refused']} items of other services came with this service's token")
    return told
