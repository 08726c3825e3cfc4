"""What is handed out: the whole journal as JSON lines, and the record of one subject with its proofs.

An export is canonical JSON, one value a line: a header, the facts by position with their bytes unchanged, the
checkpoints, an end line with size and root. A pack is one JSON value that `verify_pack` checks without anything else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.kernel.canonical import Json, canonical
from airboss.kernel.errors import Invalid, NotFound, Refused
from airboss.records.audit import proofs
from airboss.records.audit.checkpoints import TreeHead, latest, origin
from airboss.records.audit.model import Kind, Report
from airboss.records.audit.notes import BadNote, VerifyKey, open_note, split_note
from airboss.records.audit.sources import STREAM, Database, Row
from airboss.records.audit.walk import Findings, Walk
from airboss.records.journal import EMPTY_ROOT, Frontier, blob, entry, fact, head, leaf_hash, log

FORMAT: Final = 1
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a value of a stranger's making may raise where it is not of the shape that was handed out."""


def export(connection: Connection, out: BinaryIO) -> int:
    """Write every numbered fact and every checkpoint, and return how many facts. Texts stay where they can be erased."""
    source = Database(connection)
    tree = Frontier()
    out.write(canonical({"format": FORMAT, "kind": "journal", "log_id": source.log_id()}) + b"\n")
    for batch in source.entries():
        for position, _, fact_id, *_, stored in batch:
            if stored is None or position is None:
                raise Refused(
                    f"fact {fact_id} at position {position} is missing",
                    code="journal-damaged",
                    way_out="airboss audit verify says what is wrong",
                )
            out.write(b'{"fact":%b,"kind":"fact","position":%d}\n' % (stored, position))
        tree = tree.extended([leaf_hash(row[7]) for row in batch])  # type: ignore[arg-type]  # refused above
    for _, size, note in source.checkpoints():
        out.write(canonical({"kind": "checkpoint", "note": note.decode(), "size": size}) + b"\n")
    out.write(canonical({"kind": "end", "root": _text(tree.root()), "size": tree.size}) + b"\n")
    return tree.size


def inclusion_proof(connection: Connection, position: int, size: int) -> list[bytes]:
    """Return the hashes that prove the entry at `position` in the tree of `size`. Reads `size` leaves; raises Invalid."""
    return _proofs(connection, {position: _spans(proofs.inclusion_spans, position, size)})[position]


def consistency_proof(connection: Connection, old: int, size: int) -> list[bytes]:
    """Return the hashes that prove that the tree of `old` continues into that of `size`. Reads alike; raises Invalid."""
    return _proofs(connection, {old: _spans(proofs.consistency_spans, old, size)})[old]


def evidence(connection: Connection, subject: str, *, texts: bool = True) -> dict[str, Json]:
    """Return the record of one subject, each fact proven into the last checkpoint.

    Facts newer than that are counted in `later`, not shown. `texts` adds what the facts refer to, unless erased;
    leave it off where the reader may not see names and reasons. Raises NotFound, or Refused (`not-yet-proven`) while
    there is no checkpoint over any fact of it.
    """
    rows = connection.execute(
        sa.select(entry.c.position, fact.c.stored)
        .select_from(fact)
        .outerjoin(entry, entry.c.fact_id == fact.c.fact_id)
        .where(fact.c.subject == subject)
        .order_by(fact.c.subject_seq)
    ).all()
    if not rows:
        raise NotFound(f"nothing is recorded about {subject}", code="subject-not-found")
    signed = latest(connection)
    proven = [row for row in rows if signed is not None and row.position is not None and row.position < signed.size]
    if signed is None or not proven:
        raise Refused(
            f"the facts about {subject} are not in a checkpoint yet",
            code="not-yet-proven",
            way_out="try again in a second",
        )
    paths = _proofs(connection, {row.position: proofs.inclusion_spans(row.position, signed.size) for row in proven})
    facts: list[Json] = [
        {
            "position": row.position,
            "fact": json.loads(row.stored),
            "proof": [_text(step) for step in paths[row.position]],
        }
        for row in proven
    ]
    return {
        "format": FORMAT,
        "kind": "evidence",
        "log_id": connection.execute(sa.select(log.c.log_id)).scalar_one(),
        "subject": subject,
        "facts": facts,
        "later": len(rows) - len(proven),
        "checkpoint": signed.note.decode(),
        "texts": _texts(connection, [row.stored for row in proven]) if texts else {},
    }


def verify_pack(pack: str | bytes | Mapping[str, Any], *, public_key: str | Sequence[str] | None = None) -> Report:
    """Verify an evidence pack alone: its facts, their order, their proofs, its checkpoint and its texts.

    Raises Invalid when it is not a pack; whatever is wrong inside is a finding.
    """
    try:
        value = json.loads(pack) if isinstance(pack, (str, bytes)) else pack
        found = _PackCheck(value)
    except UNREADABLE as fault:
        raise Invalid(
            "this is not an evidence pack",
            code="bad-evidence-pack",
            way_out="give the file that `airboss audit pack` wrote",
        ) from fault
    keys = [VerifyKey.read(key) for key in ([public_key] if isinstance(public_key, str) else public_key or ())]
    return found.report(keys)


