"""SQL of policy."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from airboss.decide.policy.model import Bundle, Decision, Tier
from airboss.decide.policy.tables import policy_bundle, policy_decision, policy_pack
from airboss.kernel.canonical import Json, canonical, digest
from airboss.records.store import Tx, upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPack:
    """One revision of a pack as it lies in the database."""

    name: str
    revision: int
    active: bool
    digest: str
    source: str
    data: bytes
    applied_at: datetime
    applied_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDecision:
    """A recorded decision: `body` is `Decision.as_json()`, `input` the masked input bytes."""

    id: str
    subject: str
    point: str
    outcome: str
    bundle: str
    at: datetime
    input: bytes
    body: dict[str, Any]


def packs(connection: Connection, *, active: bool | None = True, name: str | None = None) -> list[StoredPack]:
    """Return packs by name and revision: those in force, or all. One query."""
    query = sa.select(policy_pack).order_by(policy_pack.c.name, policy_pack.c.revision)
    if active is not None:
        query = query.where(policy_pack.c.active.is_(active))
    if name is not None:
        query = query.where(policy_pack.c.name == name)
    return [_pack(row) for row in connection.execute(query)]


def packs_by_digest(connection: Connection, digests: Iterable[str]) -> dict[tuple[str, str], StoredPack]:
    """Return revisions of packs by (name, digest). One query."""
    rows = connection.execute(sa.select(policy_pack).where(policy_pack.c.digest.in_(list(digests))))
    return {(row.name, row.digest): _pack(row) for row in rows}


def _pack(row: Any) -> StoredPack:
    return StoredPack(
        name=row.name,
        revision=row.revision,
        active=row.active,
        digest=row.digest,
        source=row.source,
        data=row.bytes,
        applied_at=row.applied_at,
        applied_by=row.applied_by,
    )


def row_digest(stored: StoredPack) -> str:
    """Return the digest of a pack's row, as the last fact about it carries it."""
    return digest({"name": stored.name, "revision": stored.revision, "active": stored.active, "digest": stored.digest})


def pack_digests(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield (subject, digest of the newest revision's row) of every pack, for the verifier. One query."""
    newest = {stored.name: stored for stored in packs(connection, active=None)}
    for name, stored in newest.items():
        yield f"policy/{name}", row_digest(stored)


def save_pack(tx: Tx, stored: StoredPack) -> None:
    """Write a revision; if it is in force, the others of its name are no longer."""
    tx.execute(policy_pack.update().where(policy_pack.c.name == stored.name).values(active=False))
    key = (policy_pack.c.name == stored.name) & (policy_pack.c.revision == stored.revision)
    if tx.execute(policy_pack.update().where(key).values(active=stored.active)).rowcount:
        return
    tx.execute(
        policy_pack.insert().values(
            name=stored.name,
            revision=stored.revision,
            active=stored.active,
            digest=stored.digest,
            source=stored.source,
            bytes=stored.data,
            applied_at=stored.applied_at,
            applied_by=stored.applied_by,
        )
    )


def save_bundle(tx: Tx, bundle: Bundle) -> None:
    """Remember which packs a bundle is made of, so that its decisions can be replayed."""
    pairs: Json = sorted([pack.name, pack.digest] for pack in bundle.packs)
    tx.execute(
        upsert(policy_bundle, tx)
        .values(digest=bundle.digest, packs=canonical(pairs), since=tx.now())
        .on_conflict_do_nothing()
    )


def bundle_pairs(connection: Connection, bundle: str) -> list[tuple[str, str]] | None:
    """Return (name, digest) of the packs of a bundle that was in force once. One query."""
    row = connection.execute(sa.select(policy_bundle.c.packs).where(policy_bundle.c.digest == bundle)).one_or_none()
    return None if row is None else [(name, digest_) for name, digest_ in json.loads(row.packs)]


def save_decision(tx: Tx, decision: Decision, *, subject: str) -> None:
    """Keep a decision with its input."""
    tx.execute(
        policy_decision.insert().values(
            id=decision.id,
            subject=subject,
            point=decision.point.value,
            outcome=decision.outcome.value,
            bundle=decision.bundle,
            at=tx.now(),
            input=decision.input,
            body=canonical(decision.as_json()),
        )
    )


def last_bundle(connection: Connection, subject: str) -> str | None:
    """Return the bundle the newest decision about a subject was made by. One query."""
    query = (
        sa.select(policy_decision.c.bundle)
        .where(policy_decision.c.subject == subject)
        .order_by(policy_decision.c.at.desc(), policy_decision.c.id.desc())
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def tiers(connection: Connection, subjects: Collection[str]) -> dict[str, Tier]:
    """Return the highest tier decided about each subject. One query."""
    found: dict[str, Tier] = {}
    if not subjects:
        return found
    query = sa.select(policy_decision.c.subject, policy_decision.c.body)
    for row in connection.execute(query.where(policy_decision.c.subject.in_(subjects))):
        tier = Tier(json.loads(row.body)["tier"])
        found[row.subject] = max(tier, found.get(row.subject, tier), key=lambda one: one.rank)
    return found


def decisions(
    connection: Connection, *, decision_id: str | None = None, subject: str | None = None
) -> list[StoredDecision]:
    """Return decisions by ID or about a subject, oldest first. One query."""
    query = sa.select(policy_decision).order_by(policy_decision.c.at, policy_decision.c.id)
    if decision_id is not None:
        query = query.where(policy_decision.c.id == decision_id)
    if subject is not None:
        query = query.where(policy_decision.c.subject == subject)
    return [_decision(row) for row in connection.execute(query)]


def decisions_by_subject(connection: Connection, subjects: Collection[str]) -> dict[str, list[StoredDecision]]:
    """Return by subject the decisions about it, oldest first. One query."""
    query = sa.select(policy_decision).where(policy_decision.c.subject.in_(subjects))
    found: dict[str, list[StoredDecision]] = {subject: [] for subject in subjects}
    for row in connection.execute(query.order_by(policy_decision.c.at, policy_decision.c.id)):
        found[row.subject].append(_decision(row))
    return found


def recent_decisions(connection: Connection, *, limit: int) -> list[StoredDecision]:
    """Return the newest decisions, newest first. One query."""
    query = sa.select(policy_decision).order_by(policy_decision.c.at.desc(), policy_decision.c.id.desc()).limit(limit)
    return [_decision(row) for row in connection.execute(query)]


def _decision(row: Any) -> StoredDecision:
    return StoredDecision(
        id=row.id,
        subject=row.subject,
        point=row.point,
        outcome=row.outcome,
        bundle=row.bundle,
        at=row.at,
        input=row.input,
        body=json.loads(row.body),
    )
