"""From what policy asks for to what a round asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from airboss.decide.approvals.model import Choice, Requirement, all_of, any_of
from airboss.decide.approvals.ports import Need


def choices_of(needs: Iterable[Need]) -> tuple[Choice, ...]:
    """Return the choices of a round that meets every need.

    What several rules ask of one group unites: the larger number, the stricter exclusion. Each any-of stays a choice
    of its own, whose seats are filled by further people.
    """
    united: dict[str, Requirement] = {}
    others: list[Choice] = []
    for need in needs:
        asked = [_requirement(need, group=places.group, least=places.least) for places in need.groups]
        if need.of == "any":
            others.append(any_of(asked))
        else:
            for requirement in asked:
                known = united.get(requirement.group)
                united[requirement.group] = requirement if known is None else _unite(known, requirement)
    first = (all_of(united.values()),) if united else ()
    return (*first, *others)


def _requirement(need: Need, *, group: str, least: int) -> Requirement:
    return Requirement(
        group=group,
        least=least,
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
        backup=one.backup or other.backup,
        because=tuple(dict.fromkeys((*one.because, *other.because))),
        sla_s=min(hoped, default=None),
    )
