"""The journal's tables. `fact` and `entry` are insert-only by trigger; nothing is ever written anew."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from airboss.records.store import Instant, insert_only, metadata

_Counter = BigInteger().with_variant(Integer, "sqlite")

log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("log_id", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

fact = insert_only(
    Table(
        "fact",
        metadata,
        Column("fact_id", Text, primary_key=True),
        Column("subject", Text, nullable=False),
        Column("subject_seq", BigInteger, nullable=False),
        Column("type", Text, nullable=False),
        Column("at", Instant, nullable=False),
        Column("stored", LargeBinary, nullable=False),
        UniqueConstraint("subject", "subject_seq"),
        Index("ix_fact_type_at", "type", "at"),
    )
)

pending = Table(
    "pending",
    metadata,
    Column("number", _Counter, primary_key=True, autoincrement=True),
    Column("fact_id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
)

entry = insert_only(
    Table(
        "entry",
        metadata,
        Column("position", _Counter, primary_key=True, autoincrement=False),
        Column("fact_id", Text, nullable=False, unique=True),
        Column("leaf", LargeBinary, nullable=False),
    )
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)

blob = Table(
    "blob",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("salt", LargeBinary),
    Column("bytes", LargeBinary),
    Column("erased_at", Instant),
)

cursor = Table(
    "cursor",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("number", _Counter, primary_key=True, autoincrement=True),
    Column("size", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("note", LargeBinary, nullable=False),
    Index("ix_checkpoint_size", "size"),
)
