"""Matching people to seats, so that nobody fills two. Pure.

Seats on one side, people on the other; an edge where a person may sit. A maximum matching (augmenting paths, Kuhn
1955 / Berge 1957) fills as many seats as can be filled; the seats an alternating path reaches from an empty one are
exactly those where one more person would help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet


def match(pools: Sequence[AbstractSet[str]]) -> dict[int, str]:
    """Return seat index → person for a largest seating; `pools[i]` is who may take seat i.

    People are tried in the order of their names, so the same input gives the same seating.
    """
    holds: dict[str, int] = {}
    for seat in range(len(pools)):
        _augment(seat, pools, holds, set())
    return {seat: person for person, seat in holds.items()}


def reachable(pools: Sequence[AbstractSet[str]], seated: Mapping[int, str]) -> dict[int, frozenset[int]]:
    """Return for each empty seat the seats whose holder could move over to free it, itself included."""
    holder = {person: seat for seat, person in seated.items()}
    found = {}
    for empty in (seat for seat in range(len(pools)) if seat not in seated):
        seen = {empty}
        todo = [empty]
        while todo:
            moves = {holder[person] for person in pools[todo.pop()] if person in holder} - seen
            seen |= moves
            todo.extend(moves)
        found[empty] = frozenset(seen)
    return found


def _augment(seat: int, pools: Sequence[AbstractSet[str]], holds: dict[str, int], seen: set[str]) -> bool:
    for person in sorted(pools[seat]):
        if person in seen:
            continue
        seen.add(person)
        if person not in holds or _augment(holds[person], pools, holds, seen):
            holds[person] = seat
            return True
    return False
