"""Canonical JSON (RFC 8785) and the digests taken over it.

Only what survives the round trip is accepted: finite numbers, integers within ±2^53, string keys. Everything that is
digested or signed passes through here, so two machines agree on the bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

Json: TypeAlias = "None | bool | int | float | str | Sequence[Json] | Mapping[str, Json]"

_SAFE: Final = 2**53 - 1


def canonical(value: Json) -> bytes:
    """Return RFC 8785 bytes. Raises ValueError or TypeError for what JSON cannot carry exactly."""
    return _text(value).encode()


def digest(value: Json) -> str:
    """Return `sha256:<hex>` over the canonical bytes of a value."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> str:
    """Return `sha256:<hex>` over bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _text(value: Json) -> str:
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case str():
            return _string(value)
        case int():
            if abs(value) > _SAFE:
                raise ValueError(f"{value} is outside ±(2^53-1) and would change in other readers")
            return str(value)
        case float():
            return _number(value)
        case Mapping():
            # RFC 8785 section 3.2.3: keys sort by UTF-16 code units, not by code points.
            keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
            return "{" + ",".join(f"{_string(key)}:{_text(value[key])}" for key in keys) + "}"
        case Sequence():
            return "[" + ",".join(_text(item) for item in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def _string(value: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("a lone surrogate has no canonical JSON form")
    return json.dumps(value, ensure_ascii=False)


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
