"""One proof that was handed out, checked alone: against checkpoints kept elsewhere, without the server or its database.

A proof is one JSON value: `kind` inclusion (a fact at its position) or consistency (an earlier tree is the beginning of
a later one), `format`, `log_id`, the hashes in base64, and the checkpoint of its tree where the server had one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from airboss.kernel.canonical import Json, canonical
from airboss.kernel.errors import Invalid, NotFound
from airboss.records.audit import proofs
from airboss.records.audit.checkpoints import Checkpoint, TreeHead, origin
from airboss.records.audit.model import Kind, Report
from airboss.records.audit.notes import BadNote, VerifyKey, open_note, split_note, split_notes
from airboss.records.audit.packs import FORMAT, UNREADABLE, consistency_proof, inclusion_proof
from airboss.records.audit.walk import Findings
from airboss.records.journal import EMPTY_ROOT, entry, fact, leaf_hash, log

KINDS: Final = ("inclusion", "consistency")
_NO_KEY: Final = "Signatures were not checked: give the public key (--key) you noted when the log was made."
_NOT_KEPT: Final = "The checkpoint is the one that came with the proof: give one you kept elsewhere (--checkpoint)."


def inclusion(connection: Connection, position: int, size: int, signed: Checkpoint | None) -> dict[str, Json]:
    """Return the proof that a fact is at `position` of the tree of `size`, with the fact itself.

    Reads `size` leaves. Raises Invalid for a position or size the journal has not, NotFound where the fact is missing.
    """
    path = inclusion_proof(connection, position, size)
    stored = connection.execute(
        select(fact.c.stored).join(entry, entry.c.fact_id == fact.c.fact_id).where(entry.c.position == position)
    ).scalar_one_or_none()
    if stored is None:
        raise NotFound(
            f"the fact at position {position} is missing",
            code="fact-not-found",
            way_out="airboss audit verify says what is wrong",
        )
    return {
        **_head(connection, "inclusion", size, signed),
        "position": position,
        "size": size,
        "fact": json.loads(stored),
        "proof": _texts(path),
    }


def consistency(connection: Connection, old: int, size: int, signed: Checkpoint | None) -> dict[str, Json]:
    """Return the proof that the tree of `old` is the beginning of that of `size`. Reads `size` leaves; raises Invalid."""
    path = consistency_proof(connection, old, size)
    return {**_head(connection, "consistency", size, signed), "from": old, "to": size, "proof": _texts(path)}


def newest(notes: bytes) -> TreeHead:
    """Return the largest tree of a file of checkpoints, signatures unchecked. Raises Invalid where it holds none."""
    trees = []
    for note in split_notes(notes):
        try:
            trees.append(TreeHead.read(split_note(note)[0]))
        except BadNote as fault:
            raise _not_a_checkpoint(f"a checkpoint cannot be read: {fault}") from fault
    if not trees:
        raise _not_a_checkpoint("there is no checkpoint in it")
    return max(trees, key=lambda tree: tree.size)


def verify_proof(
    proof: str | bytes | Mapping[str, Any], *, checkpoints: bytes = b"", public_key: Sequence[str] = ()
) -> Report:
    """Verify a proof that was taken away: by checkpoints kept elsewhere, and the one it brings.

    Raises Invalid when it is no proof, or when no checkpoint of its size is at hand; whatever is wrong is a finding.
    """
    try:
        value = json.loads(proof) if isinstance(proof, (str, bytes)) else proof
        check = _Check(value)
    except UNREADABLE as fault:
        raise Invalid(
            "this is not a proof", code="bad-proof", way_out="give the file that `airboss audit proof -o FILE` wrote"
        ) from fault
    return check.report(checkpoints, [VerifyKey.read(key) for key in public_key])


class _Check:
    def __init__(self, value: Mapping[str, Any]) -> None:
        if value["kind"] not in KINDS or value["format"] != FORMAT:
            raise ValueError(value["kind"])
        self._log_id = str(value["log_id"])
        self._steps = [base64.b64decode(step, validate=True) for step in value["proof"]]
        self._brought = (value["checkpoint"] or "").encode()
        self._leaf: bytes | None = None
        if value["kind"] == "inclusion":
            self._first, self._size = int(value["position"]), int(value["size"])
            self._leaf = leaf_hash(canonical(value["fact"]))
        else:
            self._first, self._size = int(value["from"]), int(value["to"])
        if not 0 <= self._first <= self._size:
            raise ValueError(self._first)
        self._findings = Findings()
        self._signatures = 0

    def report(self, kept: bytes, keys: list[VerifyKey]) -> Report:
        own = self._trees("given checkpoint", kept, keys)
        brought = self._trees("the proof's checkpoint", self._brought, keys)
        roots: dict[int, bytes] = {}
        for place, tree in [*own, *brought]:
            if roots.setdefault(tree.size, tree.root) != tree.root:
                self._findings.add(
                    Kind.CHECKPOINT_ROOT, place, f"it signs another history of {tree.size} entries than the one before."
                )
        sizes = {self._size} if self._leaf is not None else {self._first, self._size} - {0}
        for missing in sorted(sizes - set(roots)):
            if not self._findings.kept:
                raise Invalid(
                    f"no checkpoint over {missing:,} entries is at hand",
                    code="checkpoint-missing",
                    way_out="give the file you keep them in: --checkpoint FILE",
                )
        if sizes <= set(roots):
            self._hold(roots)
        caveats = [] if keys else [_NO_KEY]
        if not sizes & {tree.size for _, tree in own}:
            caveats.append(_NOT_KEPT)
        return Report(
            log_id=self._log_id,
            size=self._size,
            root=roots.get(self._size, EMPTY_ROOT),
            findings=tuple(self._findings.kept),
            left_off=self._findings.left_off,
            checkpoints=len(own) + len(brought),
            signatures=self._signatures,
            caveats=tuple(caveats),
        )

    def _hold(self, roots: Mapping[int, bytes]) -> None:
        root = roots[self._size]
        if self._leaf is not None:
            if not proofs.verify_inclusion(self._leaf, self._first, self._size, self._steps, root):
                self._findings.add(
                    Kind.PROOF_WRONG,
                    f"position {self._first}",
                    "the fact shown is not the one in the signed journal at this position.",
                )
        elif not proofs.verify_consistency(
            self._first, roots.get(self._first, EMPTY_ROOT), self._size, root, self._steps
        ):
            self._findings.add(
                Kind.PROOF_WRONG,
                f"entries 0 to {self._first}",
                f"the record of {self._first:,} entries is not the beginning of that of {self._size:,}.",
            )

    def _trees(self, place: str, notes: bytes, keys: list[VerifyKey]) -> list[tuple[str, TreeHead]]:
        """Return the readable checkpoints of this log; findings for the others."""
        found = []
        for note in split_notes(notes):
            try:
                tree = TreeHead.read(split_note(note)[0])
            except BadNote as fault:
                self._findings.add(Kind.CHECKPOINT_MALFORMED, place, f"it cannot be read as a checkpoint: {fault}.")
                continue
            if tree.origin != origin(self._log_id):
                self._findings.add(
                    Kind.CHECKPOINT_MALFORMED, place, f"it is of {tree.origin}, not of {origin(self._log_id)}."
                )
                continue
            try:
                if keys:
                    open_note(note, keys)
                    self._signatures += 1
            except BadNote as fault:
                self._findings.add(
                    Kind.CHECKPOINT_SIGNATURE, place, f"it was not signed by the key you trust: {fault}."
                )
                continue
            found.append((place, tree))
        return found


def _head(connection: Connection, kind: str, size: int, signed: Checkpoint | None) -> dict[str, Json]:
    return {
        "format": FORMAT,
        "kind": kind,
        "log_id": connection.execute(select(log.c.log_id)).scalar_one(),
        "checkpoint": signed.note.decode() if signed is not None and signed.size == size else None,
    }


def _texts(path: Sequence[bytes]) -> list[Json]:
    return [base64.b64encode(step).decode() for step in path]


def _not_a_checkpoint(detail: str) -> Invalid:
    return Invalid(detail, code="bad-checkpoint", way_out="give what `airboss audit checkpoint -o FILE` wrote")
