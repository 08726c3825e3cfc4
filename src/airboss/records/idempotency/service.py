"""Keeps keys: looked up before a request, written with its use case, answered afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from airboss.kernel.clock import Clock, rfc3339
from airboss.records.idempotency.model import (
    ANSWER_MOST,
    ANSWER_WITHIN,
    LIFE,
    AnswerLost,
    Given,
    InProgress,
    Kept,
    Key,
    Reused,
)
from airboss.records.idempotency.tables import idempotency as table
from airboss.records.store import Store, Tx, upsert

_LOOK: Final = "look whether it is as you want it before you send it again with a new key"


class IdempotencyKeys:
    """The used keys of a database. Any number of servers may share them."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def find(self, key: Key) -> Kept | None:
        """Return what was answered to a key, None for one that is free.

        Raises Reused (it stands for another request), InProgress or AnswerLost. One query.
        """
        now = self._clock.now()
        with self._store.read() as connection:
            row = connection.execute(sa.select(table).where(_is(key), table.c.at > now - LIFE)).one_or_none()
        if row is None:
            return None
        if row.request_digest != key.request:
            raise Reused(
                f"this Idempotency-Key was sent with another request at {rfc3339(row.at)}",
                place="Idempotency-Key",
                way_out="send a fresh key with each act; only a retry of the very same request repeats it",
            )
        if row.status is None:
            if now - row.at < ANSWER_WITHIN:
                raise self.busy()
            raise AnswerLost(
                f"this request was carried out at {rfc3339(row.at)}, and what it was answered is not kept",
                way_out=_LOOK,
            )
        return Kept(answer=Given(status=row.status, headers=json.loads(row.headers), body=bytes(row.body)))

    @contextmanager
    def joined(self, key: Key) -> Iterator[Joined]:
        """Have the key written by the first transaction of this context that commits: both happen, or neither.

        Inside, a use case raises InProgress when another request with this key was first.
        """
        joined = Joined(self, key)
        with self._store.joining(joined.write, joined.committed):
            yield joined

    def answered(self, key: Key, joined: Joined, answer: Given | None) -> None:
        """Keep what was answered, nothing of it with None; and let go of keys that are over."""
        now = self._clock.now()
        kept = None if answer is None or len(answer.body) > ANSWER_MOST else answer
        values = {
            "status": None if kept is None else kept.status,
            "headers": None if kept is None else json.dumps(dict(kept.headers)),
            "body": None if kept is None else kept.body,
        }
        with self._store.write() as tx:
            if not joined.done:
                self.write(tx, key)
            tx.execute(sa.update(table).where(_is(key)).values(values))
            tx.execute(sa.delete(table).where(table.c.at <= now - LIFE))

    def write(self, tx: Tx, key: Key) -> None:
        """Write a key in a transaction. Raises InProgress when it is there already: on PostgreSQL this waits for the
        other's end, on SQLite there is one writer.
        """
        now = self._clock.now()
        # One that is over is free again, though nobody swept it yet.
        tx.execute(sa.delete(table).where(_is(key), table.c.at <= now - LIFE))
        written = tx.execute(
            upsert(table, tx)
            .values(caller=key.caller, key_digest=key.digest, request_digest=key.request, at=now)
            .on_conflict_do_nothing()
            .returning(table.c.key_digest)
        )
        if written.one_or_none() is None:
            raise self.busy()

    @staticmethod
    def busy() -> InProgress:
        """Return what a second request is told while the first is worked on."""
        return InProgress(
            "the first request with this Idempotency-Key is still being answered",
            way_out="send the same request with the same key again in a second; it is done once",
        )


class Joined:
    """One request's key, on its way into a transaction."""

    def __init__(self, keys: IdempotencyKeys, key: Key) -> None:
        self._keys = keys
        self._key = key
        self.done = False
        """Whether a transaction committed with the key in it."""

    def write(self, tx: Tx) -> None:
        """Write the key; called at the beginning of each transaction."""
        if not self.done:
            self._keys.write(tx, self._key)

    def committed(self) -> None:
        """Know that it is written for good; called after each commit."""
        self.done = True


def _is(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.caller == key.caller, table.c.key_digest == key.digest)
