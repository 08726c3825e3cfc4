"""Policy packs: what is in force, what a rule may read, trying packs before they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from airboss.decide.policy import PROFILES, PackReport, WorkerEngine, check, schema, test
from airboss.faces.api import shapes
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.inputs import NameIn
from airboss.faces.api.pages import PartQuery, paged
from airboss.faces.reads import policy_view
from airboss.people.access import Action, require

router = APIRouter(route_class=Guarded, tags=["policy"])


@router.get("/policy")
def show_policy(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Say which packs are in force."""
    require(caller, Action.POLICY_READ)
    with house.store.read() as connection:
        return policy_view(house, connection)


@router.get("/policy/schema")
def policy_schema(caller: Caller, part: PartQuery) -> dict[str, Any]:
    """List what a rule may read."""
    require(caller, Action.POLICY_READ)
    fields = [{"field": field, "type": kind, "meaning": meaning} for field, kind, meaning in schema()]
    return paged(fields, part, by=lambda row: (row["field"],))


@router.get("/policy/profile")
def show_profile(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Say which shipped profile is in force, and which there are."""
    require(caller, Action.POLICY_READ)
    with house.store.read() as connection:
        return {"profile": house.policies.profile(connection), "profiles": list(PROFILES)}


@router.post("/policy/profile")
def choose_profile(house: HouseHere, caller: Caller, given: shapes.ChooseProfile) -> dict[str, Any]:
    """Put another shipped profile in force, and say which of the newest decisions come out otherwise by it."""
    return asdict(house.policies.choose_profile(given.profile, actor=caller, dry_run=given.dry_run))


@router.post("/policy/check")
def check_policy(caller: Caller, given: shapes.Files) -> dict[str, Any]:
    """Compile packs without putting them in force, and say what cannot be used in them."""
    require(caller, Action.POLICY_READ)
    return _tried(given, check)


@router.post("/policy/test")
def test_policy(caller: Caller, given: shapes.Files) -> dict[str, Any]:
    """Run the tests of packs without putting them in force."""
    require(caller, Action.POLICY_READ)
    return _tried(given, test)


@router.delete("/policy/{name}", status_code=204)
def retire_policy(house: HouseHere, caller: Caller, name: NameIn) -> None:
    """Take a pack out of force."""
    house.policies.retire_pack(name, actor=caller)


def _tried(given: shapes.Files, verb: Callable[..., list[PackReport]]) -> dict[str, Any]:
    files = [(one.source, one.text.encode()) for one in given.files]
    # Strangers' rules run in a worker of their own: whatever it costs, the one that decides is not held up.
    with contextlib.closing(WorkerEngine()) as engine:
        reports = verb(files, engine=engine)
    return {"good": all(one.good for one in reports), "packs": [_report(one) for one in reports]}


def _report(one: PackReport) -> dict[str, Any]:
    return {
        "source": one.source,
        "pack": one.pack,
        "good": one.good,
        "rules": one.rules,
        "problems": [
            {"place": found.place, "detail": found.detail, "code": found.code, "way_out": found.way_out}
            for found in one.problems
        ],
        "tests": [
            {"name": case.name, "place": case.place, "passed": case.passed, "faults": list(case.faults)}
            for case in one.cases
        ],
        "unproven": list(one.unproven),
    }
