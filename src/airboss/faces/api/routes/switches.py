"""Flags as people handle them: list, show, export, kill. Evaluators ask OFREP instead."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection

from airboss.act.flags import Flag, FlagState
from airboss.bootstrap import House
from airboss.faces.api import shapes
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.inputs import EnvironmentQuery, NameIn
from airboss.kernel.clock import rfc3339
from airboss.kernel.ids import name as checked
from airboss.people.access import Action, require

router = APIRouter(route_class=Guarded, tags=["flags"])


@router.get("/flags")
def list_flags(house: HouseHere, caller: Caller, environment: EnvironmentQuery) -> dict[str, Any]:
    """List the flags and where each stands in an environment."""
    require(caller, Action.FLAG_READ)
    with house.store.read() as connection:
        return {"items": [_flag(house, connection, one, environment) for one in house.flags.list(connection)]}


@router.get("/flags/export")
def export_flags(house: HouseHere, caller: Caller, environment: EnvironmentQuery) -> dict[str, Any]:
    """Give all flags as a plain flagd document, for other evaluators."""
    require(caller, Action.FLAG_READ)
    with house.store.read() as connection:
        return house.flags.export(connection, environment=environment)


@router.get("/flags/{name}")
def show_flag(house: HouseHere, caller: Caller, name: NameIn, environment: EnvironmentQuery) -> dict[str, Any]:
    """Show a flag: its definition, who gets what, and what moves it."""
    require(caller, Action.FLAG_READ)
    with house.store.read() as connection:
        found = house.flags.get(connection, name)
        return {
            **_flag(house, connection, found, environment),
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


@router.post("/flags/{name}/kill")
def kill_flag(house: HouseHere, caller: Caller, name: NameIn, given: shapes.KillFlag) -> dict[str, Any]:
    """Serve the off side to everybody at once."""
    environment = checked(given.environment, of="environment")
    return _state(house.flags.kill(name, given.reason, actor=caller, environment=environment))


@router.post("/flags/{name}/unkill")
def unkill_flag(house: HouseHere, caller: Caller, name: NameIn, given: shapes.UnkillFlag) -> dict[str, Any]:
    """Lift the kill switch."""
    return _state(house.flags.unkill(name, actor=caller, environment=checked(given.environment, of="environment")))


def _flag(house: House, connection: Connection, one: Flag, environment: str) -> dict[str, Any]:
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
        "state": _state(one.state(environment)),
        "kill": told,
    }


def _state(state: FlagState) -> dict[str, Any]:
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
