"""Inclusion and consistency proofs over the tree of RFC 6962.

Spans are half-open ranges of positions. Sources: RFC 6962 section 2.1.1 and 2.1.2 (what a proof consists of), RFC 9162
section 2.1.3.2 and 2.1.4.2 (how it is verified).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from airboss.records.journal import EMPTY_ROOT, node_hash

Span: TypeAlias = tuple[int, int]
_Node: TypeAlias = tuple[int, int]  # level, index within the level


def inclusion_spans(position: int, size: int) -> list[Span]:
    """Return the spans whose hashes prove the leaf at `position` of `size`, from the leaf upwards.

    Raises ValueError for a position outside the tree.
    """
    if not 0 <= position < size:
        raise ValueError(f"position {position} is not in a tree of {size}")
    spans: list[Span] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if position < middle:
            spans.append((middle, stop))
            stop = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old: int, size: int) -> list[Span]:
    """Return the spans whose hashes prove that the tree of `old` leaves is the beginning of that of `size`.

    Raises ValueError where `old` is not a beginning: zero, or larger than `size`.
    """
    if not 0 < old <= size:
        raise ValueError(f"a tree of {old} is no beginning of one of {size}")
    spans: list[Span] = []
    start, stop, whole = 0, size, True
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            spans.append((middle, stop))
            stop = middle
        else:
            spans.append((start, middle))
            start, whole = middle, False
    if not whole:
        spans.append((start, stop))
    return spans[::-1]


def hashes_of(spans: Iterable[Span], leaves: Iterable[bytes]) -> dict[Span, bytes]:
    """Return the hash of each span in one pass over the leaf hashes, which start at position 0.

    Raises ValueError when the leaves end before the spans do. Memory: the tree's right edge and what is asked for.
    """
    pieces = {span: _pieces(*span) for span in spans}
    wanted = {piece for several in pieces.values() for piece in several}
    last = max((stop for _, stop in pieces), default=0)
    found: dict[_Node, bytes] = {}
    edge: list[bytes] = []
    for position, leaf in enumerate(leaves):
        if position >= last:
            break
        level, merged = 0, leaf
        if (0, position) in wanted:
            found[0, position] = merged
        while position >> level & 1:
            merged = node_hash(edge.pop(), merged)
            level += 1
            if (level, position >> level) in wanted:
                found[level, position >> level] = merged
        edge.append(merged)
    if len(found) != len(wanted):
        raise ValueError(f"the leaves end before position {last}")
    return {span: _joined([found[piece] for piece in several]) for span, several in pieces.items()}


def verify_inclusion(leaf: bytes, position: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether `proof` shows that `leaf` is at `position` of the tree of `size` with this root."""
    if not 0 <= position < size:
        return False
    at, last, hashed = position, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            hashed = node_hash(step, hashed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hashed = node_hash(hashed, step)
        at, last = at >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` shows that the tree of `old` leaves is the beginning of the tree of `size`."""
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if old >= size:
        return old == size and not proof and old_root == root
    steps = list(proof)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == root


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _pieces(start: int, stop: int) -> list[_Node]:
    """Return the perfect subtrees a span falls into, left to right."""
    pieces = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        pieces.append((level, start >> level))
        start += 1 << level
    return pieces


def _joined(hashes: Sequence[bytes]) -> bytes:
    joined = hashes[-1]
    for left in reversed(hashes[:-1]):
        joined = node_hash(left, joined)
    return joined
