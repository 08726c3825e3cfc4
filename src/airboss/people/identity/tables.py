"""The tables of identity. Of a secret only its SHA-256 is here; of a password only its scrypt."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from airboss.records.store import Instant, metadata

person = Table(
    "person",
    metadata,
    Column("id", Text, primary_key=True),
    Column("handle", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    # A JSON array of names: the teams whose things the role is good for; empty: all of them.
    Column("teams", Text, nullable=False, server_default="[]"),
    Column("name_ref", Text),
    Column("email_ref", Text),
    Column("password", Text),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
)

guesses = Table(
    "sign_in_guesses",
    metadata,
    # A person's ID, or one of 256 shared rows for names nobody has: what strangers type cannot fill the table.
    Column("key", Text, primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("next_at", Instant, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("person", Text, nullable=False),
    Column("way", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index("ix_session_person", "person"),
)

link = Table(
    "sign_in_link",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("purpose", Text, nullable=False),
    Column("person", Text),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("withdrawn_at", Instant),
    # Whoever holds a spent link could press it for ever: only its first refusal is recorded.
    Column("refused_at", Instant),
)

token = Table(
    "api_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("person", Text),
    Column("scopes", LargeBinary, nullable=False),
    Column("service", Text),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("used_at", Instant),
    Index("ix_api_token_person", "person"),
)
