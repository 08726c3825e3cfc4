"""Policy: which packs are in force, and what their rules say."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.decide.policy import parse
from airboss.kernel.clock import rfc3339


def policy_view(house: House, connection: Connection) -> dict[str, Any]:
    """Return the packs in force with their rules: {bundle, packs}. Three queries."""
    bundle = house.policies.active_bundle(connection)
    packs = house.policies.packs(connection)
    people = house.identity.persons.principals(connection, [one.applied_by for one in packs])
    items = []
    for one in packs:
        pack = parse(one.data, one.source)
        items.append(
            {
                "name": one.name,
                "revision": one.revision,
                "digest": one.digest,
                "layer": str(pack.layer),
                "applied_at": rfc3339(one.applied_at),
                "applied_by": people.get(one.applied_by, {}).get("name", one.applied_by),
                "rules": [{"id": rule.id, "title": rule.title, "mode": str(rule.mode)} for rule in pack.rules],
            }
        )
    return {"bundle": bundle.digest, "packs": items}
