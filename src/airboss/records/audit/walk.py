"""Walks over every fact once and notes what is not as it was recorded. Pure: rows in, findings out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from airboss.kernel.clock import parse_rfc3339, to_micros
from airboss.records.audit.model import Finding, Kind
from airboss.records.audit.sources import Row, SubjectRow
from airboss.records.journal import FORMAT, Frontier

MOST_FINDINGS: Final = 1_000
_TEXT: Final = re.compile(rb'"(blob:sha256:[0-9a-f]{64})"')
_DIGEST_LENGTH: Final = len(',"state_digest":"sha256:"') + 64
_Said: TypeAlias = tuple[str, int, str | None, int | None]
"""Subject, its number, the state digest, and after how many facts it closes."""
_sha256: Final = hashlib.sha256


class Findings:
    """What was found, up to a limit; how many more there were is counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.left_off = 0

    def add(self, kind: Kind, place: str, sentence: str) -> None:
        if len(self.kept) < MOST_FINDINGS:
            self.kept.append(Finding(kind=kind, place=place, sentence=sentence))
        else:
            self.left_off += 1


class _Subject:
    """What has been seen of one subject."""

    __slots__ = ("closed", "digest", "last", "missing")

    def __init__(self) -> None:
        self.last = 0
        self.closed = False
        self.digest: str | None = None
        self.missing: set[int] | None = None


