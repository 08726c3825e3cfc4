"""One use case's transaction, as its service sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import Connection, CursorResult, Executable

from airboss.records.store.schema import Kind, subject, upsert

_HOLD: Final = sa.select(subject.c.seq).where(subject.c.subject == sa.bindparam("name")).with_for_update()
_CREATE: Final = (
    upsert(subject, "postgresql").values(subject=sa.bindparam("name"), seq=0, closed=False).on_conflict_do_nothing()
)


class Tx:
    """A transaction that is open until its `with` block ends; using it later is a mistake and raises RuntimeError."""

    def __init__(self, connection: Connection, dialect: Kind, now: Callable[[Connection], datetime]) -> None:
        self.dialect: Final = dialect
        self._connection: Connection | None = connection
        self._now = now
        self._locked: set[str] = set()

    @property
    def connection(self) -> Connection:
        """The connection, for code that reads with the same functions inside and outside a transaction."""
        if self._connection is None:
            raise RuntimeError("this transaction is over; open another with store.write()")
        return self._connection

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement. Raises IntegrityError when a row exists; inside `attempt` that undoes only the attempt."""
        return cast("CursorResult[Any]", self.connection.execute(statement, parameters))

    def now(self) -> datetime:
        """Return the time leases are measured by: one for all servers of the database. See `Store.now`."""
        return self._now(self.connection)

    def lock(self, name: str) -> None:
        """Take the row lock of a subject, creating it. Writers of one thing queue here, before they read it.

        On SQLite the transaction itself is that lock: there is one writer.
        """
        if self.dialect == "sqlite" or name in self._locked:
            return
        if self.execute(_HOLD, {"name": name}).one_or_none() is None:
            self.execute(_CREATE, {"name": name})
            self.execute(_HOLD, {"name": name})
        self._locked.add(name)

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Run statements that may be refused; a fault undoes only them, and the transaction goes on.

        Without it a refused statement ends the whole transaction on PostgreSQL.
        """
        connection = self.connection
        connection.exec_driver_sql("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            # When the database dropped the whole transaction there is nothing to go back to: the first fault is told.
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
                connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
            raise
        connection.exec_driver_sql("RELEASE SAVEPOINT attempt")

    def end(self) -> None:
        """Part from the connection; called by the store."""
        self._connection = None
