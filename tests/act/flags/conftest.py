"""A flags service on a real store, and the actors who use it."""

from __future__ import annotations

from typing import Any

import pytest

from airboss.act.flags import Flags
from airboss.people.access import Actor, Role, TokenScope
from airboss.records.journal import Journal
from airboss.records.store import Store
from airboss.testing import ManualClock

SPEC: dict[str, Any] = {
    "owner": "payments",
    "purpose": "new VAT engine",
    "kind": "release",
    "remove_by": "2027-02-01",
    "services": ["checkout"],
    "bucketing": {"version": "v3", "key": "targetingKey"},
    "definition": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"},
}


def spec(**definition: Any) -> dict[str, Any]:
    """The example's spec with another definition."""
    return {**SPEC, "definition": {**SPEC["definition"], **definition}}


@pytest.fixture
def engineer() -> Actor:
    return Actor(
        id="usr_dev_a", name="dev-a", kind="person", role=Role.ENGINEER, scopes=None, service=None, via="session"
    )


@pytest.fixture
def reader() -> Actor:
    return Actor(
        id="tok_shop",
        name="shop",
        kind="token",
        role=Role.VIEWER,
        scopes=frozenset({TokenScope.FLAGS_READ}),
        service="checkout",
        via="token:tok_shop",
    )


@pytest.fixture
def flags(store: Store, journal: Journal, clock: ManualClock) -> Flags:
    return Flags(store, journal, clock)
