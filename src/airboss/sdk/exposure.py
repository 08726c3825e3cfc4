"""The arm a subject is in, as one element of the span attribute `airboss.exposure`.

An element reads `<change_id>/<canary|baseline>/<group>/<subject>`: group is 0-99, subject 16 hex digits. Both are
hashes of the change ID and the subject's key, each with its own salt, so they are the same on every replica, independent
of each other and of the ramp's gate, and different for every change: a subject cannot be followed from one to the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import mmh3

CANARY: Final = "canary"
BASELINE: Final = "baseline"
GROUPS: Final = 100
_LOW64: Final = 2**64 - 1

_ELEMENT: Final = re.compile(r"([a-z0-9_]{1,90})/(canary|baseline)/(0|[1-9][0-9]?)/([0-9a-f]{16})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One element of `airboss.exposure`, read."""

    change_id: str
    canary: bool
    group: int
    subject: str


def group_of(change_id: str, key: str) -> int:
    """Return the subject's group, 0 to 99. Raises UnicodeEncodeError for a lone surrogate."""
    data = f"{change_id}/group/{key}".encode()
    return mmh3.mmh3_32_uintdigest(data, 0) * GROUPS >> 32


def subject_of(change_id: str, key: str) -> str:
    """Return the subject as 16 hex digits. Raises UnicodeEncodeError for a lone surrogate."""
    data = f"{change_id}/subject/{key}".encode()
    return f"{mmh3.mmh3_x64_128_uintdigest(data, 0) & _LOW64:016x}"


def writer(change_id: str, *, canary: bool) -> Callable[[str], str]:
    """Return the function from a subject's key to its element, with all that is fixed prepared."""
    head = f"{change_id}/{CANARY if canary else BASELINE}/"
    group_salt = f"{change_id}/group/".encode()
    subject_salt = f"{change_id}/subject/".encode()
    hash32, hash128 = mmh3.mmh3_32_uintdigest, mmh3.mmh3_x64_128_uintdigest

    def element(key: str) -> str:
        data = key.encode()
        group = hash32(group_salt + data, 0) * GROUPS >> 32
        return f"{head}{group}/{hash128(subject_salt + data, 0) & _LOW64:016x}"

    return element


def read(element: str) -> Arm | None:
    """Return the arm an element names, or None where it is none: telemetry holds what strangers wrote."""
    found = _ELEMENT.fullmatch(element)
    if found is None:
        return None
    change_id, arm, group, subject = found.groups()
    return Arm(change_id=change_id, canary=arm == CANARY, group=int(group), subject=subject)
