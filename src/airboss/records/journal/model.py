"""What a fact is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from airboss.kernel.canonical import Json
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.ids import FactId

FORMAT: Final = 1
TYPE: Final = re.compile(r"[a-z][a-z_]*(?:\.[a-z][a-z_]*)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that became true. `type` is noun.past-participle; `body` holds numbers, IDs and digests, no free text.

    A fact that changes a state row carries that row's digest afterwards; the last fact of a subject `closes` it.
    """

    subject: str
    type: str
    actor: str
    body: Mapping[str, Json] = field(default_factory=dict)
    state_digest: str | None = None
    closes: bool = False

    def __post_init__(self) -> None:
        if not TYPE.fullmatch(self.type):
            raise ValueError(f"{self.type!r} is not a fact type (noun.past_participle)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFact:
    """A fact as it lies in the journal. `position` is its place in the order of all facts, from 0."""

    position: int
    fact_id: FactId
    at: datetime
    actor: str
    subject: str
    subject_seq: int
    type: str
    body: Mapping[str, Any]
    stored: bytes
    """The very bytes the proof is over."""


def read_stored(position: int, stored: bytes) -> StoredFact:
    """Return the fact of stored bytes. Raises ValueError for a format this version does not know."""
    value = json.loads(stored)
    if value["format"] != FORMAT:
        raise ValueError(f"fact format {value['format']} is newer than this version reads ({FORMAT})")
    return StoredFact(
        position=position,
        fact_id=FactId(value["fact_id"]),
        at=parse_rfc3339(value["at"]),
        actor=value["actor_id"],
        subject=value["subject"],
        subject_seq=value["subject_seq"],
        type=value["type"],
        body=value["body"],
        stored=stored,
    )
