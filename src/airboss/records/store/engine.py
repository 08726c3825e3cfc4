"""Opens the database and hands out transactions.

SQLite: one write connection. A use case takes the writer lock, runs inside a savepoint without waiting on anything,
and drops the lock; a committer thread commits what gathered while the last commit reached the disk. The caller returns
only when its group is durable. PostgreSQL: a pool, one transaction per use case.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, cast

import sqlalchemy as sa
from sqlalchemy import Connection, CursorResult, Engine, Executable, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from airboss.kernel import failpoints
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, Invalid, OutcomeUnknown, Unavailable
from airboss.records.store import migrations
from airboss.records.store.schema import subject, upsert

GROUP_MOST: Final = 64
GROUP_WAIT_S: Final = 0.005
STATEMENT_MOST_MS: Final = 5_000

Sequencer = Callable[[Connection], int]


class Tx:
    """One use case's transaction."""

    def __init__(self, connection: Connection, dialect: Literal["sqlite", "postgresql"], clock: Clock) -> None:
        self.connection = connection
        self.dialect = dialect
        self._clock = clock

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement. Raises Unavailable when the database is away, IntegrityError when a row exists."""
        return cast("CursorResult[Any]", self.connection.execute(statement, parameters))

    def now(self) -> datetime:
        """Return the time of the store's clock."""
        return self._clock.now()

    def lock(self, name: str) -> None:
        """Take the row lock of a subject, creating it. Writers of one thing queue here, before they read it."""
        self.execute(upsert(subject, self.dialect).values(subject=name, seq=0, closed=False).on_conflict_do_nothing())
        if self.dialect == "postgresql":
            self.execute(sa.select(subject.c.seq).where(subject.c.subject == name).with_for_update())


class Store:
    """A database of Airboss."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        self.url = _parse(url)
        self._clock = clock
        self.dialect: Literal["sqlite", "postgresql"] = (
            "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql"
        )
        self._sequencer: Sequencer | None = None
        self._listeners: list[Callable[[], None]] = []
        if self.dialect == "sqlite":
            self._reads = _sqlite_engine(self.url, read_only=True)
            self._writer: _GroupWriter | None = _GroupWriter(_sqlite_engine(self.url, read_only=False), clock)
        else:
            self._reads = _postgresql_engine(self.url)
            self._writer = None

    # -- life ---------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Bring the schema to this version's head. Raises Refused for a database from a newer version."""
        if self._writer is not None:
            with self._writer.alone() as connection:
                migrations.upgrade(connection)
        else:
            with self._reads.begin() as connection:
                migrations.upgrade(connection)

    def attach_sequencer(self, sequencer: Sequencer) -> None:
        """Have the journal number new facts: before the commit on SQLite, right after it on PostgreSQL."""
        self._sequencer = sequencer
        if self._writer is not None:
            self._writer.sequencer = sequencer

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit of this process: a hint, never the only way to hear of a fact."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Commit what is gathered and let the connections go."""
        if self._writer is not None:
            self._writer.close()
        self._reads.dispose()

    # -- use -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection whose reads see one snapshot; nothing it does is kept."""
        try:
            with self._reads.connect() as connection:
                if self.dialect == "sqlite":
                    connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    if self.dialect == "sqlite":
                        connection.exec_driver_sql("ROLLBACK")
        except DBAPIError as fault:
            raise _unavailable(fault) from fault

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """Give one transaction: committed and durable on clean exit, undone on any exception.

        Raises Unavailable (nothing happened) or OutcomeUnknown (the commit's answer was lost).
        """
        if self._writer is not None:
            with self._writer.write() as tx:
                yield tx
        else:
            with self._write_postgresql() as tx:
                yield tx
        for listener in self._listeners:
            listener()

    def sequence(self) -> int:
        """Number the facts that wait for it and return how many there were; on SQLite there are never any."""
        if self._sequencer is None or self._writer is not None:
            return 0
        try:
            with self._reads.begin() as connection:
                return self._sequencer(connection)
        except DBAPIError as fault:
            raise _unavailable(fault) from fault

    @contextlib.contextmanager
    def _write_postgresql(self) -> Iterator[Tx]:
        try:
            connection = self._reads.connect()
        except DBAPIError as fault:
            raise _unavailable(fault) from fault
        with connection:
            transaction = connection.begin()
            try:
                yield Tx(connection, self.dialect, self._clock)
                failpoints.reach("store.before_commit")
            except IntegrityError:
                transaction.rollback()
                raise
            except DBAPIError as fault:
                _quietly(transaction.rollback)
                raise _unavailable(fault) from fault
            except BaseException:
                _quietly(transaction.rollback)
                raise
            try:
                transaction.commit()
            except DBAPIError as fault:
                raise OutcomeUnknown(
                    "the database did not confirm the commit", way_out="look whether it happened before you repeat it"
                ) from fault
            failpoints.reach("store.after_commit")
        # The facts are durable; numbering them is anybody's work, so a failure here costs one tick, not the use case.
        with contextlib.suppress(Unavailable):
            self.sequence()


