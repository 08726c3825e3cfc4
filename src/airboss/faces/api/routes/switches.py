"""Flags as people handle them: list, show, export, kill. Evaluators ask OFREP instead."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from airboss.faces.api import shapes
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.inputs import EnvironmentQuery, NameIn
from airboss.faces.api.pages import PartQuery, paged
from airboss.faces.reads import evaluation_view, flag_page_view, flag_state, flag_view, flags_view
from airboss.kernel.ids import name as checked
from airboss.people.access import Action, require

router = APIRouter(route_class=Guarded, tags=["flags"])


@router.get("/flags")
def list_flags(house: HouseHere, caller: Caller, environment: EnvironmentQuery, part: PartQuery) -> dict[str, Any]:
    """List the flags and where each stands in an environment."""
    require(caller, Action.FLAG_READ)
    with house.store.read() as connection:
        everywhere = {one["name"]: one for one in flags_view(house, connection)}
        found = [
            {
                **flag_view(house, connection, one, environment),
                **{field: everywhere[one.definition.name][field] for field in ("states", "exposed_at")},
            }
            for one in house.flags.list(connection)
        ]
    return paged(found, part, by=lambda row: (row["name"],))


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
        return flag_page_view(house, connection, name, environment)


@router.post("/flags/{name}/evaluate")
def evaluate_flag(house: HouseHere, caller: Caller, name: NameIn, given: shapes.EvaluateFlag) -> dict[str, Any]:
    """Say what one context would get of a flag, and why. Nobody is exposed by it and nothing is counted."""
    require(caller, Action.FLAG_READ)
    environment = checked(given.environment, of="environment")
    with house.store.read() as connection:
        return evaluation_view(house, connection, name, environment, given.context)


@router.post("/flags/{name}/kill")
def kill_flag(house: HouseHere, caller: Caller, name: NameIn, given: shapes.KillFlag) -> dict[str, Any]:
    """Serve the off side to everybody at once."""
    environment = checked(given.environment, of="environment")
    return flag_state(house.flags.kill(name, given.reason, actor=caller, environment=environment))


@router.post("/flags/{name}/unkill")
def unkill_flag(house: HouseHere, caller: Caller, name: NameIn, given: shapes.UnkillFlag) -> dict[str, Any]:
    """Lift the kill switch."""
    return flag_state(house.flags.unkill(name, actor=caller, environment=checked(given.environment, of="environment")))
