"""The Merkle tree of RFC 6962 section 2.1, grown one leaf at a time.

A `Frontier` is the list of roots of the perfect subtrees a tree of some size falls into, largest first: all that is
needed to append, a few hundred bytes for any size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree of `size` leaves."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size.bit_count() != len(self.hashes):
            raise ValueError(
                f"a tree of {self.size} leaves has {self.size.bit_count()} subtrees, not {len(self.hashes)}"
            )

    @classmethod
    def read(cls, size: int, data: bytes) -> Frontier:
        """Return the frontier of stored bytes, 32 a subtree. Raises ValueError where they do not fit the size."""
        return cls(size, tuple(data[start : start + 32] for start in range(0, len(data), 32)))

    def stored(self) -> bytes:
        """Return the bytes to keep."""
        return b"".join(self.hashes)

    def extended(self, leaves: Sequence[bytes]) -> Frontier:
        """Return the frontier after appending leaf hashes in order."""
        hashes = list(self.hashes)
        size = self.size
        for leaf in leaves:
            merged = leaf
            rest = size
            while rest & 1:
                merged = node_hash(hashes.pop(), merged)
                rest >>= 1
            hashes.append(merged)
            size += 1
        return Frontier(size, tuple(hashes))

    def root(self) -> bytes:
        """Return the Merkle tree hash, 32 bytes."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root
