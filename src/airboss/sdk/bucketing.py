"""Which bucket a subject falls into: the hash behind every percentage.

Three generations are in the world and disagree by pure chance, so a flag pins its own and keeps it:

- v1 (a float share of the hash) is not offered;
- v2 hashes the UTF-8 text of flag key followed by targeting key (flagd until 2025, npm `@openfeature/flagd-core` 4);
- v3 hashes the canonical CBOR (RFC 8949 section 4.2.1) of the list [flag key, targeting key] (flagd-core for Python 2).

Both use MurmurHash3 x86 32 with seed 0 and take `hash * total >> 32`, so no generation has a modulo's bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import cbor2
import mmh3

MAX_WEIGHT_SUM: Final = 2**31 - 1
"""Greatest sum of weights in one split (flagd: MaxInt32)."""

_murmur: Final[Callable[[bytes, int], int]] = mmh3.mmh3_32_uintdigest  # (data, seed)


class Generation(StrEnum):
    """A way of hashing. Pinned per flag; changing it moves nearly everybody."""

    V2 = "v2"
    V3 = "v3"


def murmur3_32(data: bytes) -> int:
    """Return MurmurHash3 x86 32 of `data`, seed 0, in [0, 2^32)."""
    return _murmur(data, 0)


def cbor_text(text: str) -> bytes:
    """Return the canonical CBOR of a text. Raises UnicodeEncodeError for a lone surrogate.

    Written out because it is the hot path: four times as fast as a general encoder.
    """
    data = text.encode()
    size = len(data)
    if size < 24:
        return bytes((0x60 | size,)) + data
    if size < 256:
        return bytes((0x78, size)) + data
    if size < 65536:
        return b"\x79" + size.to_bytes(2, "big") + data
    return b"\x7a" + size.to_bytes(4, "big") + data


def cbor(value: Any) -> bytes:
    """Return the canonical CBOR of a JSON value, whole floats as integers where 64 bits hold them.

    Raises what `cbor2` raises for a value it cannot encode.
    """
    data: bytes = cbor2.dumps(_whole_floats_as_integers(value), canonical=True)
    return data


def _whole_floats_as_integers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _whole_floats_as_integers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_floats_as_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value <= 2**64 - 1:
        return int(value)
    return value


def hash_text(generation: Generation, text: str) -> int:
    """Return the hash of one text, as an explicit bucketing value of `fractional` is hashed.

    Raises UnicodeEncodeError for a lone surrogate.
    """
    return murmur3_32(text.encode() if generation is Generation.V2 else cbor_text(text))


def pair_hash(generation: Generation, flag: str) -> Callable[[str], int]:
    """Return the function from a targeting key to the hash of (flag, targeting key): `fractional`'s shorthand."""
    if generation is Generation.V2:
        prefix = flag.encode()

        def hash_v2(key: str) -> int:
            return _murmur(prefix + key.encode(), 0)

        return hash_v2

    head = b"\x82" + cbor_text(flag)

    def hash_v3(key: str) -> int:
        data = key.encode()
        size = len(data)
        if size < 24:
            return _murmur(head + _SHORT[size] + data, 0)
        return _murmur(head + cbor_text(key), 0)

    return hash_v3


def salted_hash(generation: Generation, salt: str) -> Callable[[str], int]:
    """Return the function from a subject's key to the hash of the text `salt` + key.

    It is what flagd computes for `{"fractional": [{"cat": [salt, {"var": …}]}, …]}`, so a ramp can be exported.
    """
    prefix = salt.encode()
    if generation is Generation.V2:

        def hash_v2(key: str) -> int:
            return _murmur(prefix + key.encode(), 0)

        return hash_v2

    def hash_v3(key: str) -> int:
        return _murmur(cbor_text(salt + key), 0)

    return hash_v3


_SHORT: Final = tuple(bytes((0x60 | size,)) for size in range(24))
