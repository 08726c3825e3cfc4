"""Packs and proofs come from strangers: what is not of their shape is refused as that, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airboss.kernel.errors import Invalid
from airboss.records.audit import verify_pack, verify_proof

PROOF = {
    "format": 1,
    "kind": "inclusion",
    "log_id": "log",
    "proof": [],
    "checkpoint": None,
    "position": 0,
    "size": 1,
    "fact": {},
}
PACK = {
    "format": 1,
    "kind": "evidence",
    "log_id": "log",
    "subject": "change/x",
    "checkpoint": "",
    "later": 0,
    "facts": [],
    "proofs": [],
    "texts": {},
}
DEEP: dict[str, Any] = {}
for _ in range(3_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    "strange",
    [
        {"checkpoint": 5},
        {"checkpoint": [1]},
        {"proof": None},
        {"proof": [5]},
        {"position": -4},
        {"position": float("inf")},
        {"position": "first"},
        {"fact": {"a": float("nan")}},
        {"fact": DEEP},
        {"kind": [1]},
        {"kind": "consistency", "from": -3, "to": -1},
    ],
)
def test_what_is_no_proof_is_refused(strange: dict[str, Any]) -> None:
    """No value in a proof raises anything but the refusal of a proof."""
    with pytest.raises(Invalid) as refused:
        verify_proof({**PROOF, **strange})
    assert refused.value.code == "bad-proof"


@pytest.mark.parametrize(
    "strange",
    [{"checkpoint": 5}, {"later": float("inf")}, {"later": None}, {"facts": 5}, {"facts": [5]}, {"texts": 5}],
)
def test_what_is_no_pack_is_refused(strange: dict[str, Any]) -> None:
    """No value in a pack raises anything but the refusal of a pack."""
    with pytest.raises(Invalid) as refused:
        verify_pack({**PACK, **strange})
    assert refused.value.code == "bad-evidence-pack"


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b"\xff", b"[" * 100_000, json.dumps({"kind": None}).encode()])
def test_bytes_that_are_neither_are_refused(data: bytes) -> None:
    """So is what is not even a mapping, or nested without end."""
    for verify in (verify_proof, verify_pack):
        with pytest.raises(Invalid):
            verify(data)