class _PackCheck:
    def __init__(self, pack: Mapping[str, Any]) -> None:
        if pack["kind"] != "evidence" or pack["format"] != FORMAT:
            raise ValueError(pack["kind"])
        self._log_id: str = pack["log_id"]
        self._subject: str = pack["subject"]
        self._note: bytes = pack["checkpoint"].encode()
        self._later = int(pack["later"])
        self._facts = [
            (int(each["position"]), canonical(each["fact"]), [base64.b64decode(step) for step in each["proof"]])
            for each in pack["facts"]
        ]
        self._texts = [
            (reference, base64.b64decode(text["salt"]), text["text"].encode())
            for reference, text in pack["texts"].items()
        ]
        self._findings = Findings()

    def report(self, keys: list[VerifyKey]) -> Report:
        tree = self._checkpoint(keys)
        walk = Walk(self._findings, log_id=self._log_id)
        before = -1
        for position, stored, proof in self._facts:
            place = f"position {position}"
            if position <= before:
                self._findings.add(Kind.ENTRY_REORDERED, place, f"it comes after position {before}.")
            before = position
            if tree is not None and not proofs.verify_inclusion(
                leaf_hash(stored), position, tree.size, proof, tree.root
            ):
                self._findings.add(
                    Kind.PROOF_WRONG, place, "the fact shown is not the one in the signed journal at this position."
                )
            walk.unnumbered([_shown(stored)], waiting=True)
        walk.end(None)
        for name in walk.subjects:
            if name != self._subject:
                self._findings.add(
                    Kind.SUBJECT_WRONG, name, f"the pack is about {self._subject}; this is another's fact."
                )
        for reference, salt, data in self._texts:
            if reference != f"blob:sha256:{hashlib.sha256(salt + data).hexdigest()}":
                self._findings.add(Kind.TEXT_ALTERED, reference, "the text is not the one that was referred to.")
        caveats = [] if keys else ["The signature was not checked: give the public key (--public-key)."]
        closed = (seen := walk.subjects.get(self._subject)) is not None and seen.closed
        if self._later or not closed:
            caveats.append("The record was still open: facts that came later, or were left off its end, are not shown.")
        return Report(
            log_id=self._log_id,
            size=tree.size if tree is not None else 0,
            root=tree.root if tree is not None else EMPTY_ROOT,
            findings=tuple(self._findings.kept),
            left_off=self._findings.left_off,
            pending=self._later,
            subjects=len(walk.subjects),
            texts=len(self._texts),
            checkpoints=int(tree is not None),
            signatures=int(tree is not None and bool(keys)),
            caveats=tuple(caveats),
        )

    def _checkpoint(self, keys: list[VerifyKey]) -> TreeHead | None:
        try:
            tree = TreeHead.read(split_note(self._note)[0])
        except BadNote as fault:
            self._findings.add(Kind.CHECKPOINT_MALFORMED, "checkpoint", f"it cannot be read as a checkpoint: {fault}.")
            return None
        if tree.origin != origin(self._log_id):
            self._findings.add(
                Kind.CHECKPOINT_MALFORMED, "checkpoint", f"it is of {tree.origin}, not of {self._log_id}."
            )
        if keys:
            try:
                open_note(self._note, keys)
            except BadNote as fault:
                self._findings.add(
                    Kind.CHECKPOINT_SIGNATURE, "checkpoint", f"it was not signed by the key you trust: {fault}."
                )
        return tree


def _shown(stored: bytes) -> Row:
    return Row(None, leaf_hash(stored), None, None, None, None, None, stored)


def _proofs(connection: Connection, spans: Mapping[int, Sequence[proofs.Span]]) -> dict[int, list[bytes]]:
    """Return the hashes of each list of spans, all in one pass over the leaves."""
    wanted = {span for several in spans.values() for span in several}
    leaves = connection.execute(sa.select(entry.c.leaf).order_by(entry.c.position), execution_options=STREAM).scalars()
    try:
        found = proofs.hashes_of(wanted, leaves)
    except ValueError as fault:
        size = connection.execute(sa.select(head.c.size)).scalar_one_or_none() or 0
        raise Invalid(
            f"the journal has {size} entries", code="bad-tree-size", way_out="ask for no more than there are"
        ) from fault
    finally:
        leaves.close()
    return {key: [found[span] for span in several] for key, several in spans.items()}


def _spans(of: Any, first: int, size: int) -> list[proofs.Span]:
    try:
        spans: list[proofs.Span] = of(first, size)
    except ValueError as fault:
        raise Invalid(str(fault), code="bad-tree-size", way_out="ask for a position or size the journal has") from fault
    return spans


def _texts(connection: Connection, stored: Sequence[bytes]) -> dict[str, Json]:
    walk = Walk(Findings(), log_id=None)
    walk.unnumbered([_shown(each) for each in stored], waiting=True)
    rows = connection.execute(
        sa.select(blob.c.digest, blob.c.salt, blob.c.bytes).where(
            blob.c.digest.in_(walk.texts), blob.c.bytes.is_not(None)
        )
    )
    return {row.digest: {"salt": _text(row.salt), "text": row.bytes.decode()} for row in rows}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
