"""Checkpoints: the tree's size and root, signed, so that history cannot be changed behind them.

The note text has the three lines of C2SP tlog-checkpoint: origin, size, base64 root.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.kernel.clock import Clock
from airboss.kernel.errors import Refused
from airboss.records.audit.notes import BadNote, Signer, split_note, split_notes
from airboss.records.journal import Frontier, checkpoint, entry, head, log
from airboss.records.store import Store, Tx

WHEN_NEW: Final = timedelta(milliseconds=800)
"""How soon after a checkpoint the next may follow; asked twice a second, an entry is signed for within one second."""
WHEN_IDLE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """What a checkpoint's text says."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def read(cls, text: str) -> TreeHead:
        """Return the tree head of a note's text. Raises BadNote."""
        lines = text.split("\n")
        try:
            origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
        except (IndexError, ValueError, binascii.Error) as fault:
            raise BadNote("its text is not origin, size and root") from fault
        if not origin or str(size) != lines[1] or size < 0 or len(root) != 32 or "" in lines[3:-1]:
            raise BadNote("its text is not origin, size and root")
        return cls(origin=origin, size=size, root=root)

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed tree head as it is kept."""

    number: int
    at: datetime
    size: int
    note: bytes


def origin(log_id: str) -> str:
    """Return the name a log signs under."""
    return f"airboss/{log_id}"


class Checkpoints:
    """Signs the tree as it grows. One for each server; servers on one database share the work."""

    def __init__(self, store: Store, signer: Signer, *, clock: Clock, file: Path | None = None) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._file = file
        self._appended: int | None = None
        self._signed: Frontier | None = None

    def write_due(self) -> Checkpoint | None:
        """Sign a checkpoint if one is due, and return it; ask twice a second.

        Due: 0.8 s after the last when there are new entries, hourly when there are none. Only what is committed is
        signed. Raises Refused (`journal-rewritten`) when the journal no longer continues what was signed before, and
        Unavailable.
        """
        return self._write(always=False)

    def write_now(self) -> Checkpoint | None:
        """Sign what there is now, and return it, or None when the last checkpoint says it already. Raises alike."""
        return self._write(always=True)

    def _write(self, *, always: bool) -> Checkpoint | None:
        now = self._clock.now()
        with self._store.read() as connection:
            last = latest(connection)
            self._catch_up(connection)
            row = connection.execute(sa.select(head.c.size, head.c.frontier)).one_or_none()
            if row is None:
                return None
            try:
                grown = Frontier.read(row.size, row.frontier)
            except ValueError as fault:
                raise _rewritten(f"its head is no tree ({fault})") from fault
            self._refuse_other_past(connection, grown, last)
            if not _is_due(row.size, last, now, always=always):
                return None
        tree = TreeHead(origin=self._signer.key.name, size=grown.size, root=grown.root())
        with self._store.write() as tx:
            written = self._keep(tx, tree, last, now)
        self._signed = grown
        if written is not None:
            self._append(written)
        return written

    def _keep(self, tx: Tx, tree: TreeHead, seen: Checkpoint | None, now: datetime) -> Checkpoint | None:
        # The log's one row is the lock: servers on one database do not sign the same tree twice.
        tx.execute(sa.select(log.c.id).with_for_update())
        newest = latest(tx.connection)
        if (newest.number if newest else None) != (seen.number if seen else None):
            return None
        note = self._signer.sign(str(tree), at=now)
        number: int = tx.execute(
            sa.insert(checkpoint).values(size=tree.size, at=now, note=note).returning(checkpoint.c.number)
        ).scalar_one()
        return Checkpoint(number=number, at=now, size=tree.size, note=note)

    def _refuse_other_past(self, connection: Connection, grown: Frontier, last: Checkpoint | None) -> None:
        """A log must never sign a tree that does not continue the one it signed before."""
        if last is not None:
            signed = TreeHead.read(split_note(last.note)[0])
            if grown.size < signed.size or (grown.size == signed.size and grown.root() != signed.root):
                raise _rewritten(f"{signed.size} entries were signed for, and now there are {grown.size} others")
        before = self._signed
        if before is None or before.size >= grown.size:
            return
        leaves = connection.execute(
            sa.select(entry.c.leaf)
            .where(entry.c.position >= before.size, entry.c.position < grown.size)
            .order_by(entry.c.position)
        ).scalars()
        if before.extended(list(leaves)) != grown:
            raise _rewritten(f"the entries from position {before.size} on do not give the tree in its head")

    # -- the file ------------------------------------------------------------------------------------------------

    def _catch_up(self, connection: Connection) -> None:
        """Bring into the file what was kept and not appended: by another server, or before a sudden end."""
        if self._file is None:
            return
        if self._appended is None:
            self._appended = self._last_in_file(connection)
        for missing in since(connection, self._appended):
            self._append(missing)

    def _last_in_file(self, connection: Connection) -> int:
        """Return the number of the last checkpoint in the file, 0 for none. A note torn by a power cut is cut away."""
        if self._file is None or not self._file.exists():
            return 0
        data = self._file.read_bytes()
        notes = split_notes(data)
        while notes:
            number = connection.execute(
                sa.select(checkpoint.c.number).where(checkpoint.c.note == notes[-1]).limit(1)
            ).scalar_one_or_none()
            if number is not None:
                return int(number)
            with contextlib.suppress(BadNote):
                told = TreeHead.read(split_note(notes[-1])[0])
                raise _rewritten(
                    f"{self._file} ends with a checkpoint of {told.size} entries that the database does not have"
                )
            data = data[: data.rindex(notes.pop())]
            os.truncate(self._file, len(data))
        return 0

    def _append(self, written: Checkpoint) -> None:
        if self._file is None or (self._appended is not None and written.number <= self._appended):
            return
        with self._file.open("ab") as file:
            file.write(written.note + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._appended = written.number


def latest(connection: Connection) -> Checkpoint | None:
    """Return the last checkpoint, or None. One query."""
    row = connection.execute(sa.select(checkpoint).order_by(checkpoint.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else Checkpoint(number=row.number, at=row.at, size=row.size, note=row.note)


def since(connection: Connection, number: int) -> list[Checkpoint]:
    """Return the checkpoints after a number, in order. One query."""
    rows = connection.execute(sa.select(checkpoint).where(checkpoint.c.number > number).order_by(checkpoint.c.number))
    return [Checkpoint(number=row.number, at=row.at, size=row.size, note=row.note) for row in rows]


def _is_due(size: int, last: Checkpoint | None, now: datetime, *, always: bool) -> bool:
    if last is None:
        return size > 0
    if size != last.size:
        return always or now - last.at >= WHEN_NEW
    return now - last.at >= WHEN_IDLE


def _rewritten(what: str) -> Refused:
    return Refused(
        f"nothing is signed: {what}",
        code="journal-rewritten",
        way_out="a backup was restored, or someone changed the journal: airboss audit verify --checkpoint FILE says where",
    )
