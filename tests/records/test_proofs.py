"""The Merkle tree: the known vectors of RFC 6962, and proofs that convince for the truth and for nothing else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.records.audit import proofs
from airboss.records.audit.proofs import (
    consistency_spans,
    hashes_of,
    inclusion_spans,
    verify_consistency,
    verify_inclusion,
)
from airboss.records.journal import EMPTY_ROOT, Frontier, leaf_hash, node_hash

# The leaves and roots of certificate-transparency-go's merkle tests.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(tree_hash(leaves[:k]), tree_hash(leaves[k:]))


def made(size: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(size)]


def proof(spans: list[proofs.Span], leaves: list[bytes]) -> list[bytes]:
    found = hashes_of(spans, leaves)
    return [found[span] for span in spans]


SIZES = st.integers(1, 200)


def test_roots_of_the_known_vectors():
    """The tree grown leaf by leaf has the published root at each size."""
    hashed = [leaf_hash(leaf) for leaf in LEAVES]
    for size, root in enumerate(ROOTS, start=1):
        assert Frontier().extended(hashed[:size]).root().hex() == root


def test_the_empty_tree():
    """A tree of nothing has the hash of nothing."""
    assert Frontier().root() == EMPTY_ROOT == hashlib.sha256(b"").digest()


@given(SIZES, st.integers(0, 200))
def test_growing_in_parts_is_growing_at_once(size: int, cut: int):
    """Wherever the leaves are cut in two, stored and read back, the root is the definition's."""
    leaves = made(size)
    first = Frontier().extended(leaves[:cut])
    grown = Frontier.read(first.size, first.stored()).extended(leaves[cut:])
    assert grown.root() == tree_hash(leaves)


@given(SIZES, st.data())
def test_a_leaf_is_proven_where_it_is(size: int, data: st.DataObject):
    """The proof of a leaf convinces for its position, and for no other leaf, position, size or root."""
    position = data.draw(st.integers(0, size - 1))
    leaves = made(size)
    steps, root = proof(inclusion_spans(position, size), leaves), tree_hash(leaves)
    assert verify_inclusion(leaves[position], position, size, steps, root)
    assert len(steps) <= size.bit_length()
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != position)) if size > 1 else None
    if other is not None:
        assert not verify_inclusion(leaves[other], position, size, steps, root)
        assert not verify_inclusion(leaves[position], other, size, steps, root)
    assert not verify_inclusion(leaves[position], position, size, [*steps, b"\0" * 32], root)
    assert not verify_inclusion(leaves[position], position, size, steps, b"\0" * 32)
    assert not verify_inclusion(leaves[position], size, size, steps, root)
    for turn in range(len(steps)):
        changed = [*steps]
        changed[turn] = hashlib.sha256(changed[turn]).digest()
        assert not verify_inclusion(leaves[position], position, size, changed, root)
        assert not verify_inclusion(leaves[position], position, size, steps[:turn] + steps[turn + 1 :], root)


@given(SIZES, st.data())
def test_an_older_tree_is_proven_to_continue(size: int, data: st.DataObject):
    """The proof between two sizes convinces for these roots and no others."""
    old = data.draw(st.integers(1, size))
    leaves = made(size)
    steps = proof(consistency_spans(old, size), leaves)
    before, after = tree_hash(leaves[:old]), tree_hash(leaves)
    assert verify_consistency(old, before, size, after, steps)
    assert not verify_consistency(old, b"\0" * 32, size, after, steps)
    assert not verify_consistency(old, before, size, b"\0" * 32, steps)
    assert not verify_consistency(old, before, size, after, [*steps, b"\0" * 32])
    forged = [*leaves]
    forged[data.draw(st.integers(0, old - 1))] = b"\1" * 32
    assert not verify_consistency(old, before, size, tree_hash(forged), proof(consistency_spans(old, size), forged))
    for turn in range(len(steps)):
        changed = [*steps]
        changed[turn] = hashlib.sha256(changed[turn]).digest()
        assert not verify_consistency(old, before, size, after, changed)


def test_the_empty_tree_is_the_beginning_of_every_tree():
    """Nothing continues into anything, with no proof needed; only the empty tree's root is accepted for it."""
    root = tree_hash(made(5))
    assert verify_consistency(0, EMPTY_ROOT, 5, root, [])
    assert not verify_consistency(0, root, 5, root, [])


@pytest.mark.parametrize(
    ("of", "first", "size"),
    [(inclusion_spans, 3, 3), (inclusion_spans, -1, 3), (consistency_spans, 0, 3), (consistency_spans, 4, 3)],
)
def test_there_is_no_proof_of_what_is_not_there(of, first: int, size: int):
    """A position or a size outside the tree is refused."""
    with pytest.raises(ValueError, match=r"tree|beginning"):
        of(first, size)


def test_leaves_that_end_too_early_are_refused():
    """A proof over leaves that are not there is an error, never a shorter proof."""
    with pytest.raises(ValueError, match="end before"):
        hashes_of([(0, 8)], made(7))
