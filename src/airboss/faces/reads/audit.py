"""The record as a whole: how far it goes, what is signed, by which key."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.faces.reads.facts import facts_shown
from airboss.kernel.clock import rfc3339
from airboss.records.audit import TreeHead, latest, open_note

NEWEST: Final = 20


def audit_view(house: House, connection: Connection) -> dict[str, Any]:
    """Return the head of the journal, its last checkpoint, its key, and the newest facts. Some six queries."""
    size = house.journal.size(connection)
    signed = latest(connection)
    checkpoint = None
    if signed is not None:
        head = TreeHead.read(open_note(signed.note, [house.signer.key]).text)
        checkpoint = {
            "size": head.size,
            "root": head.root.hex(),
            "at": rfc3339(signed.at),
            "note": signed.note.decode(),
        }
    newest = house.journal.read(connection, after=size - 1 - NEWEST, limit=NEWEST)
    return {
        "size": size,
        "unsigned": size - (0 if signed is None else signed.size),
        "origin": house.signer.key.name,
        "key": house.signer.vkey,
        "fingerprint": house.signer.key.short,
        "checkpoint": checkpoint,
        "newest": list(reversed(facts_shown(house, connection, newest))),
    }
