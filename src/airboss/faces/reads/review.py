"""A review, as pages and the API show it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.kernel.clock import rfc3339
from airboss.kernel.ids import change_id
from airboss.learn.reviews import Question, Review
from airboss.people.access import Actor


def review_view(review: Review) -> dict[str, Any]:
    """Return a review: what the facts say, and what people added."""
    draft = review.draft
    times = draft.times
    return {
        "id": review.id,
        "change": review.change,
        "attempt": review.attempt,
        "outcome": draft.outcome,
        "tier": draft.tier,
        "sentence": draft.sentence,
        "cleared_by": draft.cleared_by,
        "for_people": draft.for_people,
        "opened_at": rfc3339(review.opened_at),
        "closed_at": None if review.closed_at is None else rfc3339(review.closed_at),
        "verdict": review.verdict,
        "note": review.note,
        "convicted_by": [str(one.get("gate", "")) for one in draft.convicted_by],
        "harm": None if draft.harm is None else asdict(draft.harm),
        "exposure_pct": draft.exposure_percent,
        "approval_lead_s": times.approval_lead_s,
        "detection_s": times.detection_s,
        "rollback_s": times.rollback_s,
        "times": {name: _time(at) for name, at in asdict(times).items()},
        "questions": [_question(review, question) for question in Question],
    }


def reviews_view(house: House, connection: Connection, actor: Actor) -> list[dict[str, Any]]:
    """Return the open reviews, oldest first, each with the title and services of its change. Two queries."""
    waiting = house.reviews.waiting(connection, actor)
    changes = {one.id: one for one in house.changes.read_many(connection, [one.change for one in waiting])}
    return [
        {
            **review_view(one),
            "title": changes[change_id(one.change)].title,
            "services": list(changes[change_id(one.change)].services),
        }
        for one in waiting
    ]


def _question(review: Review, question: Question) -> dict[str, Any]:
    """Return one question with the answer of the facts, and a person's where one was given."""
    drafted = review.draft.answers.get(question)
    given = review.answers.get(question)
    return {
        "question": str(question),
        "words": question.words,
        "facts": None if drafted is None else {"word": str(drafted.word), "sentence": drafted.sentence},
        "given": None if given is None else {"word": str(given.word), "note": given.note},
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def blocked_view(house: House, actor: Actor) -> list[dict[str, Any]]:
    """Return the versions that were convicted and may not start again, newest first. One query."""
    return [
        {
            "service": one.service,
            "digest": one.digest,
            "change_id": one.change_id,
            "sentence": one.sentence,
            "at": one.at,
        }
        for one in house.rollouts.blocked(actor)
    ]
