"""Tables of policy: every revision of every pack, the bundles that were in force, and the decisions with their input."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, Text

from airboss.records.store import Instant, metadata

policy_pack = Table(
    "policy_pack",
    metadata,
    Column("name", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("active", Boolean, nullable=False),
    Column("digest", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("bytes", LargeBinary, nullable=False),
    Column("applied_at", Instant, nullable=False),
    Column("applied_by", Text, nullable=False),
    Index("ix_policy_pack_active", "active", "name"),
    Index("ix_policy_pack_digest", "digest"),
)

policy_bundle = Table(
    "policy_bundle",
    metadata,
    Column("digest", Text, primary_key=True),
    # Canonical JSON, the sorted [[name, digest], …] the bundle's digest is over.
    Column("packs", LargeBinary, nullable=False),
    Column("since", Instant, nullable=False),
)

policy_decision = Table(
    "policy_decision",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("point", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("at", Instant, nullable=False),
    # The masked input and the decision, canonical JSON; the journal's fact carries the digest of both.
    Column("input", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_policy_decision_subject", "subject", "at"),
)
