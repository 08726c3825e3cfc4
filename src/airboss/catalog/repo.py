"""The catalog's table: every revision of every document; the one in force is `current`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Boolean, Column, Connection, Index, Integer, LargeBinary, Table, Text

from airboss.catalog.model import Stored
from airboss.kernel.canonical import digest, digest_bytes
from airboss.records.store import Instant, Tx, metadata

document = Table(
    "document",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("current", Boolean, nullable=False),
    Column("digest", Text, nullable=False),
    Column("bytes", LargeBinary, nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("applied_by", Text, nullable=False),
    Index("ix_document_current", "kind", "current", "name"),
)


def subject(kind: str, name: str) -> str:
    """Return what facts about a document are about: `service/checkout`."""
    return f"{kind.lower()}/{name}"


def row_digest(stored: Stored) -> str:
    """Return the digest of a row in force, as the last fact about it carries it."""
    return digest(
        {
            "kind": stored.kind,
            "name": stored.name,
            "revision": stored.revision,
            "digest": stored.digest,
            "bytes": digest_bytes(stored.data),
        }
    )


def find(connection: Connection, kind: str, name: str) -> Stored | None:
    """Return the document in force. One query."""
    return next(iter(found(connection, [kind], [name])), None)


def found(connection: Connection, kinds: Collection[str], names: Collection[str] | None = None) -> list[Stored]:
    """Return the documents in force of some kinds, by kind and name. One query."""
    query = sa.select(document).where(document.c.current, document.c.kind.in_(kinds))
    if names is not None:
        query = query.where(document.c.name.in_(names))
    return [_stored(row) for row in connection.execute(query.order_by(document.c.kind, document.c.name))]


def revision(connection: Connection, kind: str, name: str, number: int) -> Stored | None:
    """Return a document as it was at a revision. One query."""
    row = connection.execute(
        sa.select(document).where(document.c.kind == kind, document.c.name == name, document.c.revision == number)
    ).one_or_none()
    return None if row is None else _stored(row)


def revisions(connection: Connection, kind: str, name: str) -> list[Stored]:
    """Return a document as it was at each revision, the oldest first. One query."""
    query = sa.select(document).where(document.c.kind == kind, document.c.name == name)
    return [_stored(row) for row in connection.execute(query.order_by(document.c.revision))]


def known(connection: Connection, kinds: Collection[str] | None = None) -> set[tuple[str, str]]:
    """Return (kind, name) of every document in force. One query."""
    query = sa.select(document.c.kind, document.c.name).where(document.c.current)
    if kinds is not None:
        query = query.where(document.c.kind.in_(kinds))
    return {(row.kind, row.name) for row in connection.execute(query)}


def save(tx: Tx, stored: Stored) -> None:
    """Put a revision in force in place of the one before; that one stays to be looked up."""
    tx.execute(
        sa.update(document)
        .where(document.c.kind == stored.kind, document.c.name == stored.name, document.c.current)
        .values(current=False)
    )
    tx.execute(
        sa.insert(document).values(
            kind=stored.kind,
            name=stored.name,
            revision=stored.revision,
            current=True,
            digest=stored.digest,
            bytes=stored.data,
            applied_at=stored.applied_at,
            applied_by=stored.applied_by,
        )
    )


def row_digests(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield (subject, digest of its row) for the verifier of the record."""
    query = sa.select(document).where(document.c.current).order_by(document.c.kind, document.c.name)
    for row in connection.execute(query):
        yield subject(row.kind, row.name), row_digest(_stored(row))


def _stored(row: Any) -> Stored:
    return Stored(
        kind=row.kind,
        name=row.name,
        revision=row.revision,
        digest=row.digest,
        data=row.bytes,
        value=json.loads(row.bytes),
        applied_at=row.applied_at,
        applied_by=row.applied_by,
    )
