"""From what policy asks for to what a round asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from airboss.decide.approvals.model import Choice, Requirement, all_of, any_of
from airboss.decide.approvals.ports import Need, Places


def choices_of(needs: Iterable[Need]) -> tuple[Choice, ...]:
    """Return the choices of a round that meets every need.

    What several rules ask of one group unites: the larger number, the stricter exclusion. Each any-of stays a choice
    of its own, whose seats are filled by further people.
    """
    united: dict[str, Requirement] = {}
    others: list[Choice] = []
    for need in needs:
        asked = [_requirement(need, places) for places in need.groups]
        if need.of == "any":
            others.append(any_of(asked, take=need.take))
        else:
            for requirement in asked:
                known = united.get(requirement.group)
                united[requirement.group] = requirement if known is None else _unite(known, requirement)
    first = (all_of(united.values()),) if united else ()
    return (*first, *others)


def unite(wanted: Sequence[Choice], asked: Sequence[Choice]) -> tuple[Choice, ...]:
    """Return the choices of a round that meets what is wanted now and all that was asked before: nothing is dropped."""
    together: dict[str, Requirement] = {}
    others: list[Choice] = []
    for choice in (*wanted, *asked):
        if choice.take == len(choice.of):
            for requirement in choice.of:
                known = together.get(requirement.group)
                together[requirement.group] = requirement if known is None else _unite(known, requirement)
        elif not any(_same(choice, other) for other in others):
            others.append(choice)
    first = (all_of(together.values()),) if together else ()
    return (*first, *others)


def asks_no_more(wanted: Sequence[Choice], asked: Sequence[Choice]) -> bool:
    """Return whether a round that asks `asked` meets all that is wanted."""
    held = {one.group: one for choice in asked if choice.take == len(choice.of) for one in choice.of}
    for choice in wanted:
        if choice.take < len(choice.of):
            if not any(_same(choice, other) for other in asked):
                return False
        elif not all(one.group in held and _meets(held[one.group], one) for one in choice.of):
            return False
    return True


def _meets(held: Requirement, wanted: Requirement) -> bool:
    covers = wanted.covers is None if held.covers is not None else False
    return held.least >= wanted.least and held.distinct_from >= wanted.distinct_from and not covers


def _same(one: Choice, other: Choice) -> bool:
    def essence(choice: Choice) -> object:
        return choice.take, {(asked.group, asked.least, asked.distinct_from, asked.covers) for asked in choice.of}

    return essence(one) == essence(other)


def _requirement(need: Need, places: Places) -> Requirement:
    return Requirement(
        group=places.group,
        least=places.least,
        covers=None if places.covers is None else frozenset(places.covers),
        distinct_from=frozenset(need.distinct_from),
        backup=need.backup,
        because=need.rules,
        sla_s=need.sla_s,
    )


def _unite(one: Requirement, other: Requirement) -> Requirement:
    hoped = [sla for sla in (one.sla_s, other.sla_s) if sla is not None]
    return replace(
        one,
        least=max(one.least, other.least),
        distinct_from=one.distinct_from | other.distinct_from,
        covers=None if one.covers is None or other.covers is None else one.covers | other.covers,
        backup=one.backup or other.backup,
        because=tuple(dict.fromkeys((*one.because, *other.because))),
        sla_s=min(hoped, default=None),
    )
