"""Records facts, numbers them, reads them back."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection, Insert

from airboss.kernel import failpoints
from airboss.kernel.canonical import Json, canonical
from airboss.kernel.clock import Clock, rfc3339
from airboss.kernel.errors import NotFound, Refused
from airboss.kernel.ids import Chance, FactId, Ids
from airboss.records.journal.merkle import Frontier, leaf_hash
from airboss.records.journal.model import FORMAT, Fact, StoredFact, read_stored
from airboss.records.journal.tables import blob, cursor, entry, fact, head, log, pending
from airboss.records.store import Kind, Store, Tx, subject, upsert

BATCH: Final = 1_000
ERASED: Final = "(erased)"


def _next(dialect: Kind) -> Insert:
    """The subject's next number, its row created or locked; no row when it is closed."""
    first = upsert(subject, dialect).values(
        subject=sa.bindparam("about"), seq=1, closed=sa.bindparam("closes"), state_digest=sa.bindparam("digest")
    )
    return first.on_conflict_do_update(
        index_elements=[subject.c.subject],
        set_={
            "seq": subject.c.seq + 1,
            "closed": first.excluded.closed,
            "state_digest": sa.func.coalesce(first.excluded.state_digest, subject.c.state_digest),
        },
        where=subject.c.closed.is_(False),
    ).returning(subject.c.seq)


# Built once: the toolkit takes longer to put a statement together than the database to run it.
_NEXT: Final[dict[Kind, Insert]] = {"sqlite": _next("sqlite"), "postgresql": _next("postgresql")}
_APPEND: Final = sa.insert(fact)
_WAIT: Final = sa.insert(pending).inline()
_WAITING: Final = sa.select(pending.c.number, pending.c.fact_id, pending.c.leaf).order_by(pending.c.number).limit(BATCH)
_NUMBER: Final = sa.insert(entry)
_NUMBERED: Final = sa.delete(pending).where(pending.c.number == sa.bindparam("done"))
_GROW: Final = (
    sa.update(head).where(head.c.id == 1).values(size=sa.bindparam("size"), frontier=sa.bindparam("frontier"))
)
_ASK_HEAD: Final = sa.select(head.c.size, head.c.frontier).where(head.c.id == 1)
_HEAD: Final = {"sqlite": _ASK_HEAD, "postgresql": _ASK_HEAD.with_for_update(skip_locked=True)}


