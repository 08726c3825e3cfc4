"""Cells: open buckets as rows of arrays, so that a request is added with a few array operations."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np

from airboss.watch.telemetry.model import Ints

Key = TypeVar("Key", bound=Hashable)

_FIRST_SIZE = 64


class Plane(Generic[Key]):
    """Numbers by key: `counts` (slots, c) are added to, `tops` (slots, t) keep the greatest, `detail` (slots, d) are bins.

    The arrays move when the plane grows: fetch them after `slots`, never before.
    """

    def __init__(self, *, counts: int, tops: int = 0, detail: int = 0) -> None:
        self.counts = np.zeros((_FIRST_SIZE, counts), np.int64)
        self.tops = np.zeros((_FIRST_SIZE, tops), np.int64)
        self.detail = np.zeros((_FIRST_SIZE, detail), np.int64)
        self._dirty = np.zeros(_FIRST_SIZE, np.bool_)
        self._slots: dict[Key, int] = {}
        self._free = list(range(_FIRST_SIZE - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._slots)

    def slots(self, keys: list[Key]) -> Ints:
        """Return the slot of each key, new ones zeroed; all are marked dirty."""
        found = np.fromiter((self._slot(key) for key in keys), np.int64, len(keys))
        self._dirty[found] = True
        return found

    def items(self) -> Iterator[tuple[Key, int]]:
        """Yield (key, slot) of everything held."""
        yield from self._slots.items()

    def held(self) -> Iterable[Key]:
        """Return the keys of every cell."""
        return self._slots.keys()

    def dirty(self) -> Iterator[tuple[Key, int]]:
        """Yield (key, slot) of what moved, and mark it clean."""
        for key, slot in self._slots.items():
            if self._dirty[slot]:
                yield key, slot
        self._dirty[:] = False

    def soil(self, keys: list[Key]) -> None:
        """Mark keys dirty again: what was taken could not be written."""
        for key in keys:
            if key in self._slots:
                self._dirty[self._slots[key]] = True

    def release(self, done: Callable[[Key], bool]) -> None:
        """Forget clean cells that are done."""
        for key in [key for key, slot in self._slots.items() if not self._dirty[slot] and done(key)]:
            slot = self._slots.pop(key)
            self.counts[slot] = 0
            self.tops[slot] = 0
            self.detail[slot] = 0
            self._free.append(slot)

    def _slot(self, key: Key) -> int:
        slot = self._slots.get(key)
        if slot is None:
            if not self._free:
                self._grow()
            slot = self._slots[key] = self._free.pop()
        return slot

    def _grow(self) -> None:
        size = len(self._dirty)
        self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
        self.tops = np.concatenate([self.tops, np.zeros_like(self.tops)])
        self.detail = np.concatenate([self.detail, np.zeros_like(self.detail)])
        self._dirty = np.concatenate([self._dirty, np.zeros_like(self._dirty)])
        self._free.extend(range(2 * size - 1, size - 1, -1))
