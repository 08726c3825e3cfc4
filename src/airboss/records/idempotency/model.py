"""What a key stands for, and what a second request with it is told.

Semantics: IETF draft-ietf-httpapi-idempotency-key-header (409 while the first is worked on, 422 for another request).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from airboss.kernel.errors import Invalid, Refused

LIFE: Final = timedelta(hours=24)
"""How long a key stands for its first request; afterwards it is free."""
ANSWER_WITHIN: Final = timedelta(seconds=30)
"""How long after its commit a request may take to answer; a missing answer older than this went down with its server."""
ANSWER_MOST: Final = 1024 * 1024
"""Bytes of an answer that are kept; a longer one is told as lost."""
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Reused(Invalid):
    """The key stands for another request."""

    default_code = "idempotency-key-reused"


class InProgress(Refused):
    """The first request with this key is still being answered."""

    default_code = "idempotency-in-progress"


class AnswerLost(Refused):
    """The first request was done, and its answer is not there any more or was shown once."""

    default_code = "answer-lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One caller's key with what it was sent with, both as digests: neither key nor body can be read from the store."""

    caller: str
    digest: str
    request: str

    @classmethod
    def of(cls, text: str, *, caller: str, parts: tuple[bytes, ...]) -> Key:
        """Return the key of a header's text; `parts` are what makes two requests the same. Raises Invalid."""
        if not _TEXT.fullmatch(text):
            raise Invalid(
                "an Idempotency-Key is 1 to 255 visible characters",
                code="idempotency-key-bad",
                place="Idempotency-Key",
                way_out="send a fresh random one with each act, such as a UUID, and the same one with each retry of it",
            )
        whole = hashlib.sha256()
        for part in parts:
            whole.update(len(part).to_bytes(8, "big") + part)
        return cls(caller=caller, digest=hashlib.sha256(text.encode()).hexdigest(), request=whole.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer as it was given: status, the headers that belong to it, and its bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the store says about a key that was used: the answer, or that it was done and nothing more is known."""

    answer: Given | None
