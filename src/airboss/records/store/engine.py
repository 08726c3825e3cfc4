"""Opens the database and hands out transactions.

SQLite: one write connection whose commits are shared (see `group`), any number of readers. PostgreSQL: a pool for
writers and one for readers, one transaction per use case.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from airboss.kernel import failpoints
from airboss.kernel.clock import Clock
from airboss.kernel.errors import OutcomeUnknown
from airboss.records.store import migrations
from airboss.records.store.engines import parse, postgresql_engine, sqlite_engine
from airboss.records.store.faults import DatabaseFault, translated
from airboss.records.store.group import GroupWriter, Sequencer
from airboss.records.store.schema import Kind
from airboss.records.store.tx import Tx

_log = logging.getLogger(__name__)

LeaseClock: TypeAlias = Literal["given", "database"]
"""Whose time leases are measured by: the clock the store was given, or the database's."""
# The time of the statement, not of the transaction: it may have waited for a lock.
_DATABASE_TIME: Final = sa.select(sa.func.clock_timestamp())
_JOINING: ContextVar[tuple[Callable[[Tx], None], Callable[[], None]] | None] = ContextVar("joining", default=None)


class Store:
    """A database of Airboss."""

    def __init__(self, url: str, *, clock: Clock, lease_clock: LeaseClock = "given") -> None:
        self.url = parse(url)
        self._clock = clock
        self._lease_clock = lease_clock
        self.dialect: Kind = "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        self._sequencer: Sequencer | None = None
        self._listeners: list[Callable[[], None]] = []
        self._here = threading.local()
        self._commits = 0
        self._writer: GroupWriter | None = None
        try:
            if self.dialect == "sqlite":
                # The writer first: it is the one that makes the file and sets its journal mode.
                self._writer = GroupWriter(sqlite_engine(self.url, read_only=False), clock, self.now)
                self._reads = self._writes = sqlite_engine(self.url, read_only=True)
            else:
                self._reads = postgresql_engine(self.url, read_only=True)
                self._writes = postgresql_engine(self.url, read_only=False)
        except DatabaseFault as fault:
            raise translated(fault) from fault

    @classmethod
    def open(cls, url: str, *, clock: Clock, lease_clock: LeaseClock = "given") -> Store:
        """Open `sqlite:////folder/airboss.db` or `postgresql://user@host/name`. Raises Invalid or Unavailable."""
        return cls(url, clock=clock, lease_clock=lease_clock)

    # -- life ---------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Bring the schema to this version's head. Raises Refused (`database-newer`) or Unavailable."""
        if self._writer is not None:
            with self._writer.alone() as connection:
                migrations.upgrade(connection)
            return
        try:
            with self._writes.begin() as connection:
                migrations.upgrade(connection)
        except DatabaseFault as fault:
            meaning = translated(fault)
            if meaning is fault:
                raise
            raise meaning from fault

    def attach_sequencer(self, sequencer: Sequencer) -> None:
        """Have the journal number new facts: before the commit on SQLite, right after it on PostgreSQL."""
        self._sequencer = sequencer
        if self._writer is not None:
            self._writer.sequencer = sequencer

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit of this process, in the writer's thread: a hint, never the only way to
        hear of a fact. What it raises is logged and goes no further, for the use case is done.
        """
        self._listeners.append(listener)

    @property
    def commits(self) -> int:
        """How many commits this process has made; with grouping fewer than use cases."""
        return self._commits if self._writer is None else self._writer.commits

    def close(self) -> None:
        """Commit what is gathered and let the connections go."""
        if self._writer is not None:
            self._writer.close()
        self._reads.dispose()
        self._writes.dispose()

    def now(self, connection: Connection) -> datetime:
        """Return the time leases are measured by: the database's own, where servers with clocks of their own share it.

        SQLite is one server's, so there the given clock is that time.
        """
        if self._lease_clock == "database" and self.dialect == "postgresql":
            answer: datetime = connection.execute(_DATABASE_TIME).scalar_one()
            return answer.astimezone(UTC)
        return self._clock.now()

    # -- use -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection whose reads see one snapshot, taken at the first of them; it cannot write.

        Raises Unavailable.
        """
        try:
            with self._reads.connect() as connection:
                if self.dialect == "sqlite":
                    connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    if self.dialect == "sqlite":
                        with contextlib.suppress(DBAPIError):
                            connection.exec_driver_sql("ROLLBACK")
        except DatabaseFault as fault:
            meaning = translated(fault)
            if meaning is fault:
                raise
            raise meaning from fault

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """Give one transaction: committed and durable on clean exit, undone on any exception.

        Raises Unavailable (nothing happened), OutcomeUnknown (the commit's answer was lost), RuntimeError when this
        thread is in a transaction already: a use case is one transaction, so the inner one takes the outer's `tx`.
        """
        if getattr(self._here, "writing", False):
            raise RuntimeError("this thread is inside store.write() already; hand its tx down instead")
        self._here.writing = True
        joining = _JOINING.get()
        try:
            with self._writer.write() if self._writer is not None else self._write_postgresql() as tx:
                if joining is not None:
                    joining[0](tx)
                yield tx
        finally:
            self._here.writing = False
        if joining is not None:
            joining[1]()
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001 - whatever a listener does, the commit stands
                _log.exception("a commit listener failed")

    @contextlib.contextmanager
    def joining(self, begin: Callable[[Tx], None], committed: Callable[[], None]) -> Iterator[None]:
        """Have `begin` called first in each transaction of this context, and `committed` after each that stands.

        What `begin` writes happens with the use case or not at all; what it raises ends the use case.
        """
        token = _JOINING.set((begin, committed))
        try:
            yield
        finally:
            _JOINING.reset(token)

    def sequence(self) -> int:
        """Number the facts that wait for it and return how many there were; on SQLite there are never any.

        Writers do this themselves after their commit. Somebody also calls it every second or so, for facts whose
        writer died in between or was overtaken by another server.
        """
        if self._writer is not None:
            return 0
        try:
            with self._writes.connect() as connection:
                return self._sequence_on(connection)
        except DatabaseFault as fault:
            meaning = translated(fault)
            if meaning is fault:
                raise
            raise meaning from fault

    def _sequence_on(self, connection: Connection) -> int:
        if self._sequencer is None:
            return 0
        with connection.begin():
            return self._sequencer(connection)

    @contextlib.contextmanager
    def _write_postgresql(self) -> Iterator[Tx]:
        try:
            connection = self._writes.connect()
        except DatabaseFault as fault:
            raise translated(fault) from fault
        with connection:
            transaction = connection.begin()
            tx = Tx(connection, "postgresql", self.now)
            try:
                yield tx
                failpoints.reach("store.before_commit")
                _refuse_failed(connection)
            except BaseException as fault:
                with contextlib.suppress(*DatabaseFault):
                    transaction.rollback()
                meaning = translated(fault)
                if meaning is fault:
                    raise
                raise meaning from fault
            finally:
                tx.end()
            try:
                transaction.commit()
            except DatabaseFault as fault:
                raise _commit_fault(fault) from fault
            self._commits += 1
            failpoints.reach("store.after_commit")
            # The facts are durable; numbering them is anybody's work, so a failure here costs one tick, not the use
            # case.
            try:
                self._sequence_on(connection)
            except Exception as fault:  # noqa: BLE001 - whatever it was, the commit stands
                _log.warning("facts wait for their numbers: %s", fault)


def _refuse_failed(connection: Connection) -> None:
    """Raise where the body swallowed a refused statement: PostgreSQL would answer COMMIT with a silent rollback."""
    from psycopg import pq  # noqa: PLC0415 - only PostgreSQL gets here, and SQLite's start does not wait for its driver

    if connection.connection.dbapi_connection.info.transaction_status == pq.TransactionStatus.INERROR:  # type: ignore[union-attr]
        raise RuntimeError("a statement of this transaction was refused and the fault ignored; use tx.attempt()")


def _commit_fault(fault: BaseException) -> BaseException:
    """Return what a failed commit means: only where the server itself said no is the outcome known."""
    state = getattr(getattr(fault, "orig", None), "sqlstate", None) or ""
    if state.startswith(("23", "40")):
        return translated(fault)
    return OutcomeUnknown(
        "the database did not confirm the commit", way_out="look whether it happened before you repeat it"
    )


def open_store(url: str, *, clock: Clock, lease_clock: LeaseClock = "given") -> Store:
    """Open a database by URL; the same as `Store.open`."""
    return Store.open(url, clock=clock, lease_clock=lease_clock)
