"""Opening a review for every ended change, showing it, closing it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from airboss.kernel.canonical import Json, canonical
from airboss.kernel.clock import Clock
from airboss.kernel.errors import Invalid, NotFound, Refused
from airboss.kernel.ids import Ids
from airboss.learn.reviews import repo, rules
from airboss.learn.reviews.model import CloseReview, Given, Question, Review, Times, Verdict
from airboss.people.access import SYSTEM, Action, Actor, require
from airboss.records.journal import Fact, Journal
from airboss.records.store import Store, Tx

NOTE_MOST: Final = 4_000
TIMES_MOST: Final = 1_000
LIST_MOST: Final = 200


class OnClosed(Protocol):
    """Hears of a closed review inside its transaction, to make the change due."""

    def __call__(self, tx: Tx, change: str, /) -> None: ...


class Reviews:
    """Use cases of reviews. Facts on `review/<id>`: review.opened, review.closed.

    A change that was of low risk and completed (or touched nobody) is reviewed by its facts alone: opened and closed in
    one transaction. Everything else waits for people, with the answers the facts give already drafted.
    """

    def __init__(self, store: Store, journal: Journal, *, clock: Clock, ids: Ids, on_closed: OnClosed) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._on_closed = on_closed

    def open_for(self, tx: Tx, change: str) -> Review:
        """Open the review of a change that ended, from its facts, in the transaction that says so.

        Safe to repeat: one review for each attempt. The tower calls it after the facts of the end are recorded.
        """
        tx.lock(change)
        draft = rules.draft(self._journal.of(tx.connection, change))
        same = self._find(tx.connection, repo.review.c.change == change, repo.review.c.attempt == draft.attempt)
        if same is not None:
            return repo.as_review(same, {})
        review_id = self._ids.new("rev")
        value = repo.draft_json(draft)
        tx.execute(
            sa.insert(repo.review).values(
                id=review_id,
                change=change,
                attempt=draft.attempt,
                draft=canonical(value),
                opened_at=self._clock.now(),
                verdict="unknown",
            )
        )
        body = {"change": change, **value}
        self._journal.record(tx, Fact(subject=f"review/{review_id}", type="review.opened", actor=SYSTEM.id, body=body))
        if not draft.for_people:
            self._close(tx, review_id, change, answers={}, verdict="unknown", note=None, actor=SYSTEM)
        return repo.as_review(self._row(tx.connection, review_id), {})

    def close(self, command: CloseReview, actor: Actor) -> Review:
        """Close a review with what people say. Raises Forbidden, NotFound, Refused (closed already), Invalid."""
        require(actor, Action.REVIEW_CLOSE)
        for words in (command.note, *(given.note for given in command.answers.values())):
            if words is not None and len(words) > NOTE_MOST:
                raise Invalid(f"{len(words)} characters are more than {NOTE_MOST}", code="too-long", place="note")
        with self._store.write() as tx:
            tx.lock(f"review/{command.review}")
            row = self._row(tx.connection, command.review)
            if row.closed_at is not None:
                raise Refused(f"the review {command.review} is closed already", code="review-closed")
            self._close(
                tx,
                row.id,
                row.change,
                answers=command.answers,
                verdict=command.verdict,
                note=command.note,
                actor=actor,
            )
            self._on_closed(tx, row.change)
            return self._shown(tx.connection, self._row(tx.connection, command.review))

    # -- views -----------------------------------------------------------------------------------------------------

    def closed(self, connection: Connection, change: str) -> bool:
        """Return whether the newest review of a change is closed. One query."""
        row = self._newest(connection, change)
        return row is not None and row.closed_at is not None

    def view(self, connection: Connection, review: str, actor: Actor) -> Review:
        """Return a review. Two queries. Raises Forbidden, NotFound."""
        require(actor, Action.CHANGE_READ)
        return self._shown(connection, self._row(connection, review))

    def of(self, connection: Connection, change: str, actor: Actor) -> Review | None:
        """Return the newest review of a change, or None. Two queries. Raises Forbidden."""
        require(actor, Action.CHANGE_READ)
        row = self._newest(connection, change)
        return None if row is None else self._shown(connection, row)

    def of_each(self, connection: Connection, changes: Collection[str], actor: Actor) -> dict[str, Review]:
        """Return by change its newest review; those without one are left out. Two queries. Raises Forbidden."""
        require(actor, Action.CHANGE_READ)
        query = sa.select(repo.review).where(repo.review.c.change.in_(changes)).order_by(repo.review.c.attempt)
        newest = {row.change: row for row in connection.execute(query)}
        wanted = {reference for row in newest.values() for reference in repo.references(row)}
        texts = self._journal.texts(connection, wanted)
        return {change: repo.as_review(row, texts) for change, row in newest.items()}

    def waiting(self, connection: Connection, actor: Actor) -> list[Review]:
        """Return the open reviews, oldest first, at most 200. One query. Raises Forbidden."""
        require(actor, Action.CHANGE_READ)
        query = (
            sa.select(repo.review)
            .where(repo.review.c.closed_at.is_(None))
            .order_by(repo.review.c.opened_at, repo.review.c.id)
            .limit(LIST_MOST)
        )
        return [repo.as_review(row, {}) for row in connection.execute(query)]

    def times(self, connection: Connection, *, since: datetime) -> list[Times]:
        """Return when what happened in changes reviewed since then, the newest 1,000. One query."""
        query = (
            sa.select(repo.review)
            .where(repo.review.c.opened_at >= since)
            .order_by(repo.review.c.opened_at.desc())
            .limit(TIMES_MOST)
        )
        return [repo.as_review(row, {}).draft.times for row in connection.execute(query)]

    # -- inside ----------------------------------------------------------------------------------------------------

    def _close(
        self,
        tx: Tx,
        review_id: str,
        change: str,
        *,
        answers: Mapping[Question, Given],
        verdict: Verdict,
        note: str | None,
        actor: Actor,
    ) -> None:
        kept = {
            question: Given(word=given.word, note=self._journal.text(tx, given.note) if given.note else None)
            for question, given in answers.items()
        }
        note_ref = self._journal.text(tx, note) if note else None
        tx.execute(
            sa.update(repo.review)
            .where(repo.review.c.id == review_id)
            .values(
                closed_at=self._clock.now(),
                closed_by=actor.id,
                answers=repo.answers_bytes(kept),
                verdict=verdict,
                note_ref=note_ref,
            )
        )
        told: dict[str, Json] = {
            str(question): {"word": str(given.word), "note": given.note} for question, given in kept.items()
        }
        body: dict[str, Json] = {
            "change": change,
            "answers": told,
            "verdict": verdict,
            "note": note_ref,
            "from_facts_alone": actor.kind == "system",
        }
        self._journal.record(
            tx,
            Fact(subject=f"review/{review_id}", type="review.closed", actor=actor.id, body=body, closes=True),
        )

    def _find(self, connection: Connection, *where: sa.ColumnElement[bool]) -> Row[Any] | None:
        return connection.execute(sa.select(repo.review).where(*where)).one_or_none()

    def _row(self, connection: Connection, review_id: str) -> Row[Any]:
        row = self._find(connection, repo.review.c.id == review_id)
        if row is None:
            raise NotFound(f"there is no review {review_id}", code="review-not-found")
        return row

    def _newest(self, connection: Connection, change: str) -> Row[Any] | None:
        query = (
            sa.select(repo.review).where(repo.review.c.change == change).order_by(repo.review.c.attempt.desc()).limit(1)
        )
        return connection.execute(query).one_or_none()

    def _shown(self, connection: Connection, row: Row[Any]) -> Review:
        return repo.as_review(row, self._journal.texts(connection, repo.references(row)))
