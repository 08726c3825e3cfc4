"""Versions after Semantic Versioning 2.0, as far as `sem_ver` of flagd compares them."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, TypeAlias

_NUMBER: Final = r"(0|[1-9][0-9]*)"
_PRE: Final = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PRE}(?:\.{_PRE})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_LONGEST: Final = 256

_Field: TypeAlias = tuple[int, int, str]


class Version(NamedTuple):
    """A version in the order of section 11: compare them as tuples. Build metadata does not count."""

    major: int
    minor: int
    patch: int
    released: bool
    pre: tuple[_Field, ...]


def parse(value: Any) -> Version | None:
    """Return the version in `value`, or None where there is none.

    As flagd does: a leading `v` is dropped, and `1` or `1.2` are filled up with zeros.
    """
    text = str(value)
    if len(text) > _LONGEST:
        return None
    if text[:1] in {"v", "V"}:
        text = text[1:]
    numbers = text.split("-")[0].split("+")[0]
    missing = 2 - numbers.count(".")
    if missing > 0:
        text = numbers + ".0" * missing + text[len(numbers) :]
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    fields = tuple(_field(part) for part in pre.split(".")) if pre else ()
    return Version(int(major), int(minor), int(patch), not pre, fields)


def _field(part: str) -> _Field:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


def compare(left: Version, operator: str, right: Version) -> bool | None:
    """Return whether the operator holds, or None for an operator flagd does not know."""
    match operator:
        case "=":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "^":
            return left.major == right.major
        case "~":
            return left[:2] == right[:2]
        case _:
            return None


OPERATORS: Final = frozenset({"=", "!=", "<", "<=", ">", ">=", "^", "~"})
