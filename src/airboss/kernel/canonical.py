"""Canonical JSON (RFC 8785) and the digests taken over it.

Only what survives the round trip is accepted: finite numbers, integers that a double holds exactly, string keys. Everything that is
digested or signed passes through here, so two machines agree on the bytes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring as _string
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_SAFE: Final = 2**53 - 1


def canonical(value: Json) -> bytes:
    """Return RFC 8785 bytes. Raises ValueError or TypeError for what JSON cannot carry exactly."""
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts).encode()  # a lone surrogate is refused here: UnicodeEncodeError is a ValueError


def digest(value: Json) -> str:
    """Return `sha256:<hex>` over the canonical bytes of a value."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """Return `sha256:<hex>` over bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _write(value: Json, put: Callable[[str], None]) -> None:
    match value:
        case str():
            put(_string(value))
        case dict() | Mapping():
            _write_object(value, put)
        case bytes() | bytearray() | memoryview():
            raise TypeError("bytes have no canonical JSON form; encode them to text first")
        case Sequence():
            separator = "["
            for item in value:
                put(separator)
                _write(item, put)
                separator = ","
            put("]" if separator == "," else "[]")
        case _:
            put(_scalar(value))


def _scalar(value: object) -> str:
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case int():
            if abs(value) > _SAFE and not _is_text_of_a_double(value):
                raise ValueError(f"{value} is outside ±(2^53-1) and would change in other readers")
            return int.__repr__(value)
        case float():
            return _number(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def _is_text_of_a_double(value: int) -> bool:
    """Whether a large integer is how some double is written; reading our own bytes back gives such."""
    return abs(value) < 10**21 and _number(float(value)) == int.__repr__(value)


def _write_object(value: Mapping[str, Json], put: Callable[[str], None]) -> None:
    separator = "{"
    for key in sorted(value, key=_order):
        put(f"{separator}{_string(key)}:")
        _write(value[key], put)
        separator = ","
    put("}" if separator == "," else "{}")


def _order(key: str) -> bytes:
    """RFC 8785 section 3.2.3: keys sort by UTF-16 code units, not by code points."""
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not text")
    return key.encode("utf-16-be", "surrogatepass")


def _number(value: float) -> str:
    """ECMAScript's Number::toString, which RFC 8785 section 3.2.2.3 demands."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len((whole + fraction).lstrip("0")))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if power >= 0 else '-'}{abs(power)}"
