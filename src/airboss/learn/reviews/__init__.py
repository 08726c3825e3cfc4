"""Reviews: what every ended change teaches, drawn up from its facts.

The tower calls `open_for` when a change has ended and asks `closed`; faces call `close`, `of`, `view` and `waiting`.
`draft` is pure, and `Times` holds what the metrics of lead time, detection and rollback are made of.
"""

from airboss.learn.reviews.model import (
    Answer,
    CloseReview,
    Draft,
    Given,
    Harm,
    Question,
    Review,
    Times,
    Verdict,
    Word,
)
from airboss.learn.reviews.rules import draft
from airboss.learn.reviews.service import OnClosed, Reviews

__all__ = [
    "Answer",
    "CloseReview",
    "Draft",
    "Given",
    "Harm",
    "OnClosed",
    "Question",
    "Review",
    "Reviews",
    "Times",
    "Verdict",
    "Word",
    "draft",
]
