"""What would clear a refusal: which single fact, were it another, would keep a rule from firing. Pure.

A rule is asked again with one of the facts it reads changed at a time, to values its own text names: the other truth, the
number it compares with and its neighbours, another word, a list with a word more or less. Where a rule reads the same
fact of several entries (every service), all of them are changed together too. What comes out is found by trying, so it is
true; it is not complete, for some rules need two facts to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from airboss.decide.policy.syntax import Read

Place: TypeAlias = tuple[str | int, ...]
Constant: TypeAlias = bool | int | float | str

MOST_TRIES: Final = 64
"""For one rule."""
_OTHER: Final = "-"
"""Stands for any other word; no fact is called so."""
FIXED: Final = frozenset({"point", "now", "schema", "actor", "ages"})
"""Groups of facts that are what they are."""
FIXED_FIELDS: Final = frozenset({"id", "title", "kind", "emergency"})
"""Fields of the change that are what they are: another kind would be another change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """A fact that would clear the rule, were it so: `fact` as the explanation names it, `be` in words, `value` tried."""

    fact: str
    now: Any
    be: str
    value: Any


def clearings(
    reads: Sequence[Read], constants: Sequence[Constant], values: Mapping[str, Any], holds: Callable[[Any], bool | None]
) -> list[Clearing]:
    """Return what would keep a rule from firing, one for each fact at most.

    `holds` asks the rule about other values: True it fires, False it does not, None it could not be judged.
    """
    found: dict[str, Clearing] = {}
    tries = 0
    for read in reads:
        if read[0] in FIXED or (read[0] == "change" and read[-1] in FIXED_FIELDS):
            continue
        at = list(places(read, values))
        together = [(name, [(place, value)]) for name, place, value in at]
        if len(at) > 1:
            every = ".".join(read).replace(".[]", "[]")
            together.append((every, [(place, value) for _, place, value in at]))
        for name, changed in together:
            for be, value in _others(changed[0][1], constants):
                if tries == MOST_TRIES:
                    return list(found.values())
                tries += 1
                if holds(_with(values, [place for place, _ in changed], value)) is False:
                    found[name] = Clearing(fact=name, now=changed[0][1], be=be, value=value)
                    break
    return list(found.values())


def places(read: Read, values: Any, prefix: Place = ()) -> Iterator[tuple[str, Place, Any]]:
    """Yield (name, place, value) of what a read means in these values; what is not set is left out."""
    if not read:
        name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in prefix).lstrip(".")
        if not isinstance(values, dict) and not (isinstance(values, list) and values and isinstance(values[0], dict)):
            yield name, prefix, values
        return
    step, rest = read[0], read[1:]
    if step == "[]":
        for index, item in enumerate(values if isinstance(values, list) else ()):
            yield from places(rest, item, (*prefix, index))
    elif isinstance(values, dict) and step in values:
        yield from places(rest, values[step], (*prefix, step))


def _others(value: Any, constants: Sequence[Constant]) -> Iterator[tuple[str, Any]]:
    """Yield (in words, value) of what else a fact could be, the mildest change first."""
    if isinstance(value, bool):
        yield ("true" if not value else "false"), not value
    elif isinstance(value, int | float):
        for bound in sorted(set(_numbers(constants)), key=lambda one: abs(one - value)):
            kind = type(value)
            if bound <= value:
                yield f"at most {bound:g}", kind(bound)
                yield f"below {bound:g}", kind(bound) - kind(1)
            else:
                yield f"at least {bound:g}", kind(bound)
                yield f"above {bound:g}", kind(bound) + kind(1)
    elif isinstance(value, str):
        yield f"anything but {value!r}", _OTHER
        yield from ((repr(one), one) for one in constants if isinstance(one, str) and one != value)
    elif isinstance(value, list):
        words = [one for one in constants if isinstance(one, str)]
        yield from ((f"with {one!r}", [*value, one]) for one in words if one not in value)
        yield from (
            (f"without {one!r}", [item for item in value if item != one])
            for one in dict.fromkeys(words)
            if one in value
        )


def _numbers(constants: Sequence[Constant]) -> Iterator[int | float]:
    for one in constants:
        if isinstance(one, int | float) and not isinstance(one, bool):
            yield one


def _with(values: Mapping[str, Any], at: Sequence[Place], value: Any) -> Any:
    """Return the values with another one at some places; what is not on the way there is shared."""
    changed: Any = values
    for place in at:
        changed = _set(changed, place, value)
    return changed


def _set(values: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    step, rest = place[0], place[1:]
    if isinstance(values, list):
        return [_set(item, rest, value) if index == step else item for index, item in enumerate(values)]
    return {name: _set(item, rest, value) if name == step else item for name, item in values.items()}