class Walk:
    """The state of one verification.

    `sizes` are the tree sizes whose roots are wanted, kept in `roots` as they are passed.
    """

    def __init__(self, findings: Findings, *, log_id: str | None, sizes: Iterable[int] = ()) -> None:
        self._findings = findings
        self._log_id = log_id
        self._sizes = sorted(set(sizes), reverse=True)
        self._leaves: list[bytes] = []
        self.tree = Frontier()
        self.roots: dict[int, bytes] = {}
        self.next = 0
        self.subjects: dict[str, _Subject] = {}
        self.texts: set[str] = set()
        self._second, self._micros = "", 0

    # -- rows ----------------------------------------------------------------------------------------------------

    def numbered(self, rows: Sequence[Row]) -> None:
        """Take the next numbered facts, in the order they lie."""
        leaves: list[bytes] = []
        for row in rows:
            position, leaf, fact_id, *_, stored = row
            if position != self.next:
                self._misplaced(position)  # type: ignore[arg-type]  # a numbered row has a position
            self.next = max(self.next, position + 1)  # type: ignore[operator]
            if stored is None:
                self._findings.add(
                    Kind.FACT_DROPPED,
                    f"position {position}",
                    f"the entry is there, but its fact {fact_id} was removed from the journal.",
                )
                leaves.append(leaf or b"")
                continue
            stored = as_bytes(stored)
            computed = _sha256(b"\x00" + stored).digest()
            if leaf is not None and leaf != computed:
                self._findings.add(
                    Kind.ENTRY_ALTERED,
                    f"position {position}",
                    f"the bytes of fact {fact_id} are not those that were entered: the fact or its leaf was changed later.",
                )
            leaves.append(computed)
            self._fact(row, stored, position)
        self._grow(leaves)

    def unnumbered(self, rows: Sequence[Row], *, waiting: bool) -> None:
        """Take facts without a position: those that wait for one, or those that lost it or never had it."""
        for row in rows:
            place, stored = f"fact {row[2]}", row[7]
            if stored is None:
                self._findings.add(Kind.FACT_DROPPED, place, "it waits for its position, but its bytes were removed.")
                continue
            stored = as_bytes(stored)
            if not waiting:
                self._findings.add(
                    Kind.FACT_UNNUMBERED,
                    place,
                    f"the fact {row[4]} of {row[3]} has no entry and does not wait for one: "
                    "its entry was dropped, or the fact was slipped in.",
                )
            elif row[1] != _sha256(b"\x00" + stored).digest():
                self._findings.add(
                    Kind.ENTRY_ALTERED, place, "its bytes were changed while it waited for its position."
                )
            self._fact(row, stored, row[2] or "", in_order=waiting)

    def _misplaced(self, position: int) -> None:
        if position > self.next:
            gone = f"position {self.next}" if position == self.next + 1 else f"positions {self.next} to {position - 1}"
            self._findings.add(
                Kind.ENTRY_DROPPED, gone, "what was entered there is gone; every later entry still counts it."
            )
        else:
            self._findings.add(
                Kind.ENTRY_REORDERED,
                f"position {position}",
                f"it comes after position {self.next - 1}: lines were moved or repeated.",
            )

    # -- one fact ------------------------------------------------------------------------------------------------

    def _fact(self, row: Row, stored: bytes, where: int | str | None, *, in_order: bool = True) -> None:
        said = self._glance(row, stored)
        if said is None:
            place = f"position {where}" if isinstance(where, int) else f"fact {where}"
            said = self._study(row, stored, place)
            if said is None:
                return
        if b"blob:sha256:" in stored:
            self.texts.update(found.decode() for found in _TEXT.findall(stored))
        self._in_subject(*said, where, in_order=in_order)

    def _glance(self, row: Row, stored: bytes) -> _Said | None:
        """Return what a fact says of its subject if its bytes end in exactly what its columns say, else None.

        RFC 8785 sorts keys, so everything but the actor, the time, the body and `closes_after` stands at the end; a body
        cannot imitate that, for its quotes are escaped. It saves parsing a million facts; whatever is not plainly right
        is studied.
        """
        _, _, fact_id, subject, seq, kind, at, _ = row
        tail = f',"subject":"{subject}","subject_seq":{seq},"type":"{kind}"}}'.encode()
        if at is None or not stored.endswith(tail):
            return None
        end = len(stored) - len(tail)
        digest = None
        if stored[end - _DIGEST_LENGTH : end - _DIGEST_LENGTH + 17] == b',"state_digest":"':
            digest = stored[end - _DIGEST_LENGTH + 17 : end - 1].decode()
            end -= _DIGEST_LENGTH
        if not stored.endswith(f',"fact_id":"{fact_id}","format":{FORMAT},"log_id":"{self._log_id}"'.encode(), 0, end):
            return None
        time = stored.find(b'","at":"') + 8
        if not stored.startswith(b'{"actor_id":"') or at != self._time(stored[time : time + 27].decode("latin-1")):
            return None
        if b'"closes_after":' in stored:
            return None
        return subject, seq, digest, None  # type: ignore[return-value]  # a labelled row has them

    def _study(self, row: Row, stored: bytes, place: str) -> _Said | None:
        value = _read(stored)
        if value is None or value.get("format") != FORMAT:
            self._findings.add(
                Kind.FACT_UNREADABLE, place, "its bytes are not a fact this version reads; a newer version may."
            )
            return None
        if value.get("log_id") != self._log_id:
            self._findings.add(
                Kind.FACT_OF_ANOTHER_LOG, place, f"it was recorded in {value.get('log_id')}, not in {self._log_id}."
            )
        _, _, fact_id, subject, seq, kind, at, _ = row
        if at is not None and (fact_id, subject, seq, kind, at) != (
            value.get("fact_id"),
            value["subject"],
            value["subject_seq"],
            value.get("type"),
            self._time(str(value.get("at"))),
        ):
            self._findings.add(
                Kind.FACT_MISLABELLED,
                place,
                f"the columns beside fact {value.get('fact_id')} were changed: they say other than its bytes.",
            )
        return value["subject"], value["subject_seq"], value.get("state_digest"), value.get("closes_after")

    def _in_subject(
        self, name: str, number: int, digest: str | None, closes: int | None, where: int | str | None, *, in_order: bool
    ) -> None:
        seen = self.subjects.get(name)
        if seen is None:
            seen = self.subjects[name] = _Subject()
        if number == seen.last + 1 and not seen.closed:
            seen.last = number
        elif not self._out_of_line(seen, name, number, where, in_order=in_order):
            return
        if digest is not None:
            seen.digest = digest
        if closes is not None:
            seen.closed = True
            if closes != number:
                self._findings.add(Kind.SUBJECT_SHORT, name, f"it was closed after {closes} facts, not {number}.")

    def _out_of_line(self, seen: _Subject, name: str, number: int, where: int | str | None, *, in_order: bool) -> bool:
        """Note what a fact out of its turn means; return whether it is the newest of its subject."""
        place = f"position {where}" if isinstance(where, int) else f"fact {where}"
        if number > seen.last:
            if seen.closed:
                self._findings.add(
                    Kind.SUBJECT_CONTINUED, place, f"{name} was closed before this fact {number} of it was added."
                )
            if number > seen.last + 1:
                seen.missing = (seen.missing or set()) | set(range(seen.last + 1, number))
            seen.last = number
            return True
        if seen.missing and number in seen.missing:
            seen.missing.discard(number)
            if in_order:
                self._findings.add(
                    Kind.ENTRY_REORDERED,
                    place,
                    f"fact {number} of {name} lies after fact {seen.last}: entries were exchanged.",
                )
        else:
            self._findings.add(Kind.ENTRY_ADDED, place, f"there is a second fact {number} of {name}.")
        return False

    def _time(self, text: str) -> int:
        """Microseconds of an RFC 3339 text; facts come in order of time, so the second is mostly the one before's."""
        second = text[:19]
        if second != self._second:
            try:
                self._micros = to_micros(parse_rfc3339(second + "Z"))
            except ValueError:
                return -1
            self._second = second
        fraction = text[20:26]
        return self._micros + int(fraction) if fraction.isdigit() and len(text) == 27 else -1

    # -- the tree ------------------------------------------------------------------------------------------------

    def _grow(self, leaves: list[bytes]) -> None:
        start = 0
        while self._sizes and self._sizes[-1] <= self.tree.size + len(leaves) - start:
            size = self._sizes.pop()
            stop = start + size - self.tree.size
            self.tree = self.tree.extended(leaves[start:stop])
            self.roots[size] = self.tree.root()
            start = stop
        self.tree = self.tree.extended(leaves[start:])

    # -- the end -------------------------------------------------------------------------------------------------

    def end(self, known: dict[str, SubjectRow] | None) -> None:
        """Compare what was seen of every subject with what the store keeps of it."""
        for name, seen in self.subjects.items():
            if seen.missing:
                numbers = ", ".join(str(number) for number in sorted(seen.missing)[:5])
                self._findings.add(Kind.SUBJECT_GAP, name, f"of its {seen.last} facts number {numbers} is gone.")
        for name, row in ({} if known is None else known).items():
            self._against_row(name, row, self.subjects.get(name))
        if known is not None:
            for name in self.subjects.keys() - known.keys():
                self._findings.add(Kind.SUBJECT_WRONG, name, "there are facts about it, but its own row was removed.")

    def _against_row(self, name: str, row: SubjectRow, seen: _Subject | None) -> None:
        last = 0 if seen is None else seen.last
        if row.seq > last:
            self._findings.add(
                Kind.SUBJECT_SHORT,
                name,
                f"{row.seq} facts were recorded about it, and only {last} are left: its last ones were cut off.",
            )
        elif row.seq < last:
            self._findings.add(Kind.SUBJECT_WRONG, name, f"its row counts {row.seq} facts, and there are {last}.")
        elif seen is not None and row.closed != seen.closed:
            self._findings.add(
                Kind.SUBJECT_WRONG, name, f"its row says {'closed' if row.closed else 'open'}, its facts say otherwise."
            )
        elif seen is not None and row.state_digest != seen.digest:
            self._findings.add(Kind.STATE_WRONG, name, "the digest in its row is not the one its last fact gave.")


def as_bytes(value: object) -> bytes:
    """Return what lies in a column of bytes. SQLite keeps whatever type somebody put there; that is a finding, no crash."""
    return value if isinstance(value, bytes) else str(value).encode()


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    whole = isinstance(value, dict) and isinstance(value.get("subject"), str) and type(value.get("subject_seq")) is int
    return value if whole else None
