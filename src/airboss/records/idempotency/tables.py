"""The table of used keys. Rows live for a day; nothing in them is a fact."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text

from airboss.records.store import Instant, metadata

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key_digest", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    Column("at", Instant, nullable=False),
    # Empty until the answer was given; it stays empty where a server died in between, and where a secret was shown.
    Column("status", Integer),
    Column("headers", Text),
    Column("body", LargeBinary),
    Index("ix_idempotency_at", "at"),
)
