"""Who was seen before: one bounded set of 64-bit marks for all changes.

A mark is a hash of a scope (change, service, environment, attempt, and for some the step; what was seen) and a subject, so
one table answers "is this the subject's first request in this attempt / first bad one / first in this step" for a whole
request at once. Two subjects share a mark with probability n²/2^65: about 10^-7 at 2 million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from airboss.watch.telemetry.model import Ints

Marks = NDArray[np.uint64]
Flags = NDArray[np.bool_]

_FIRST_SIZE: Final = 1 << 12
_FREE: Final = np.uint64(0)


def scope_of(*parts: str | int) -> int:
    """Return the 63-bit number of a scope."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def marks_of(subjects: Marks, scopes: Marks) -> Marks:
    """Mix subjects with scopes, elementwise (the finaliser of SplitMix64, Steele, Lea and Flood 2014). Never zero."""
    z = subjects ^ scopes
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    # The scope goes in a second time: with one XOR, two scopes would only permute the same marks.
    z = (z ^ (z >> np.uint64(27)) ^ (scopes << np.uint64(1))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    marks: Marks = np.maximum(z, np.uint64(1))
    return marks


class SubjectSet:
    """Open-addressing hash table (linear probing, at most half full) over arrays, 10 bytes a place.

    `change` numbers the change a mark belongs to; each change may hold `most` marks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys = np.zeros(_FIRST_SIZE, np.uint64)
        self._owners = np.zeros(_FIRST_SIZE, np.int64)
        self._held = 0
        self._counts: dict[int, int] = {}

    def __len__(self) -> int:
        return self._held

    def count(self, change: int) -> int:
        """Return how many marks a change holds."""
        return self._counts.get(change, 0)

    def add(self, marks: Marks, changes: Ints) -> tuple[Flags, Flags]:
        """Put marks in. Return (new, refused) per mark: new is true for the first of equal marks that was not in the set;
        refused is true for every mark that is not in the set because its change is full.
        """
        unique, first, inverse = np.unique(marks, return_index=True, return_inverse=True)
        _, found = self._find(unique)
        absent = ~found
        refused_unique = np.zeros(len(unique), np.bool_)
        owners = changes[first]
        for change, wanted in zip(*np.unique(owners[absent], return_counts=True), strict=True):
            room = self._most - self.count(int(change))
            if wanted > room:
                ours = np.flatnonzero(absent & (owners == change))
                order = ours[np.argsort(first[ours], kind="stable")]
                refused_unique[order[max(room, 0) :]] = True
                wanted = max(room, 0)  # noqa: PLW2901
            self._counts[int(change)] = self.count(int(change)) + int(wanted)
        entering = absent & ~refused_unique
        self._insert(unique[entering], owners[entering])
        new = np.zeros(len(marks), np.bool_)
        new[first[entering]] = True
        return new, refused_unique[inverse.reshape(-1)]

    def drop(self, change: int) -> None:
        """Forget a change, and give back the room it took."""
        if not self._counts.pop(change, 0):
            return
        kept = (self._keys != _FREE) & (self._owners != change)
        size = len(self._keys)
        while size > _FIRST_SIZE and 8 * int(kept.sum()) < size:
            size //= 2
        self._rebuild(self._keys[kept], self._owners[kept], size)

    def _find(self, marks: Marks) -> tuple[Ints, Flags]:
        """Return (place, found): where each mark is, or the free place that ends its search."""
        mask = np.uint64(len(self._keys) - 1)
        places = (marks & mask).astype(np.int64)
        here = self._keys[places]
        looking = np.flatnonzero((here != marks) & (here != _FREE))
        while len(looking):
            places[looking] = (places[looking] + 1) & int(mask)
            here = self._keys[places[looking]]
            looking = looking[(here != marks[looking]) & (here != _FREE)]
        return places, self._keys[places] == marks

    def _insert(self, marks: Marks, owners: Ints) -> None:
        """Put in distinct marks that are not there yet."""
        if 2 * (self._held + len(marks)) > len(self._keys):
            size = len(self._keys)
            while 2 * (self._held + len(marks)) > size:
                size *= 2
            kept = self._keys != _FREE
            self._rebuild(self._keys[kept], self._owners[kept], size)
        self._held += len(marks)
        while len(marks):
            places, _ = self._find(marks)
            self._keys[places] = marks
            won = self._keys[places] == marks  # of several that wanted one place, one got it
            self._owners[places[won]] = owners[won]
            marks, owners = marks[~won], owners[~won]

    def _rebuild(self, marks: Marks, owners: Ints, size: int) -> None:
        self._keys = np.zeros(size, np.uint64)
        self._owners = np.zeros(size, np.int64)
        self._held = 0
        self._insert(marks, owners)

    def all(self) -> Iterator[int]:
        """Yield every mark, for tests and inspection."""
        yield from self._keys[self._keys != _FREE].tolist()