class Journal:
    """The one order of facts of a database."""

    def __init__(self, store: Store, *, clock: Clock, ids: Ids, chance: Chance) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._log_id: str | None = None
        store.attach_sequencer(self._sequence)

    def open(self) -> str:
        """Return the log's ID, giving a new database one."""
        if self._log_id is None:
            with self._store.write() as tx:
                now = self._clock.now()
                tx.execute(
                    upsert(log, tx.dialect)
                    .values(id=1, log_id=self._ids.new("log"), created_at=now)
                    .on_conflict_do_nothing()
                )
                tx.execute(upsert(head, tx.dialect).values(id=1, size=0, frontier=b"").on_conflict_do_nothing())
                self._log_id = tx.execute(sa.select(log.c.log_id)).scalar_one()
        return self._log_id

    # -- writing -------------------------------------------------------------------------------------------------

    def record(self, tx: Tx, new: Fact) -> FactId:
        """Append a fact in the caller's transaction. Raises Refused when its subject is closed.

        Three statements; the first takes the subject's row, so facts of one subject are gapless and in order.
        """
        if self._log_id is None:
            raise RuntimeError("the journal was not opened")
        number = tx.execute(
            _NEXT[tx.dialect],
            {"about": new.subject, "closes": new.closes, "digest": new.state_digest},
        ).scalar_one_or_none()
        if number is None:
            raise Refused(
                f"the record of {new.subject} is closed",
                code="record-closed",
                way_out="what comes after belongs to a new change",
            )
        now = self._clock.now()
        fact_id = FactId(self._ids.new("fct"))
        value: dict[str, Json] = {
            "format": FORMAT,
            "log_id": self._log_id,
            "fact_id": fact_id,
            "at": rfc3339(now),
            "actor_id": new.actor,
            "subject": new.subject,
            "subject_seq": number,
            "type": new.type,
            "body": new.body,
        }
        if new.state_digest is not None:
            value["state_digest"] = new.state_digest
        if new.closes:
            value["closes_after"] = number
        stored = canonical(value)
        tx.execute(
            _APPEND,
            {
                "fact_id": fact_id,
                "subject": new.subject,
                "subject_seq": number,
                "type": new.type,
                "at": now,
                "stored": stored,
            },
        )
        tx.execute(_WAIT, {"fact_id": fact_id, "at": now, "leaf": leaf_hash(stored)})
        return fact_id

    def text(self, tx: Tx, words: str) -> str:
        """Keep free text or personal data outside the chain and return its salted reference, `blob:sha256:…`.

        The text can be erased without breaking the proof: only its digest is in the fact.
        """
        salt = self._chance.token(16)
        data = words.encode()
        reference = f"blob:sha256:{hashlib.sha256(salt + data).hexdigest()}"
        tx.execute(sa.insert(blob).values(digest=reference, salt=salt, bytes=data))
        return reference

    def erase_text(self, tx: Tx, reference: str) -> None:
        """Erase a text; its digest stays. Raises NotFound."""
        # The salt goes too: with it a short text could be guessed back from its digest.
        done = tx.execute(
            sa.update(blob).where(blob.c.digest == reference).values(bytes=None, salt=None, erased_at=self._clock.now())
        )
        if done.rowcount != 1:
            raise NotFound(f"there is no text {reference}", code="text-not-found")

    # -- order ---------------------------------------------------------------------------------------------------

    def _sequence(self, connection: Connection) -> int:
        """Give waiting facts their positions and return how many.

        Any server may: the head row is the lock, and a server that finds it taken leaves the work to its holder.
        Facts whose transaction commits late get a later position; positions never have gaps.
        """
        failpoints.reach("journal.before_sequence")
        held = connection.execute(_HEAD[connection.dialect.name]).one_or_none()
        if held is None:
            return 0
        done = 0
        grown = Frontier.read(held.size, held.frontier)
        while rows := connection.execute(_WAITING).all():
            connection.execute(
                _NUMBER,
                [
                    {"position": grown.size + offset, "fact_id": row.fact_id, "leaf": row.leaf}
                    for offset, row in enumerate(rows)
                ],
            )
            grown = grown.extended([row.leaf for row in rows])
            connection.execute(_NUMBERED, [{"done": row.number} for row in rows])
            done += len(rows)
            if len(rows) < BATCH:
                break
        if done:
            connection.execute(_GROW, {"size": grown.size, "frontier": grown.stored()})
        failpoints.reach("journal.after_sequence")
        return done

    def oldest_pending(self, connection: Connection) -> datetime | None:
        """Return since when the oldest fact waits for its position, or None. Part of readiness."""
        oldest: datetime | None = connection.execute(
            sa.select(pending.c.at).order_by(pending.c.number).limit(1)
        ).scalar_one_or_none()
        return oldest

    # -- reading -------------------------------------------------------------------------------------------------

    def size(self, connection: Connection) -> int:
        """Return how many facts have a position."""
        return int(connection.execute(sa.select(head.c.size)).scalar_one_or_none() or 0)

    def newest(self, connection: Connection) -> datetime | None:
        """Return when the last fact that has a position was recorded, None where there is none. One query."""
        query = sa.select(fact.c.at).join(entry, entry.c.fact_id == fact.c.fact_id)
        found: datetime | None = connection.execute(query.order_by(entry.c.position.desc()).limit(1)).scalar()
        return found

    def frontier(self, connection: Connection) -> Frontier:
        """Return the tree's right edge over the facts that have a position."""
        row = connection.execute(sa.select(head.c.size, head.c.frontier)).one()
        return Frontier.read(row.size, row.frontier)

    def read(self, connection: Connection, *, after: int = -1, limit: int = BATCH) -> list[StoredFact]:
        """Return the facts at positions above `after`, in order, at most `limit`. One query."""
        rows = connection.execute(
            sa.select(entry.c.position, fact.c.stored)
            .join(fact, fact.c.fact_id == entry.c.fact_id)
            .where(entry.c.position > after)
            .order_by(entry.c.position)
            .limit(limit)
        )
        return [read_stored(row.position, row.stored) for row in rows]

    def of(self, connection: Connection, about: str, *, after_seq: int = 0, limit: int = 10_000) -> list[StoredFact]:
        """Return the facts about one subject in order; those not numbered yet have position -1. One query."""
        rows = connection.execute(
            sa.select(entry.c.position, fact.c.stored)
            .select_from(fact)
            .outerjoin(entry, entry.c.fact_id == fact.c.fact_id)
            .where(fact.c.subject == about, fact.c.subject_seq > after_seq)
            .order_by(fact.c.subject_seq)
            .limit(limit)
        )
        return [read_stored(-1 if row.position is None else row.position, row.stored) for row in rows]

    def of_each(self, connection: Connection, subjects: Collection[str]) -> dict[str, list[StoredFact]]:
        """Return by subject the facts about it, as `of` does. One query."""
        rows = connection.execute(
            sa.select(fact.c.subject, entry.c.position, fact.c.stored)
            .select_from(fact)
            .outerjoin(entry, entry.c.fact_id == fact.c.fact_id)
            .where(fact.c.subject.in_(subjects))
            .order_by(fact.c.subject, fact.c.subject_seq)
        )
        found: dict[str, list[StoredFact]] = {subject: [] for subject in subjects}
        for row in rows:
            found[row.subject].append(read_stored(-1 if row.position is None else row.position, row.stored))
        return found

    def texts(self, connection: Connection, references: Iterable[str]) -> dict[str, str]:
        """Return the texts of references, erased ones as `(erased)`. One query."""
        wanted = set(references)
        if not wanted:
            return {}
        rows = connection.execute(sa.select(blob.c.digest, blob.c.bytes).where(blob.c.digest.in_(wanted)))
        return {row.digest: ERASED if row.bytes is None else row.bytes.decode() for row in rows}

    def read_text(self, connection: Connection, reference: str) -> str:
        """Return one text. Raises NotFound."""
        found = self.texts(connection, [reference])
        if reference not in found:
            raise NotFound(f"there is no text {reference}", code="text-not-found")
        return found[reference]

    # -- cursors -------------------------------------------------------------------------------------------------

    def position_of(self, connection: Connection, reader: str) -> int:
        """Return the last position a reader has finished, -1 for a new one."""
        found = connection.execute(sa.select(cursor.c.position).where(cursor.c.reader == reader)).scalar_one_or_none()
        return -1 if found is None else int(found)

    def advance(self, tx: Tx, reader: str, position: int) -> None:
        """Remember how far a reader is. At least once: what it does for a fact must bear repeating."""
        tx.execute(
            upsert(cursor, tx.dialect)
            .values(reader=reader, position=position)
            .on_conflict_do_update(index_elements=[cursor.c.reader], set_={"position": position})
        )
