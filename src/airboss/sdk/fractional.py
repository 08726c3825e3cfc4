"""flagd's `fractional`: who gets which variant, by hash and weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Self

from airboss.sdk.bucketing import MAX_WEIGHT_SUM, Generation, cbor, hash_text, murmur3_32, pair_hash


class Split(str):
    """The name of a variant that a split chose, so that the reason can be SPLIT."""

    __slots__ = ()

    @classmethod
    def of(cls, variant: Any) -> Self:
        """Return a variant's name as targeting results are read: booleans in lower case, all else as text."""
        return cls(str(variant).lower() if isinstance(variant, bool) else str(variant))


class Table(NamedTuple):
    """Weights added up: the variant at index i owns the buckets from bounds[i-1] up to bounds[i]."""

    total: int
    bounds: list[int]
    variants: list[Any]


def weighted(shares: Sequence[Any], *, final: bool = False) -> Table | None:
    """Return the table of [variant, weight] shares, or None where flagd would not split.

    A missing weight is 1 and a negative one 0. With `final`, variants become `Split`.
    """
    bounds: list[int] = []
    variants: list[Any] = []
    total = 0
    for share in shares:
        if not isinstance(share, list | tuple) or not 1 <= len(share) <= 2:
            return None
        weight = share[1] if len(share) == 2 else 1
        if isinstance(weight, bool) or not isinstance(weight, int):
            return None
        total += max(0, weight)
        bounds.append(total)
        variants.append(Split.of(share[0]) if final and share[0] is not None else share[0])
    return Table(total, bounds, variants) if 0 < total <= MAX_WEIGHT_SUM else None


def fractional(generation: Generation, flag: str | None, data: Any, args: Sequence[Any]) -> Any:
    """Split on evaluated arguments, the general way; None where flagd would not split.

    `flag` is None where the scope decides what the flag is called, as inside a loop.
    """
    if isinstance(args[0], list | tuple):
        key = data.get("targetingKey")
        if not isinstance(key, str) or not key:
            return None
        name = data.get("$flagd", {}).get("flagKey", "") if flag is None else flag
        value: Any = [name, key] if generation is Generation.V3 else name + key
        shares = args
    else:
        value, shares = args[0], args[1:]
    number = _hash(generation, value)
    table = weighted(shares)
    if number is None or table is None:
        return None
    return table.variants[bisect_right(table.bounds, number * table.total >> 32)]


def _hash(generation: Generation, value: Any) -> int | None:
    """Return the hash of a bucketing value, or None where the generation cannot take it."""
    if value is None or (generation is Generation.V2 and not isinstance(value, str)):
        return None
    try:
        return hash_text(generation, value) if isinstance(value, str) else murmur3_32(cbor(value))
    except Exception:  # noqa: BLE001 - whatever the encoder says: what cannot be encoded cannot be split, as in flagd
        return None


def split_by_key(generation: Generation, flag: str, table: Table | None) -> Callable[[Any], Any]:
    """Return the rule of the shorthand: bucket by flag key and targeting key."""
    if table is None:
        return _never
    number_of = pair_hash(generation, flag)
    total, bounds, variants = table

    def split(data: Any) -> Any:
        key = data.get("targetingKey")
        if not key or not isinstance(key, str):
            return None
        try:
            return variants[bisect_right(bounds, number_of(key) * total >> 32)]
        except UnicodeEncodeError:
            return None

    return split


def split_by_value(
    generation: Generation, flag: str, by: Callable[[Any], Any], table: Table | None, shares: Sequence[Any]
) -> Callable[[Any], Any]:
    """Return the rule that buckets by the value of an expression.

    Should the expression yield a list, flagd takes it for the first share of the shorthand; so does this.
    """

    def split(data: Any) -> Any:
        value = by(data)
        if isinstance(value, list | tuple):
            return fractional(generation, flag, data, [value, *shares])
        number = _hash(generation, value)
        if number is None or table is None:
            return None
        return table.variants[bisect_right(table.bounds, number * table.total >> 32)]

    return split


def _never(_: Any) -> None:
    """A split whose weights are not weights chooses nobody."""


SHARE_UNITS: Final = 100_000
"""Buckets of a ramp's gate: a percentage has a resolution of 0.001."""
