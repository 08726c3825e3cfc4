"""The offline verification: everything that can be known from a copy of the journal alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Connection

from airboss.records.audit.checkpoints import TreeHead, origin
from airboss.records.audit.model import Kind, Report
from airboss.records.audit.notes import BadNote, VerifyKey, open_note, split_note, split_notes
from airboss.records.audit.sources import Source, open_source
from airboss.records.audit.walk import Findings, Walk, as_bytes

StateDigests: TypeAlias = Callable[[Connection], Iterable[tuple[str, str]]]
"""Gives (subject, digest of its state row as it is now) for every row of a room."""

_NO_KEY: Final = "Signatures were not checked: give the public key (--public-key) you noted when the log was made."
_NO_CHECKPOINT: Final = (
    "A cut-off tail, or a history written anew together with its checkpoints, is found only against a checkpoint that "
    "was kept elsewhere (--checkpoint)."
)
_KIND_OF_SUBJECT: Final = re.compile(r"[^_/]*[_/]?")


def verify(
    source: str | Path | Connection,
    *,
    checkpoint_note: str | bytes | None = None,
    public_key: str | Sequence[str] | None = None,
    state_digests: StateDigests | Sequence[StateDigests] = (),
) -> Report:
    """Verify a journal: a database's address or file, an export, or an open connection. Nothing is written.

    `checkpoint_note`: one or several notes kept elsewhere. `public_key`: the `vkey` line of whoever signs, or of
    several. `state_digests`: what the rooms give to compare state rows with their last facts; needs a database.
    Raises Invalid or Unavailable where there is nothing to read; whatever is wrong inside is a finding.
    """
    keys = [VerifyKey.read(key) for key in ([public_key] if isinstance(public_key, str) else public_key or ())]
    given = checkpoint_note.encode() if isinstance(checkpoint_note, str) else checkpoint_note or b""
    states = [state_digests] if callable(state_digests) else list(state_digests)
    with open_source(source) as opened:
        return _Verification(opened, keys, given).report(states)


class _Verification:
    def __init__(self, source: Source, keys: list[VerifyKey], given: bytes) -> None:
        self._source = source
        self._keys = keys
        self._given = given
        self._findings = Findings()
        self._log_id = source.log_id()
        self._signatures = 0
        self._texts = 0
        self._states = 0

    def report(self, states: list[StateDigests]) -> Report:
        head = self._source.head()
        trees = self._checkpoints()
        walk = Walk(
            self._findings,
            log_id=self._log_id,
            sizes=[tree.size for _, tree in trees] + ([head.size] if head is not None else []),
        )
        for batch in self._source.entries():
            walk.numbered(batch)
        pending = 0
        for batch in self._source.waiting():
            walk.unnumbered(batch, waiting=True)
            pending += len(batch)
        for batch in self._source.unnumbered():
            walk.unnumbered(batch, waiting=False)
        walk.end(self._source.subjects())
        self._against_head(walk)
        self._against_checkpoints(walk, trees)
        self._against_texts(walk)
        for room in states:
            self._against_states(walk, room)
        return Report(
            log_id=self._log_id,
            size=walk.tree.size,
            root=walk.tree.root(),
            findings=tuple(self._findings.kept),
            left_off=self._findings.left_off,
            pending=pending,
            subjects=len(walk.subjects),
            states=self._states,
            texts=self._texts,
            checkpoints=len(trees),
            signatures=self._signatures,
            caveats=(() if self._keys else (_NO_KEY,)) + (() if self._given else (_NO_CHECKPOINT,)),
        )

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _checkpoints(self) -> list[tuple[str, TreeHead]]:
        """Return every readable checkpoint with its place, smallest first; findings for the others."""
        given = [
            (f"given checkpoint {number}", None, note) for number, note in enumerate(split_notes(self._given), start=1)
        ]
        trees = []
        for place, size, note in [*self._source.checkpoints(), *given]:
            try:
                text = open_note(note, self._keys).text if self._keys else split_note(note)[0]
                tree = TreeHead.read(text)
            except BadNote as fault:
                self._unreadable(place, note, fault)
                continue
            self._signatures += bool(self._keys)
            if size is not None and size != tree.size:
                self._findings.add(
                    Kind.CHECKPOINT_MALFORMED, place, f"its row says {size} entries, its signed text {tree.size}."
                )
            if self._log_id is not None and tree.origin != origin(self._log_id):
                self._findings.add(
                    Kind.CHECKPOINT_MALFORMED, place, f"it is a checkpoint of {tree.origin}, not of {self._log_id}."
                )
                continue
            trees.append((place, tree))
        return sorted(trees, key=lambda each: each[1].size)

    def _unreadable(self, place: str, note: bytes, fault: BadNote) -> None:
        try:
            TreeHead.read(split_note(note)[0])
        except BadNote:
            self._findings.add(Kind.CHECKPOINT_MALFORMED, place, f"it cannot be read as a checkpoint: {fault}.")
        else:
            self._findings.add(
                Kind.CHECKPOINT_SIGNATURE,
                place,
                f"it was not signed by the key you trust, or was changed since: {fault}.",
            )

    def _against_checkpoints(self, walk: Walk, trees: list[tuple[str, TreeHead]]) -> None:
        """Compare each signed root; the first that does not fit names the stretch, later ones would only repeat it."""
        good, wrong = 0, []
        for place, tree in trees:
            if tree.size > walk.tree.size:
                self._findings.add(
                    Kind.TAIL_CUT,
                    f"positions {walk.tree.size} to {tree.size - 1}",
                    f"{place} was signed over {tree.size} entries and only {walk.tree.size} are here: the end was cut off, "
                    "or an older copy was put back.",
                )
                return
            if walk.roots.get(tree.size, walk.tree.root()) == tree.root:
                good = tree.size
            else:
                wrong.append((place, tree))
                break
        for place, tree in wrong:
            self._findings.add(
                Kind.CHECKPOINT_ROOT,
                f"positions {good} to {tree.size - 1}",
                f"{place} was signed over {tree.size} other entries: something in this stretch was altered, exchanged, "
                "added or dropped after it was signed.",
            )

    # -- the rest ------------------------------------------------------------------------------------------------

    def _against_head(self, walk: Walk) -> None:
        head = self._source.head()
        if head is None:
            if walk.tree.size or self._source.connection is None:
                self._findings.add(
                    Kind.TAIL_CUT if self._source.connection is None else Kind.HEAD_WRONG,
                    f"position {walk.tree.size}",
                    "what says how many entries there are is missing: the end was cut off.",
                )
            return
        if head.size < walk.next:
            self._findings.add(
                Kind.ENTRY_ADDED,
                f"position {head.size}",
                f"the journal counts {head.size} entries, and there are {walk.tree.size}: the last were slipped in.",
            )
        elif head.size > walk.next:
            self._findings.add(
                Kind.ENTRY_DROPPED,
                f"positions {walk.next} to {head.size - 1}",
                f"the journal counts {head.size} entries, and only {walk.tree.size} are here: the last were dropped.",
            )
        elif (walk.tree.root() if head.frontier is None else walk.tree.stored()) != (head.frontier or head.root or b""):
            self._findings.add(
                Kind.HEAD_WRONG,
                f"size {head.size}",
                "the tree in the journal's head was built over other entries: some were altered or exchanged, or the head was.",
            )

    def _against_texts(self, walk: Walk) -> None:
        texts = self._source.texts()
        if texts is None:
            return
        kept = set()
        for reference, salt, data in texts:
            kept.add(reference)
            self._texts += 1
            erased = data is None and salt is None
            if (
                not erased
                and reference
                != f"blob:sha256:{hashlib.sha256(as_bytes(salt or b'') + as_bytes(data or b'')).hexdigest()}"
            ):
                self._findings.add(Kind.TEXT_ALTERED, reference, "the text is not the one that was referred to.")
        for reference in sorted(walk.texts - kept):
            self._findings.add(
                Kind.TEXT_MISSING, reference, "a fact refers to this text, and its row was removed instead of erased."
            )

    def _against_states(self, walk: Walk, room: StateDigests) -> None:
        if self._source.connection is None:
            return
        seen: set[str] = set()
        for name, digest in room(self._source.connection):
            self._states += 1
            seen.add(name)
            known = walk.subjects.get(name)
            if known is None:
                self._findings.add(Kind.STATE_WRONG, name, "it has a state, and no fact says how it came by it.")
            elif known.digest != digest:
                self._findings.add(
                    Kind.STATE_WRONG,
                    name,
                    f"its row is not what its last fact says: it was changed past the journal (now {digest}).",
                )
        kinds = {_kind(name) for name in seen}
        for name, subject in walk.subjects.items():
            if subject.digest is not None and name not in seen and _kind(name) in kinds:
                self._findings.add(Kind.STATE_WRONG, name, "its facts describe a state, and its row was removed.")


def _kind(name: str) -> str:
    found = _KIND_OF_SUBJECT.match(name)
    return found.group() if found is not None else name
