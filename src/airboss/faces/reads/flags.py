"""Flags: what they are, who gets what, and what moves them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from airboss.act.flags import Flag, FlagState
from airboss.bootstrap import House
from airboss.kernel.clock import rfc3339


def flag_page_view(house: House, connection: Connection, name: str, environment: str) -> dict[str, Any]:
    """Return a flag with its definition and every exposure it ever had. Four queries, six where it is killed.

    Raises NotFound.
    """
    found = house.flags.get(connection, name)
    return {
        **flag_view(house, connection, found, environment),
        "definition": dict(found.definition.plain),
        "exposures": [
            {
                "environment": one.environment,
                "change_id": one.change_id,
                "percent": one.percent,
                "on_variant": one.on_variant,
                "off_variant": one.off_variant,
                "state": one.state,
                "at": rfc3339(one.at),
            }
            for one in found.exposures
        ],
    }


def flag_view(house: House, connection: Connection, one: Flag, environment: str) -> dict[str, Any]:
    """Return a flag as lists show it. Two queries where it is killed, else none."""
    definition, killed = one.definition, one.killed(environment)
    told = None
    if killed is not None:
        by = house.identity.persons.principals(connection, [killed.actor])
        told = {
            "reason": house.journal.texts(connection, [killed.reason]).get(killed.reason, ""),
            "by": by.get(killed.actor, {}).get("name", killed.actor),
            "at": rfc3339(killed.at),
            "variant": killed.variant,
        }
    return {
        "name": definition.name,
        "owner": definition.owner,
        "purpose": definition.purpose,
        "kind": str(definition.kind),
        "remove_by": definition.remove_by,
        "services": list(definition.services),
        "value_type": definition.value_type,
        "variants": dict(definition.variants),
        "flag_revision": one.revision,
        "digest": definition.digest,
        "state": flag_state(one.state(environment)),
        "kill": told,
    }


def flag_state(state: FlagState) -> dict[str, Any]:
    """Return where a flag stands in one environment."""
    return {
        "environment": state.environment,
        "percent": state.percent,
        "ramp_pct": state.ramp_percent,
        "change_id": state.change_id,
        "on_variant": state.on_variant,
        "off_variant": state.off_variant,
        "serves": state.serves,
        "killed": state.killed,
    }
