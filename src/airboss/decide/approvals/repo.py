"""Tables and SQL of approvals. What a round asks for is stored as it was asked, in canonical bytes with a format."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Index, LargeBinary, Row, Table, Text, UniqueConstraint

from airboss.decide.approvals.model import Choice, Look, Requirement, Round, Verdict, Vote
from airboss.kernel.canonical import Json, canonical
from airboss.records.store import Instant, Tx, metadata, upsert

FORMAT: Final = 1

round_table = Table(
    "approval_round",
    metadata,
    Column("id", Text, primary_key=True),
    Column("change", Text, nullable=False),
    Column("decision", Text, nullable=False),
    # Rounds that follow each other over one asking share a chain: approvals carry over while their digests hold.
    Column("chain", Text, nullable=False),
    Column("asks", LargeBinary, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("closed_as", Text),
    UniqueConstraint("change", "decision"),
    Index("ix_approval_round_chain", "chain"),
    Index("ix_approval_round_closed_at", "closed_at"),
)

vote_table = Table(
    "approval_vote",
    metadata,
    Column("id", Text, primary_key=True),
    Column("round", Text, nullable=False),
    Column("chain", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("person_id", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("sections", LargeBinary, nullable=False),
    Column("comment_ref", Text),
    Column("channel", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_approval_vote_chain", "chain"),
)

# One row a person and change: what they saw last, and the last other content before it. Not part of the record.
look_table = Table(
    "approval_look",
    metadata,
    Column("change", Text, primary_key=True),
    Column("person_id", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("at", Instant, nullable=False),
    Column("before_digest", Text),
    Column("before_content", LargeBinary),
    Column("before_at", Instant),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRound:
    """A round with what only its storage knows."""

    round: Round
    chain: str
    closed_at: datetime | None
    closed_as: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVote:
    """A vote with the ID of its person, which facts use."""

    vote: Vote
    person_id: str


def insert_round(tx: Tx, new: Round, *, chain: str) -> None:
    """Store a round."""
    tx.execute(
        sa.insert(round_table).values(
            id=new.id,
            change=new.change,
            decision=new.decision,
            chain=chain,
            asks=canonical(_asks(new)),
            opened_at=new.opened_at,
            expires_at=new.expires_at,
        )
    )


def rounds_of(connection: Connection, change: str) -> list[StoredRound]:
    """Return every round of a change, oldest first. One query."""
    query = (
        sa.select(round_table).where(round_table.c.change == change).order_by(round_table.c.opened_at, round_table.c.id)
    )
    return [_round(row) for row in connection.execute(query)]


def open_rounds(connection: Connection, *, limit: int) -> list[StoredRound]:
    """Return the rounds that are open, oldest first. One query."""
    query = (
        sa.select(round_table)
        .where(round_table.c.closed_at.is_(None))
        .order_by(round_table.c.opened_at, round_table.c.id)
        .limit(limit)
    )
    return [_round(row) for row in connection.execute(query)]


def close_round(tx: Tx, round_id: str, *, at: datetime, outcome: str) -> bool:
    """Close a round; return whether it was open."""
    done = tx.execute(
        sa.update(round_table)
        .where(round_table.c.id == round_id, round_table.c.closed_at.is_(None))
        .values(closed_at=at, closed_as=outcome)
    )
    return done.rowcount == 1


def insert_vote(tx: Tx, new: Vote, *, chain: str, person_id: str) -> None:
    """Store a vote; votes are never changed."""
    sections: dict[str, Json] = dict(new.sections)
    tx.execute(
        sa.insert(vote_table).values(
            id=new.id,
            round=new.round,
            chain=chain,
            person=new.person,
            person_id=person_id,
            verdict=new.verdict,
            sections=canonical(sections),
            comment_ref=new.comment,
            channel=new.channel,
            at=new.at,
        )
    )


def votes_of(connection: Connection, chains: Collection[str]) -> dict[str, list[StoredVote]]:
    """Return the votes of each chain in the order they were cast. One query."""
    found: dict[str, list[StoredVote]] = {chain: [] for chain in chains}
    if not found:
        return found
    query = sa.select(vote_table).where(vote_table.c.chain.in_(list(found))).order_by(vote_table.c.at, vote_table.c.id)
    for row in connection.execute(query):
        vote = Vote(
            id=row.id,
            round=row.round,
            person=row.person,
            verdict=Verdict(row.verdict),
            sections=json.loads(row.sections),
            at=row.at,
            channel=row.channel,
            comment=row.comment_ref,
        )
        found[row.chain].append(StoredVote(vote=vote, person_id=row.person_id))
    return found


def looks_of(connection: Connection, changes: Collection[str], person_id: str) -> dict[str, Look]:
    """Return by change somebody's last look at it. One query."""
    query = sa.select(look_table).where(look_table.c.change.in_(changes), look_table.c.person_id == person_id)
    return {
        row.change: Look(
            digest=row.digest,
            content=row.content,
            at=row.at,
            before_digest=row.before_digest,
            before_content=row.before_content,
            before_at=row.before_at,
        )
        for row in connection.execute(query)
    }


def save_look(tx: Tx, change: str, person_id: str, look: Look) -> None:
    """Keep somebody's last look."""
    values = {
        "digest": look.digest,
        "content": look.content,
        "at": look.at,
        "before_digest": look.before_digest,
        "before_content": look.before_content,
        "before_at": look.before_at,
    }
    tx.execute(
        upsert(look_table, tx)
        .values(change=change, person_id=person_id, **values)
        .on_conflict_do_update(index_elements=["change", "person_id"], set_=values)
    )


def choices_json(choices: Sequence[Choice]) -> list[Json]:
    """Return choices as facts and rows carry them."""
    return [
        {"take": choice.take, "of": [_requirement_json(requirement) for requirement in choice.of]} for choice in choices
    ]


def _requirement_json(requirement: Requirement) -> dict[str, Json]:
    return {
        "group": requirement.group,
        "least": requirement.least,
        "distinct_from": sorted(requirement.distinct_from),
        "backup": requirement.backup,
        "covers": None if requirement.covers is None else sorted(requirement.covers),
        "because": list(requirement.because),
        "sla_s": requirement.sla_s,
    }


def _asks(new: Round) -> dict[str, Json]:
    return {
        "format": FORMAT,
        "choices": choices_json(new.choices),
        "excluded": {part: sorted(people) for part, people in new.excluded.items()},
        "services": sorted(new.services),
    }


def _round(row: Row[Any]) -> StoredRound:
    asks = json.loads(row.asks)
    if asks["format"] != FORMAT:
        raise ValueError(f"round {row.id} has format {asks['format']}; this version reads {FORMAT}")
    return StoredRound(
        round=Round(
            id=row.id,
            change=row.change,
            decision=row.decision,
            choices=tuple(
                Choice(take=choice["take"], of=tuple(_requirement(asked) for asked in choice["of"]))
                for choice in asks["choices"]
            ),
            excluded={part: frozenset(people) for part, people in asks["excluded"].items()},
            services=frozenset(asks["services"]),
            opened_at=row.opened_at,
            expires_at=row.expires_at,
        ),
        chain=row.chain,
        closed_at=row.closed_at,
        closed_as=row.closed_as,
    )


def _requirement(asked: dict[str, Any]) -> Requirement:
    return Requirement(
        group=asked["group"],
        least=asked["least"],
        distinct_from=frozenset(asked["distinct_from"]),
        backup=asked["backup"],
        covers=None if asked["covers"] is None else frozenset(asked["covers"]),
        because=tuple(asked["because"]),
        sla_s=asked["sla_s"],
    )
