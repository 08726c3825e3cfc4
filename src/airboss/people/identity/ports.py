"""What the services of identity stand on."""

from __future__ import annotations

from dataclasses import dataclass, field

from airboss.kernel.clock import Clock
from airboss.kernel.ids import Chance, Ids
from airboss.people.identity.model import Settings
from airboss.records.journal import Journal
from airboss.records.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Handed to each service by `Identity`."""

    store: Store
    journal: Journal
    clock: Clock
    ids: Ids
    chance: Chance
    settings: Settings = field(default_factory=Settings)
