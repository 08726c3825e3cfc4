"""The proof that a fact is in the signed journal, for people and for programs."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.changes import Change
from airboss.faces.reads.facts import facts_shown
from airboss.kernel.errors import NotFound, Refused
from airboss.records.audit import TreeHead, inclusion_proof, latest, open_note


def proof_view(house: House, connection: Connection, change: Change, position: int) -> dict[str, Any]:
    """Return one fact of a change, the path from its leaf to the root, and the checkpoint that signs that root.

    Six queries, one of which reads every leaf. `path` is base64, as in a transparency log. Raises NotFound, or Refused
    while no checkpoint covers the fact.
    """
    found = next((fact for fact in house.journal.of(connection, change.id) if fact.position == position), None)
    if found is None:
        raise NotFound(f"change {change.id} has no fact at position {position}", code="fact-not-found")
    signed = latest(connection)
    if signed is None or signed.size <= position:
        raise Refused(
            f"the fact at position {position} is not under a checkpoint yet",
            code="not-yet-proven",
            way_out="try again in a second",
        )
    path = inclusion_proof(connection, position, signed.size)
    head = TreeHead.read(open_note(signed.note, [house.signer.key]).text)
    return {
        "fact": facts_shown(house, connection, [found])[0],
        "position": position,
        "size": signed.size,
        "root": head.root.hex(),
        "origin": head.origin,
        "path": [base64.b64encode(step).decode() for step in path],
        "checkpoint": signed.note.decode(),
        "key": house.signer.vkey,
    }