class _Group:
    """Use cases that share one commit."""

    def __init__(self, opened: float) -> None:
        self.opened = opened
        self.members = 0
        self.done = threading.Event()
        self.fault: AirbossError | None = None


class _GroupWriter:
    """The one SQLite write connection, and the thread that commits it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._clock = clock
        self._engine = engine
        self._connection = engine.connect()
        self._lock = threading.Lock()
        self._waiting = 0
        self._count = threading.Lock()
        self._group: _Group | None = None
        self._work = threading.Semaphore(0)
        self._closing = False
        self.sequencer: Sequencer | None = None
        self._thread = threading.Thread(target=self._commit_forever, name="airboss-commit", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def alone(self) -> Iterator[Connection]:
        """Give the bare connection inside a transaction of its own, for schema changes."""
        with self._lock:
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.exec_driver_sql("ROLLBACK")
                raise
            self._connection.exec_driver_sql("COMMIT")

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        with self._count:
            self._waiting += 1
        self._lock.acquire()
        with self._count:
            self._waiting -= 1
        try:
            group = self._enter()
            try:
                yield Tx(self._connection, "sqlite", self._clock)
                failpoints.reach("store.before_commit")
                self._connection.exec_driver_sql("RELEASE use_case")
            except BaseException as fault:
                self._undo(group)
                if isinstance(fault, DBAPIError) and not isinstance(fault, IntegrityError):
                    raise _unavailable(fault) from fault
                raise
            group.members += 1
            first = group.members == 1
        finally:
            self._lock.release()
        if first:
            self._work.release()
        group.done.wait()
        if group.fault is not None:
            raise group.fault
        failpoints.reach("store.after_commit")

    def _enter(self) -> _Group:
        if self._closing:
            raise Unavailable("the store is closed", way_out="start the server again")
        try:
            if self._group is None:
                self._connection.exec_driver_sql("BEGIN IMMEDIATE")
                self._group = _Group(self._clock.monotonic())
            self._connection.exec_driver_sql("SAVEPOINT use_case")
        except DBAPIError as fault:
            raise _unavailable(fault) from fault
        return self._group

    def _undo(self, group: _Group) -> None:
        """Undo one use case. A full disk or an I/O error makes SQLite drop the whole transaction: then all know."""
        if self._in_transaction():
            try:
                self._connection.exec_driver_sql("ROLLBACK TO use_case")
                self._connection.exec_driver_sql("RELEASE use_case")
            except SQLAlchemyError:
                _quietly(lambda: self._connection.exec_driver_sql("ROLLBACK"))
            else:
                if group.members == 0:
                    self._connection.exec_driver_sql("ROLLBACK")
                    self._group = None
                return
        group.fault = Unavailable("the database lost the transaction; nothing was kept", way_out="try again")
        self._group = None
        group.done.set()

    def _in_transaction(self) -> bool:
        return bool(self._connection.connection.dbapi_connection.in_transaction)  # type: ignore[union-attr]

    def _commit_forever(self) -> None:
        while True:
            self._work.acquire()
            if self._closing:
                return
            self._gather()
            with self._lock:
                group, self._group = self._group, None
                if group is not None:
                    self._commit(group)

    def _gather(self) -> None:
        """Let those who wait for the lock join, but never hold the first for longer than the group's time."""
        group = self._group
        if group is None:
            return
        pause = threading.Event()
        while self._waiting and group.members < GROUP_MOST and self._clock.monotonic() - group.opened < GROUP_WAIT_S:
            pause.wait(0.0002)

    def _commit(self, group: _Group) -> None:
        try:
            if self.sequencer is not None:
                self.sequencer(self._connection)
        except Exception as fault:  # noqa: BLE001 - whatever it was, the group is undone and every member is told
            _quietly(lambda: self._connection.exec_driver_sql("ROLLBACK"))
            group.fault = Unavailable(f"the journal could not number the facts ({fault}); nothing was kept")
        else:
            try:
                self._connection.exec_driver_sql("COMMIT")
            except SQLAlchemyError as fault:
                _quietly(lambda: self._connection.exec_driver_sql("ROLLBACK"))
                group.fault = OutcomeUnknown(
                    f"the database did not confirm the commit: {fault}",
                    way_out="look whether it happened before you repeat it",
                )
        group.done.set()

    def close(self) -> None:
        with self._lock:
            self._closing = True
            group, self._group = self._group, None
            if group is not None:
                self._commit(group)
        self._work.release()
        self._thread.join(timeout=5)
        self._connection.close()
        self._engine.dispose()


