"""Which key signs a log: the one that signed it before, or one whose coming was recorded.

A server that finds its key gone must not make another in silence: whoever verifies with the key they noted would be told
of a forgery, or worse, nobody would. So the change of a key is an act with a fact of its own.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.kernel.canonical import Json
from airboss.kernel.errors import Refused
from airboss.kernel.ids import Chance
from airboss.records.audit.checkpoints import latest, origin
from airboss.records.audit.notes import BadNote, Signer, open_note
from airboss.records.journal import Fact, Journal, fact, head
from airboss.records.store import Store

CHANGED: Final = "log.key_changed"
_WAY_OUT: Final = (
    "put back journal.key from your backup, or from another server of this database; where it is lost, record a change of "
    "key: airboss audit new-key"
)


def signer_of(store: Store, log_id: str, path: Path, *, chance: Chance) -> Signer:
    """Return the signer of a log, with a key made only while nothing is recorded yet.

    Raises Refused: `key-missing`, or `key-not-known` for a key that never signed this log and was not announced.
    """
    with store.read() as connection:
        size = connection.execute(sa.select(head.c.size)).scalar_one_or_none() or 0
        if not path.exists() and size:
            raise Refused(
                f"the record has {size:,} entries signed with a key, and {path} is not there",
                code="key-missing",
                way_out=_WAY_OUT,
            )
        signer = Signer.load(path, name=origin(log_id), chance=chance)
        if not _is_known(connection, log_id, signer):
            raise Refused(
                f"{path} holds another key than the one this record is signed with",
                code="key-not-known",
                way_out=_WAY_OUT,
            )
    return signer


def change_key(store: Store, journal: Journal, path: Path, *, reason: str, actor: str, chance: Chance) -> Signer:
    """Make a new key, record that it is the log's from now on, and put it in place; the old file stays beside it.

    Killed anywhere it may be called again: the key is on disk before it is recorded, and recorded before it is used.
    """
    log_id = journal.open()
    coming = path.with_suffix(".key.new")
    with store.read() as connection:
        announced = _announced(connection, log_id)
    signer = Signer.load(coming, name=origin(log_id), chance=chance)
    if announced != signer.vkey:
        with store.write() as tx:
            body: dict[str, Json] = {
                "public_key": signer.vkey,
                "replaces": announced or _public(path),
                "reason": journal.text(tx, reason),
            }
            journal.record(tx, Fact(subject=log_id, type="log.key_changed", actor=actor, body=body))
    if path.exists():
        path.replace(path.with_suffix(f".key.until-{signer.key.short}"))
    coming.replace(path)
    coming.with_suffix(".pub").unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return Signer.load(path, name=origin(log_id), chance=chance)


def _is_known(connection: Connection, log_id: str, signer: Signer) -> bool:
    announced = _announced(connection, log_id)
    if announced is not None:
        return announced == signer.vkey
    signed = latest(connection)
    if signed is None:
        return True
    try:
        open_note(signed.note, [signer.key])
    except BadNote:
        return False
    return True


def _announced(connection: Connection, log_id: str) -> str | None:
    """Return the public key of the last recorded change of key, None where there never was one. One query."""
    stored = connection.execute(
        sa.select(fact.c.stored)
        .where(fact.c.subject == log_id, fact.c.type == CHANGED)
        .order_by(fact.c.subject_seq.desc())
        .limit(1)
    ).scalar_one_or_none()
    return None if stored is None else str(json.loads(stored)["body"]["public_key"])


def _public(path: Path) -> str | None:
    """Return the public key that lies beside a key file, where it is still there."""
    beside = path.with_suffix(".pub")
    return beside.read_text().strip() if beside.exists() else None
