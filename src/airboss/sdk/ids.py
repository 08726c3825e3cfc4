"""Type-prefixed, time-ordered identifiers (TypeID 0.3: a prefix and a UUIDv7 in Crockford base32).

Anyone may mint one offline: in a pull request, in a CI job, on a laptop. They sort by time, and they are safe in
headers, labels, paths and git trailers.

Sources: TypeID specification 0.3; RFC 9562 section 5.7 (UUIDv7).
"""

from __future__ import annotations

import re
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(ALPHABET)}
_PREFIX: Final = re.compile(r"[a-z](?:[a-z_]{0,61}[a-z])?")
SUFFIX_LENGTH: Final = 26


class BadId(ValueError):
    """The text is not a TypeID, or not one of the kind asked for."""


def uuid7(unix_ms: int, chance: bytes) -> int:
    """Return a UUIDv7 as an integer, from milliseconds since 1970 and ten random bytes.

    Raises ValueError when the time does not fit 48 bits or `chance` is not ten bytes.
    """
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError(f"{unix_ms} ms does not fit the 48 bits of a UUIDv7")
    if len(chance) != 10:
        raise ValueError(f"a UUIDv7 takes 10 random bytes, not {len(chance)}")
    noise = int.from_bytes(chance, "big")
    rand_a = noise >> 68  # 12 of the 80 bits
    rand_b = noise & ((1 << 62) - 1)
    return unix_ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b


def encode(prefix: str, value: int) -> str:
    """Return `prefix_suffix` for a 128-bit value. Raises BadId for a prefix the standard does not allow."""
    if not _PREFIX.fullmatch(prefix):
        raise BadId(f"{prefix!r} is not an ID prefix: 1 to 63 of a-z and _, not at the ends")
    letters = [ALPHABET[value >> shift & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(letters)}"


def decode(text: str, prefix: str | None = None) -> int:
    """Return the 128-bit value of a TypeID.

    Raises BadId where the text is not one, or has another prefix than `prefix`.
    """
    found, separator, suffix = text.rpartition("_")
    if not separator or not _PREFIX.fullmatch(found):
        raise BadId(f"{text!r} is not an ID: expected a prefix, an underscore and {SUFFIX_LENGTH} letters or digits")
    if prefix is not None and found != prefix:
        raise BadId(f"{text!r} is not a {prefix} ID: it starts with {found}_")
    if len(suffix) != SUFFIX_LENGTH or suffix[0] > "7" or any(letter not in _VALUES for letter in suffix):
        raise BadId(
            f"{text!r} is not an ID: what follows {found}_ must be {SUFFIX_LENGTH} of {ALPHABET}, the first 0-7"
        )
    value = 0
    for letter in suffix:
        value = value << 5 | _VALUES[letter]
    return value


def unix_ms(text: str) -> int:
    """Return when a TypeID was minted, in milliseconds since 1970. Raises BadId."""
    return decode(text) >> 80
