"""Flags: what they are, who gets what, and what moves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from airboss.act.flags import PRODUCTION, Exposure, Flag, FlagState, Kill, Standing
from airboss.bootstrap import House
from airboss.kernel.clock import rfc3339


def flags_view(house: House, connection: Connection) -> list[dict[str, Any]]:
    """Return every flag by name with where it stands in each environment. Five queries, however many there are."""
    ranked = [one.name for one in house.catalog.environments(connection)]
    return [
        {
            "name": one.definition.name,
            "owner": one.definition.owner,
            "purpose": one.definition.purpose,
            "kind": str(one.definition.kind),
            "remove_by": one.definition.remove_by,
            "services": list(one.definition.services),
            "states": _states(one, ranked),
            "exposed_at": _exposed_at(one),
        }
        for one in house.flags.list(connection)
    ]


def evaluation_view(
    house: House, connection: Connection, name: str, environment: str, context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what one context gets of a flag, answered by the evaluator that services use. Five to nine queries.

    `context` is OpenFeature's: `targetingKey` and attributes. Raises NotFound.
    """
    house.flags.get(connection, name)
    key = context.get("targetingKey")
    found = house.flags.served(connection, environment=environment).compiled.evaluate(name, key, context)
    return {
        "flag": name,
        "environment": environment,
        "variant": found.variant,
        "value": found.value,
        "reason": str(found.reason),
        "metadata": dict(found.metadata),
        "exposure": found.arm,
        "error": None if found.error_code is None else f"{found.error_code}: {found.error or ''}",
    }


def _states(one: Flag, ranked: Sequence[str]) -> list[dict[str, Any]]:
    """Return where a flag stands: environments of the catalogue in their order, then others something happened in."""
    rows: list[Exposure | Standing | Kill] = [*one.exposures, *one.standings, *one.kills]
    touched = {row.environment for row in rows}
    places = [*ranked, *sorted(touched - set(ranked))] or [PRODUCTION]
    return [flag_state(one.state(environment)) for environment in places]


def _exposed_at(one: Flag) -> str | None:
    newest = max((exposure.at for exposure in one.exposures), default=None)
    return None if newest is None else rfc3339(newest)


def flag_page_view(house: House, connection: Connection, name: str, environment: str) -> dict[str, Any]:
    """Return a flag with its definition, where it stands everywhere, and every exposure it ever had.

    Five queries, two more for each environment it is killed in. Raises NotFound.
    """
    found = house.flags.get(connection, name)
    ranked = [one.name for one in house.catalog.environments(connection)]
    return {
        **flag_view(house, connection, found, environment),
        "created_at": rfc3339(found.created_at),
        "exposed_at": _exposed_at(found),
        "states": [
            {**state, "kill": _killed(house, connection, found, str(state["environment"]))}
            for state in _states(found, ranked)
        ],
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
    definition = one.definition
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
        "kill": _killed(house, connection, one, environment),
    }


def _killed(house: House, connection: Connection, one: Flag, environment: str) -> dict[str, Any] | None:
    """Return who killed a flag and why, None where nobody did."""
    killed = one.killed(environment)
    if killed is None:
        return None
    by = house.identity.persons.principals(connection, [killed.actor])
    return {
        "reason": house.journal.texts(connection, [killed.reason]).get(killed.reason, ""),
        "by": by.get(killed.actor, {}).get("name", killed.actor),
        "at": rfc3339(killed.at),
        "variant": killed.variant,
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
