"""A ramp: how far a change has exposed its new side, and to whom.

The *gate* says who is in: the subject's bucket, of 100,000, lies below the percentage. Raising the percentage keeps
everybody who is in. What the people inside get may be *split* again, with a salt of its own, so that the split says
nothing about who came in first. 0 and 100 per cent are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from airboss.sdk import exposure
from airboss.sdk.bucketing import Generation, salted_hash
from airboss.sdk.faults import BadDefinition
from airboss.sdk.fractional import SHARE_UNITS, weighted

UNITS_PER_PERCENT: Final = SHARE_UNITS // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """The exposure one change holds on one flag.

    `percent` has a resolution of 0.001; `key` names the attribute that is bucketed; `split` holds (variant, weight)
    of the new side where it has more than one variant.
    """

    change_id: str
    percent: float
    on_variant: str
    off_variant: str
    salt: str
    key: str
    split: tuple[tuple[str, int], ...] = ()

    @property
    def units(self) -> int:
        """How many of the 100,000 buckets are in."""
        return round(self.percent * UNITS_PER_PERCENT)


def read_ramp(source: Any, variants: Mapping[str, Any], key: str) -> Ramp:
    """Return the ramp a flag's source holds. Raises BadDefinition with the path of the fault."""
    if not isinstance(source, Mapping):
        raise BadDefinition("must be an object", ("ramp",))
    percent = source.get("percent")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise BadDefinition("must be a number from 0 to 100", ("ramp", "percent"))
    for name in ("change_id", "salt"):
        if not isinstance(source.get(name), str) or not source[name]:
            raise BadDefinition("must be a text", ("ramp", name))
    for name in ("on_variant", "off_variant"):
        if source.get(name) not in variants:
            raise BadDefinition(f"there is no variant {source.get(name)!r}", ("ramp", name))
    split = source.get("split") or ()
    if split and weighted(split) is None:
        raise BadDefinition("must be [variant, weight] pairs with a sum above 0", ("ramp", "split"))
    for share in split:
        if share[0] not in variants:
            raise BadDefinition(f"there is no variant {share[0]!r}", ("ramp", "split"))
    return Ramp(
        change_id=source["change_id"],
        percent=percent,
        on_variant=source["on_variant"],
        off_variant=source["off_variant"],
        salt=source["salt"],
        key=key,
        split=tuple((share[0], share[1] if len(share) == 2 else 1) for share in split),
    )


def gate_salt(salt: str) -> str:
    """Return what precedes the subject's key when it is hashed for the gate."""
    return f"{salt}/gate/"


def split_salt(salt: str) -> str:
    """Return what precedes the subject's key when it is hashed for the split."""
    return f"{salt}/split/"


def compile_ramp(ramp: Ramp, generation: Generation) -> Callable[[Any], tuple[str, str] | None]:
    """Return the function from a subject's key to (variant, arm); None where there is no key to split by.

    A key is a text that is not empty, or an integer that is not 0, which is hashed as its decimal text.
    """
    units, off = ramp.units, ramp.off_variant
    gate = salted_hash(generation, gate_salt(ramp.salt))
    canary = exposure.writer(ramp.change_id, canary=True)
    baseline = exposure.writer(ramp.change_id, canary=False)
    variant_of = _new_side(ramp, generation)

    def place(key: Any) -> tuple[str, str] | None:
        if type(key) is not str:
            if isinstance(key, bool) or not isinstance(key, str | int):
                return None
            key = str(key) if key else ""
        if not key:
            return None
        try:
            if gate(key) * SHARE_UNITS >> 32 < units:
                return variant_of(key), canary(key)
            return off, baseline(key)
        except UnicodeEncodeError:
            return None

    return place


def _new_side(ramp: Ramp, generation: Generation) -> Callable[[str], str]:
    on = ramp.on_variant
    table = weighted(ramp.split) if ramp.split else None
    if table is None:
        return lambda _: on
    number_of = salted_hash(generation, split_salt(ramp.salt))
    bounds, variants, total = table.bounds, table.variants, table.total

    def variant_of(key: str) -> str:
        bucket = number_of(key) * total >> 32
        name: str = next(name for bound, name in zip(bounds, variants, strict=True) if bucket < bound)
        return name

    return variant_of


def to_targeting(ramp: Ramp) -> dict[str, Any]:
    """Return the ramp as a plain flagd rule that any flagd of the same bucketing generation answers alike.

    The arm cannot be told in flagd's language; the change and the percentage go into the flag's metadata.
    """
    key = {"var": ramp.key}
    inside: Any = ramp.on_variant
    if ramp.split:
        inside = {"fractional": [{"cat": [split_salt(ramp.salt), key]}, *[list(share) for share in ramp.split]]}
    if ramp.units == SHARE_UNITS:
        return {"if": [{"!!": [key]}, inside, ramp.on_variant]}
    gate = {
        "fractional": [
            {"cat": [gate_salt(ramp.salt), key]},
            ["in", ramp.units],
            ["out", SHARE_UNITS - ramp.units],
        ]
    }
    return {"if": [{"!!": [key]}, {"if": [{"===": [gate, "in"]}, inside, ramp.off_variant]}, ramp.off_variant]}
