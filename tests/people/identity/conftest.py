"""An identity room over each database, with people in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airboss.kernel.ids import TimeOrderedIds
from airboss.people.access import LOCAL, Actor, Role
from airboss.people.identity import AddPerson, Identity, Settings
from airboss.records.journal import Journal
from airboss.records.store import Store
from airboss.testing import ManualClock, SeededChance

QUICK = Settings(scrypt_log_n=4)
"""Passwords that cost nothing: the tests prove what is done with them, not what they cost."""


@pytest.fixture
def identity(store: Store, journal: Journal, clock: ManualClock, ids: TimeOrderedIds, chance: SeededChance) -> Identity:
    return Identity(store, journal, clock=clock, ids=ids, chance=chance, settings=QUICK)


@pytest.fixture
def elsewhere(
    store: Store, journal: Journal, clock: ManualClock, ids: TimeOrderedIds, chance: SeededChance
) -> Identity:
    """The same room as another process, or the next start of this one, has it."""
    return Identity(store, journal, clock=clock, ids=ids, chance=chance, settings=QUICK)


@pytest.fixture
def person(identity: Identity) -> Callable[..., Actor]:
    """Add somebody, sign them in by a link, return them as an actor."""

    def add(handle: str, role: Role = Role.ENGINEER) -> Actor:
        identity.persons.add(AddPerson(handle=handle, role=role), LOCAL)
        link = identity.sign_in.issue_link(handle, LOCAL)
        return identity.authenticate_session(identity.sign_in.use_link(link.secret).secret)

    return add
