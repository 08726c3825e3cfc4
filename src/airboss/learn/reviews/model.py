"""The words of a review: the questions, what the facts answer, what people add. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["right", "wrong", "unknown"]


class Question(StrEnum):
    """The five questions every review answers."""

    CHANGE_ID = "change_id"
    AUTOMATION = "automation"
    ANALYSIS = "analysis"
    RUNBOOKS = "runbooks"
    EXCEPTIONS = "exceptions"

    @property
    def words(self) -> str:
        """Return the question as people read it."""
        return _WORDS[self]


_WORDS = {
    Question.CHANGE_ID: "Was the change ID present and useful?",
    Question.AUTOMATION: "Was the rollout automated, and did the automation do its work?",
    Question.ANALYSIS: "Did the canary analysis judge in time?",
    Question.RUNBOOKS: "Were runbooks followed, and did they help?",
    Question.EXCEPTIONS: "Were policy exceptions used, and rightly?",
}


class Word(StrEnum):
    """The answer to a question, in one word."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and the sentence behind it. From facts it names nobody."""

    word: Word
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When what happened, as far as the facts say: what the metrics of lead time, detection and rollback are made of."""

    submitted_at: datetime | None = None
    cleared_at: datetime | None = None
    started_at: datetime | None = None
    exposed_at: datetime | None = None
    convicted_at: datetime | None = None
    taken_back_at: datetime | None = None
    back_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def approval_lead_s(self) -> float | None:
        """Seconds from request to clearance."""
        return _between(self.submitted_at, self.cleared_at)

    @property
    def lead_s(self) -> float | None:
        """Seconds from request to completion."""
        return _between(self.submitted_at, self.completed_at)

    @property
    def detection_s(self) -> float | None:
        """Seconds from the first exposure to the conviction."""
        return _between(self.exposed_at, self.convicted_at)

    @property
    def rollback_s(self) -> float | None:
        """Seconds from detection (the order, where nothing was convicted) to everything back at its baseline."""
        return _between(self.convicted_at or self.taken_back_at, self.back_at)


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What was harmed. `requests` is a number of requests or subjects; `how` says where it comes from."""

    requests: float
    how: Literal["measured", "estimated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the facts say about one attempt of a change, before anybody adds a word."""

    outcome: str
    attempt: int
    tier: str | None
    sentence: str
    cleared_by: Literal["people", "policy"] | None
    times: Times
    harm: Harm | None
    convicted_by: tuple[Mapping[str, Any], ...]
    exposure_percent: float | None
    answers: Mapping[Question, Answer]
    for_people: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a person answers. `note` is free text, kept where it can be erased."""

    word: Word
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseReview:
    """Close a review. Questions left out keep the answer of the facts.

    `verdict` says whether the automatic judgement (go on, or take back) was right, as it looks now.
    """

    review: str
    answers: Mapping[Question, Given] = field(default_factory=dict)
    verdict: Verdict = "unknown"
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A review as people look at it: the draft, and once closed what was answered."""

    id: str
    change: str
    attempt: int
    draft: Draft
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    answers: Mapping[Question, Given]
    verdict: Verdict
    note: str | None