def open_store(url: str, *, clock: Clock) -> Store:
    """Open a database by URL: `sqlite:////folder/airboss.db` or `postgresql://user@host/name`. Raises Invalid."""
    return Store(url, clock=clock)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except SQLAlchemyError as fault:
        raise Invalid(
            "the database address cannot be read",
            code="bad-database-url",
            way_out="use sqlite:////folder/airboss.db or postgresql://user@host/name",
        ) from fault
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise Invalid("SQLite needs a file", code="bad-database-url", way_out="use sqlite:////folder/airboss.db")
        folder = Path(parsed.database).parent
        if not folder.is_dir():
            raise Invalid(f"the data folder {folder} does not exist", code="bad-data-folder", way_out="create it first")
        return parsed
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise Invalid(f"{backend} is not a database we know", code="bad-database-url", way_out="use sqlite or postgresql")


def _sqlite_engine(url: URL, *, read_only: bool) -> Engine:
    engine = sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=sa.QueuePool if read_only else sa.NullPool,
        connect_args={"check_same_thread": False, "timeout": 5},
        **({"pool_size": 8, "max_overflow": 24} if read_only else {}),
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    return engine


def _postgresql_engine(url: URL) -> Engine:
    options = (
        f"-c statement_timeout={STATEMENT_MOST_MS} -c idle_in_transaction_session_timeout={STATEMENT_MOST_MS}"
        " -c default_transaction_isolation=read\\ committed -c timezone=UTC"
    )
    return sa.create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_pre_ping=True,
        connect_args={
            "options": options,
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 2,
        },
    )


def _unavailable(fault: DBAPIError) -> Unavailable:
    reason = str(fault.orig).splitlines()[0] if fault.orig is not None else "no answer"
    return Unavailable(
        f"the database refused: {reason}", code="database-unavailable", way_out="nothing happened; try again"
    )


def _quietly(act: Callable[[], object]) -> None:
    """Undo as far as the connection still answers; the first fault is the one the caller hears."""
    with contextlib.suppress(SQLAlchemyError):
        act()
