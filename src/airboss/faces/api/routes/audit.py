"""The record: checkpoints, proofs, export, verification."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, StreamingResponse

from airboss.bootstrap import state_digests
from airboss.faces.api.callers import Caller, Guarded, HouseHere
from airboss.faces.api.pages import PartQuery, bad_cursor, cursor_of, key_of
from airboss.faces.reads import audit_view, facts_shown
from airboss.kernel.errors import NotFound
from airboss.people.access import Action, require
from airboss.records import audit as record
from airboss.records.audit import Checkpoint, export, latest

router = APIRouter(route_class=Guarded, prefix="/audit", tags=["audit"])

IN_MEMORY: Final = 8 * 1024 * 1024
PIECE: Final = 256 * 1024
Position = Annotated[int, Query(ge=0, le=2**62)]


@router.get("")
def show_record(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Say how far the record goes, what is signed and by which key, and the newest facts."""
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        return audit_view(house, connection)


@router.get("/checkpoint", response_class=PlainTextResponse)
def checkpoint(house: HouseHere, caller: Caller) -> PlainTextResponse:
    """Give the latest signed checkpoint: keep it elsewhere, and a cut-off tail can be found."""
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        found = latest(connection)
    if found is None:
        raise NotFound("nothing is signed yet", code="no-checkpoint", way_out="try again in a second")
    return PlainTextResponse(found.note)


@router.get("/key", response_class=PlainTextResponse)
def key(house: HouseHere, caller: Caller) -> PlainTextResponse:
    """Give the public key of the record: note it when the server is set up."""
    require(caller, Action.AUDIT_READ)
    return PlainTextResponse(f"{house.signer.vkey}\n")


@router.get("/entries")
def entries(
    house: HouseHere,
    caller: Caller,
    part: PartQuery,
    after: Annotated[int, Query(ge=-1, le=2**62, description="begin after this position")] = -1,
) -> dict[str, Any]:
    """List the facts of the whole journal in order."""
    require(caller, Action.AUDIT_READ)
    if part.cursor is not None:
        after = max(after, _position_in(part.cursor))
    with house.store.read() as connection:
        found = house.journal.read(connection, after=after, limit=part.limit + 1)
        items = facts_shown(house, connection, found[: part.limit])
        size = house.journal.size(connection)
    more = cursor_of((items[-1]["position"],)) if len(found) > part.limit else None
    return {"items": items, "next_cursor": more, "size": size}


@router.get("/proof/{position}")
def proof(house: HouseHere, caller: Caller, position: int, size: Position | None = None) -> dict[str, Any]:
    """Prove that an entry is in the tree (RFC 6962); `size` is that of the last checkpoint unless given.

    The answer holds the entry as it was recorded; `airboss audit verify FILE` checks it without this server.
    """
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        signed = latest(connection)
        of = size if size is not None else _size(signed)
        return record.inclusion(connection, position, of, signed)


@router.get("/consistency")
def consistency(
    house: HouseHere,
    caller: Caller,
    old: Annotated[int, Query(alias="from", ge=0, le=2**62)],
    to: Position | None = None,
) -> dict[str, Any]:
    """Prove that an earlier tree is the beginning of a later one (RFC 6962)."""
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        signed = latest(connection)
        return record.consistency(connection, old, to if to is not None else _size(signed), signed)


@router.get("/export")
def export_journal(house: HouseHere, caller: Caller) -> StreamingResponse:
    """Take the whole journal away as JSON lines; `airboss audit verify FILE` checks it without this server."""
    require(caller, Action.AUDIT_READ)
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed when it was sent
    try:
        with house.store.read() as connection:
            export(connection, file)  # type: ignore[arg-type]  # a file but for its name in typeshed
    except BaseException:
        file.close()
        raise
    file.seek(0)

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE):
                yield piece

    headers = {"Content-Disposition": 'attachment; filename="journal.jsonl"'}
    return StreamingResponse(pieces(), media_type="application/jsonl", headers=headers)


@router.post("/verify")
def verify_journal(house: HouseHere, caller: Caller) -> dict[str, Any]:
    """Verify the whole record as this server has it: entries, order, checkpoints, state. Whoever doubts the server exports."""
    require(caller, Action.AUDIT_READ)
    with house.store.read() as connection:
        report = record.verify(connection, public_key=house.signer.vkey, state_digests=state_digests())
    return dict(report.as_json())


def _position_in(cursor: str) -> int:
    (position, *more) = key_of(cursor)
    if more or not isinstance(position, int) or not -1 <= position <= 2**62:
        raise bad_cursor()
    return position


def _size(signed: Checkpoint | None) -> int:
    return 0 if signed is None else signed.size
