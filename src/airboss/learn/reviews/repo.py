"""The table of reviews. The draft is stored as it was drawn up, so later readers of facts do not change it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Row, Table, Text, UniqueConstraint

from airboss.kernel.canonical import Json, canonical
from airboss.kernel.clock import parse_rfc3339, rfc3339
from airboss.learn.reviews.model import Answer, Draft, Given, Harm, Question, Review, Times, Word
from airboss.records.store import Instant, metadata

FORMAT: Final = 1

review = Table(
    "review",
    metadata,
    Column("id", Text, primary_key=True),
    Column("change", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("draft", LargeBinary, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("closed_by", Text),
    Column("answers", LargeBinary),
    Column("verdict", Text, nullable=False),
    Column("note_ref", Text),
    UniqueConstraint("change", "attempt"),
    Index("ix_review_closed_at", "closed_at"),
)


def draft_json(draft: Draft) -> dict[str, Json]:
    """Return a draft as facts and rows carry it."""
    value: dict[str, Any] = {name.name: getattr(draft, name.name) for name in fields(draft)}
    return {
        **value,
        "format": FORMAT,
        "times": {name: _time(at) for name, at in asdict(draft.times).items()},
        "harm": None if draft.harm is None else asdict(draft.harm),
        "convicted_by": [dict(gate) for gate in draft.convicted_by],
        "answers": {str(question): asdict(answer) for question, answer in draft.answers.items()},
    }


def answers_bytes(answers: Mapping[Question, Given]) -> bytes:
    """Return answers, their notes by reference, as the row keeps them."""
    value: dict[str, Json] = {
        str(question): {"word": str(given.word), "note": given.note} for question, given in answers.items()
    }
    return canonical(value)


def as_review(row: Row[Any], texts: Mapping[str, str]) -> Review:
    """Return a row as people look at it; `texts` has the words of its references."""
    given = {} if row.answers is None else json.loads(row.answers)
    return Review(
        id=row.id,
        change=row.change,
        attempt=row.attempt,
        draft=_draft(json.loads(row.draft)),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
        answers={
            Question(question): Given(word=Word(answer["word"]), note=texts.get(answer["note"] or ""))
            for question, answer in given.items()
        },
        verdict=row.verdict,
        note=texts.get(row.note_ref or ""),
    )


def references(row: Row[Any]) -> list[str]:
    """Return the texts a row refers to."""
    given = {} if row.answers is None else json.loads(row.answers)
    return [ref for ref in (row.note_ref, *(answer["note"] for answer in given.values())) if ref]


def _draft(value: Mapping[str, Any]) -> Draft:
    if value["format"] != FORMAT:
        raise ValueError(f"a review's draft has format {value['format']}; this version reads {FORMAT}")
    answers = value["answers"].items()
    return Draft(
        outcome=value["outcome"],
        attempt=value["attempt"],
        tier=value["tier"],
        sentence=value["sentence"],
        cleared_by=value["cleared_by"],
        times=Times(**{name: None if at is None else parse_rfc3339(at) for name, at in value["times"].items()}),
        harm=None if value["harm"] is None else Harm(**value["harm"]),
        convicted_by=tuple(value["convicted_by"]),
        exposure_percent=value["exposure_percent"],
        answers={
            Question(question): Answer(word=Word(answer["word"]), sentence=answer["sentence"])
            for question, answer in answers
        },
        for_people=value["for_people"],
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
