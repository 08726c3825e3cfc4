"""Exposures from a list, and senders from a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airboss.kernel.errors import Unauthenticated
from airboss.watch.telemetry import ActiveExposure


@dataclass(slots=True)
class ListedExposures:
    """ActiveExposures over a list; `others` are changes that exist and are not in flight."""

    rows: list[ActiveExposure] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    def since(self, at: datetime) -> Sequence[ActiveExposure]:
        return [row for row in self.rows if row.end is None or row.end > at]

    def of_change(self, change_id: str) -> Sequence[ActiveExposure]:
        return [row for row in self.rows if row.change_id == change_id]

    def known(self, change_ids: frozenset[str]) -> frozenset[str]:
        return change_ids & ({row.change_id for row in self.rows} | self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSender:
    """A sender with the scope to write, bound to a service."""

    id: str
    service: str | None
    scopes: frozenset[str] | None = frozenset({"telemetry.write"})


@dataclass(slots=True)
class ListedSenders:
    """Authenticate over `Authorization: Bearer <key of the dictionary>`."""

    by_token: dict[str, ListedSender]
    asked: int = 0

    def __call__(self, headers: Mapping[str, str]) -> ListedSender:
        self.asked += 1
        try:
            return self.by_token[headers.get("authorization", "").removeprefix("Bearer ")]
        except KeyError:
            raise Unauthenticated("no such token", way_out="send Authorization: Bearer …") from None
