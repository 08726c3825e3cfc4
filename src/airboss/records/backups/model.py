"""What is in a backup, and where it comes from and goes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from airboss.kernel.errors import Invalid

FORMAT: Final = 1
MANIFEST: Final = "airboss-backup.json"
DATABASE: Final = "database"
BUCKETS: Final = "telemetry"
KEY: Final = "journal.key"
CHECKPOINTS: Final = "checkpoints"
Kind = Literal["sqlite", "postgresql"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a server keeps things: addresses of its databases, and the files beside them."""

    database: str
    buckets: str
    key: Path
    checkpoints: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself. `size` and `root` are of the record in it; `files` names each with its SHA-256."""

    database: Kind
    taken_at: str
    version: str
    log_id: str
    size: int
    root: str
    files: Mapping[str, str]

    def to_json(self) -> bytes:
        """Return the manifest's file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2).encode() + b"\n"

    @classmethod
    def read(cls, data: bytes, *, place: str) -> Manifest:
        """Return the manifest of a file's bytes. Raises Invalid."""
        try:
            value = json.loads(data)
            number = value.pop("format")
            if number == FORMAT:
                return cls(**value)
        except (ValueError, TypeError, KeyError, AttributeError) as fault:
            raise not_one(place) from fault
        raise Invalid(
            f"it was written in format {number}, and this version reads {FORMAT}",
            code="bad-backup",
            place=place,
            way_out="restore it with the version of Airboss that wrote it, or a newer one",
        )


def not_one(place: str, why: str = "it is not a backup of Airboss") -> Invalid:
    """Return what to raise for a file that is no backup, or none any more."""
    return Invalid(why, code="bad-backup", place=place, way_out="give the file that airboss backup wrote, whole")
