"""On call: what moves now, what burns, and which change is suspected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.changes import Phase
from airboss.faces.reads.change import flight_view
from airboss.faces.reads.dossier import Dossier
from airboss.faces.reads.services import services_view
from airboss.kernel.clock import parse_rfc3339
from airboss.people.access import Actor

OUT: Final = frozenset(
    {Phase.VALIDATING, Phase.ROLLING_OUT, Phase.VERIFYING, Phase.ROLLING_BACK, Phase.ROLLBACK_FAILED}
)
LATELY: Final = timedelta(hours=24)
"""How long after its end a change is still suspected of what burns."""
MOST: Final = 20
"""How many changes are shown of each kind."""
BURNING: Final = 1.0
"""From this burn rate on an objective spends its budget sooner than its window allows."""


def on_call_view(house: House, connection: Connection, actor: Actor, now: datetime) -> dict[str, Any]:
    """Return what somebody on call needs at a glance: {now, position, moving, burning, lately, more}.

    `moving` are the changes that are out or going back, as `flight_view` has them, suspected ones first; `lately` those
    that ended in the last day and can still be taken back; `burning` the objectives that spend more than they may or have
    nothing left, each with its `suspects`. Ten queries, however many changes there are, and those of `services_view`.
    """
    page = house.changes.list(actor=actor, phases=OUT, limit=MOST)
    done = house.changes.list(actor=actor, phases=[Phase.COMPLETED, Phase.REVIEWING], limit=MOST)
    ended = [one for one in done.items if one.ended_at is None or one.ended_at > now - LATELY]
    whole = {one.id: one for one in house.changes.read_many(connection, [one.id for one in (*page.items, *ended)])}
    known = [whole[one.id] for one in (*page.items, *ended)]
    views = [flight_view(one) for one in Dossier.of_many(house, connection, known, actor)]
    moving, lately = views[: len(page.items)], views[len(page.items) :]
    burning = burning_of(services_view(house, connection, now), [*moving, *lately])
    suspected = {one["id"]: name for name in reversed(burning) for one in name["suspects"]}
    for one in (*moving, *lately):
        of = suspected.get(one["id"])
        one["suspected"] = None if of is None else {"objective": of["objective"], "sentence": of["sentence"]}
    moving.sort(key=lambda one: (one["phase"] != "rollback_failed", one["suspected"] is None))
    return {
        "position": house.journal.size(connection) - 1,
        "moving": moving,
        "burning": burning,
        "lately": [one for one in lately if "rollback" in one["orders"]],
        "more": page.next_cursor is not None,
    }


def burning_of(services: Sequence[Mapping[str, Any]], changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the objectives that burn, the worst first, each with the changes that are suspected.

    Suspected is a change that has been out on the service; the one that began last stands first, because what changed
    last is looked at first. That is a suspicion and no verdict: the gates judge by comparing arms.
    """
    found: list[dict[str, Any]] = []
    for service in services:
        suspects = [
            {"id": one["id"], "title": one["title"], "phase": one["phase"], "started_at": one["started_at"]}
            for one in changes
            if service["name"] in one["services"] and one["started_at"] is not None
        ]
        suspects.sort(key=lambda one: parse_rfc3339(one["started_at"]), reverse=True)
        found += [
            {
                "service": service["name"],
                "owner": service["owner"],
                "objective": one["name"],
                "environment": one["environment"],
                "budget_left": one["budget_left"],
                "burn": one["burn"],
                "sentence": _burns(one),
                "suspects": suspects,
            }
            for one in service["objectives"]
            if one["known"] and (one["burn"] > BURNING or one["budget_left"] <= 0)
        ]
    return sorted(found, key=lambda one: (one["burn"], -one["budget_left"]), reverse=True)


def _burns(one: Mapping[str, Any]) -> str:
    left = f"{100 * one['budget_left']:.3g} % of the budget left" if one["budget_left"] > 0 else "its budget is spent"
    if one["burn"] > BURNING:
        return f"{one['name']} burns at {one['burn']:.2g} times what it may; {left}"
    return f"{one['name']}: {left}; it burns at {one['burn']:.2g} times what it may"
