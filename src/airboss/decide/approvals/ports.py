"""What approvals need from the rest of the house. Bootstrap wires them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sqlalchemy import Connection

from airboss.records.store import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A change as approvals see it: its section digests now, the digest over them, and whether it waits for votes."""

    change: str
    sections: Mapping[str, str]
    digest: str
    awaiting: bool
    content: bytes = b""
    """What the sections are digests of, as canonical JSON; kept of each person's last look."""


class Subjects(Protocol):
    """Finds changes by ID; those there are none of, and drafts, are left out. One query, however many."""

    def __call__(self, connection: Connection, changes: Collection[str], /) -> Mapping[str, Subject]: ...


Asked: TypeAlias = tuple[str, frozenset[str]]
"""A group, and the services that say who is in groups such as service-owners."""


class Eligible(Protocol):
    """Gives by what is asked the handles of the members who can sign in. A fixed number of queries, however many."""

    def __call__(self, connection: Connection, asked: Collection[Asked], /) -> Mapping[Asked, frozenset[str]]: ...


class BackupOf(Protocol):
    """Gives the group that is asked when another has too few, or None."""

    def __call__(self, connection: Connection, group: str, /) -> str | None: ...


class OnVote(Protocol):
    """Hears of a vote inside its transaction, to make the change due."""

    def __call__(self, tx: Tx, change: str, /) -> None: ...


class Places(Protocol):
    """So many people of a group, as policy asks for them; `covers` names the sections they answer for (None: all)."""

    @property
    def group(self) -> str: ...
    @property
    def least(self) -> int: ...
    @property
    def covers(self) -> tuple[str, ...] | None: ...


class Need(Protocol):
    """What policy asks for, by its shape: rooms of one wing do not import each other."""

    @property
    def rules(self) -> tuple[str, ...]: ...
    @property
    def of(self) -> str: ...
    @property
    def take(self) -> int: ...
    @property
    def groups(self) -> Iterable[Places]: ...
    @property
    def distinct_from(self) -> AbstractSet[str]: ...
    @property
    def sla_s(self) -> int | None: ...
    @property
    def backup(self) -> str | None: ...
