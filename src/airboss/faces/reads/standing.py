"""What lists say beyond the rows: whose turn it is, and how far the moving ones are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from airboss.act.rollout import compile_plan, standing_of
from airboss.bootstrap import House
from airboss.changes import Change
from airboss.kernel.errors import AirbossError
from airboss.people.access import Actor


def waiting_for(house: House, connection: Connection, actor: Actor) -> dict[str, Any]:
    """Return by change what is asked of somebody: {"until": RFC 3339, "groups": […]}. Seven queries."""
    found = {}
    for one in house.approvals.inbox(connection, actor.name):
        groups = [seats.group for seats in one.standing.missing if actor.name in seats.may]
        found[one.round.change] = {"until": one.round.expires_at, "groups": groups}
    return found


def exposed(connection: Connection, changes: Iterable[str]) -> Mapping[str, float]:
    """Return the largest share of each change that stands now, in percent. One query."""
    standing = standing_of(connection, list(changes))
    return {change: max(row.percent for row in rows) for change, rows in standing.items()}


def forecast_view(house: House, change: Change) -> list[dict[str, Any]]:
    """Return how long each judged step will take at this traffic: {step, percent, seconds, requests_per_s}.

    Empty for a draft, and where the plan or the traffic cannot be read. No query but the telemetry's.
    """
    if change.spec is None:
        return []
    try:
        found = house.planner.forecast(compile_plan(change.expanded()))
    except AirbossError:
        return []
    return [
        {"step": one.step, "percent": one.percent, "seconds": one.seconds, "requests_per_s": one.per_s} for one in found
    ]
