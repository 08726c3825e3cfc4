"""What faces ask for: one frozen command for each use case."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airboss.kernel.yaml import Document, load_one


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Propose a change: the document as it was written, YAML or JSON, and what to call it in messages."""

    data: bytes
    source: str = "request"

    def document(self) -> Document:
        """Return what was sent. Raises Invalid with the place."""
        return read_document(self.data, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Put another document in the place of a change that has not started."""

    change_id: str
    data: bytes
    expected_version: int
    source: str = "request"

    def document(self) -> Document:
        """Return what was sent. Raises Invalid with the place."""
        return read_document(self.data, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Hand a draft over for review."""

    change_id: str
    expected_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Withdraw a change that has not started."""

    change_id: str
    reason: str
    expected_version: int | None = None


def read_document(data: bytes, source: str) -> Document:
    """Return the one document of a body, YAML or JSON. Raises Invalid with the place.

    JSON is YAML but for letters escaped as pairs of surrogates, so a body with escapes is spelt anew first.
    """
    if data.lstrip()[:1] == b"{" and b"\\u" in data:
        with contextlib.suppress(ValueError):
            data = json.dumps(json.loads(data, object_pairs_hook=_unique), ensure_ascii=False, indent=1).encode()
    return load_one(data, source)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a key given twice is left to the YAML reader, which points at it. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
