"""What an approver weighs, in one view: risk, objectives, findings, evidence, reach, the way back, conflicts, cost."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection

from airboss import changes as spec
from airboss.bootstrap import House
from airboss.catalog import Service
from airboss.changes import STARTED, Change, Phase, Spec
from airboss.decide.approvals import Look
from airboss.decide.calendar import Closed
from airboss.decide.policy import StoredDecision
from airboss.faces.reads.change import approval_view, summary, tier_of
from airboss.faces.reads.dossier import Dossier
from airboss.kernel.clock import rfc3339

ABOUT_TO_START: Final = frozenset({Phase.APPROVED, Phase.SCHEDULED})
MOST_FIELDS: Final = 60
"""Differences told since the last look."""


def approver_view(read: Dossier) -> dict[str, Any]:
    """Return everything somebody needs who has to say yes or no to a submitted change, as it is now.

    `seen` is the digest to vote on, `last_seen` the one this reader looked at last. `changed_since` is what is different
    from what this reader saw last, None at the first look. Some twenty queries, those for the objectives, and of what other views of the dossier read, none again.
    """
    house, connection, change, services = read.house, read.connection, read.change, read.services
    given = change.expanded()
    look = house.approvals.last_look(connection, change.id, read.actor)
    return {
        "change": {**summary(change, ""), "why": given.why, "labels": list(given.labels), "links": dict(given.links)},
        "seen": change.digest,
        "last_seen": None if look is None else look.digest,
        "approval": approval_view(read),
        "risk": _risk(read.decisions),
        "objectives": read.objectives,
        "findings": read.findings,
        "evidence": read.evidence,
        "blast_radius": _reach(given, services),
        "way_back": _way_back(given),
        "conflicts": conflicts(house, connection, change, services),
        "cost": _cost(given),
        "calendar": _calendar(house, connection, given),
        "changed_since": changed_since(change, look),
    }


def _risk(decisions: Sequence[StoredDecision]) -> dict[str, Any]:
    """Return tier and score, and each rule that said something, of the last decisions."""
    last = [one for one in decisions if one.at == decisions[-1].at]
    reasons: dict[tuple[str, str], dict[str, Any]] = {}
    for one in last:
        for fired in one.body["fired"]:
            reasons[fired["pack"], fired["rule"]] = {
                name: fired[name] for name in ("rule", "pack", "title", "effect", "message", "read", "link")
            }
    score = max((one.body["score"] for one in last), default=None)
    return {"tier": tier_of(decisions), "score": score, "reasons": list(reasons.values())}


def _reach(given: Spec, services: Sequence[Service]) -> dict[str, Any]:
    touched = [one for one in services if one.name in given.services]
    rises = [step.percent for step in given.stages[-1].steps if isinstance(step, spec.Expose)]
    return {
        "users_percent": given.impact.users_percent,
        "environments": list(given.environments),
        "services": [
            {"name": one.name, "tier": str(one.tier), "owner": one.owner, "stateful": one.stateful} for one in touched
        ],
        "unknown_services": sorted(set(given.services) - {one.name for one in services}),
        "dependents": sorted(dependents(given.services, services)),
        "teams": sorted({one.owner for one in touched}),
        "data": given.impact.data,
        "risks": asdict(given.impact.risks),
        "steps_percent": rises,
    }


def _way_back(given: Spec) -> dict[str, Any]:
    return {
        "reversible": given.impact.reversible,
        "plan": None if given.rollback is None else given.rollback.plan,
        "window_s": None if given.rollback is None else given.rollback.window_s,
        "mitigation": None if given.mitigation is None else asdict(given.mitigation),
        "by_itself": given.on_failed == "rollback",
    }


def _cost(given: Spec) -> dict[str, Any] | None:
    cost = given.impact.cost_per_month
    return None if cost is None else asdict(cost)


def _calendar(house: House, connection: Connection, given: Spec) -> dict[str, Any]:
    found = house.calendar.state(connection, given, house.clock.now())
    if isinstance(found, Closed):
        opens_at = None if found.opens_at is None else rfc3339(found.opens_at)
        return {"open": False, "why": found.why, "window": found.window, "opens_at": opens_at}
    return {"open": True, "until": None if found.until is None else rfc3339(found.until)}


# -- conflicts -----------------------------------------------------------------------------------------------------


def conflicts(
    house: House, connection: Connection, change: Change, services: Sequence[Service] | None = None
) -> list[dict[str, Any]]:
    """Return the other changes in flight, or about to start, on services this one touches, needs or is needed by.

    Two queries.
    """
    known = house.catalog.services(connection) if services is None else services
    mine = set(change.services)
    needed, needing = needs(mine, known), dependents(mine, known)
    found = []
    for other in house.changes.in_phases(connection, STARTED | ABOUT_TO_START):
        if other.id == change.id:
            continue
        for service in other.services:
            why = (
                f"it changes {service} too"
                if service in mine
                else f"it changes {service}, which this change's services need"
                if service in needed
                else f"it changes {service}, which needs this change's services"
                if service in needing
                else None
            )
            if why is not None:
                found.append({**summary(other, ""), "in_flight": other.phase in STARTED, "why": why})
                break
    return found


def needs(names: Collection[str], services: Sequence[Service]) -> set[str]:
    """Return the services these depend on, over any number of steps, without themselves. Cycles end."""
    return _reached(names, {one.name: one.depends_on for one in services})


def dependents(names: Collection[str], services: Sequence[Service]) -> set[str]:
    """Return the services that depend on these, over any number of steps, without themselves. Cycles end."""
    back: dict[str, list[str]] = {}
    for one in services:
        for below in one.depends_on:
            back.setdefault(below, []).append(one.name)
    return _reached(names, back)


def _reached(names: Collection[str], edges: Mapping[str, Collection[str]]) -> set[str]:
    seen, todo = set(names), list(names)
    while todo:
        for after in edges.get(todo.pop(), ()):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return seen - set(names)


# -- since the last look -------------------------------------------------------------------------------------------


def changed_since(change: Change, look: Look | None) -> dict[str, Any] | None:
    """Return what differs between the change and what the reader saw at their last look; None before the first. Pure."""
    if look is None:
        return None
    before, at = (look.content, look.at) if look.digest != change.digest else (look.before_content, look.before_at)
    if before is None or at is None:
        return {"looked_at": rfc3339(look.at), "sections": [], "fields": [], "more": 0}
    old, new = json.loads(before), json.loads(change.spec or b"{}")
    fields = list(_differences("", old, new))
    return {
        "looked_at": rfc3339(at),
        "sections": sorted({one["field"].partition(".")[0] for one in fields}),
        "fields": fields[:MOST_FIELDS],
        "more": max(0, len(fields) - MOST_FIELDS),
    }


def _differences(name: str, old: Any, new: Any) -> Iterator[dict[str, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for field in [*old, *(one for one in new if one not in old)]:
            yield from _differences(f"{name}.{field}".lstrip("."), old.get(field), new.get(field))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (was, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{name}[{at}]", was, now)
    elif old != new:
        yield {"field": name, "was": old, "is": new}
