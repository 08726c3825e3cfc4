"""What a database's complaint means to the caller. Vendor exceptions stop here."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from airboss.kernel.errors import Unavailable

_SQLITE_BUG: Final = 1  # SQLITE_ERROR: the statement itself is wrong
_SQLITE_DAMAGED: Final = frozenset({11, 26})  # SQLITE_CORRUPT, SQLITE_NOTADB
_SQLITE_FULL: Final = 13
_POSTGRESQL_FULL: Final = frozenset({"53100", "53200"})
_POSTGRESQL_DAMAGED: Final = frozenset({"XX001", "XX002"})
_POSTGRESQL_ALREADY_FAILED: Final = "25P02"


def translated(fault: BaseException) -> BaseException:
    """Return what to raise for a fault met while a transaction ran, all of it undone.

    `Unavailable` where the database could not; the fault itself where it is a refusal the service knows how to read
    (IntegrityError) or a mistake in our own statement, which repeating would not mend.
    """
    if isinstance(fault, PoolTimeout):
        return Unavailable(
            "every connection to the database is in use",
            code="database-busy",
            way_out="nothing happened; try again in a few seconds",
        )
    if isinstance(fault, sqlite3.Error):
        return _of_sqlite(fault)
    if not isinstance(fault, DBAPIError) or isinstance(fault, IntegrityError):
        return fault
    if isinstance(fault.orig, sqlite3.Error):
        found = _of_sqlite(fault.orig)
        return fault if found is fault.orig else found
    return _of_postgresql(fault)


def _of_sqlite(fault: sqlite3.Error) -> BaseException:
    # Errors the module itself raises (wrong thread, bad parameter) carry no code of the library.
    code = getattr(fault, "sqlite_errorcode", None)
    if code is None or code & 0xFF == _SQLITE_BUG or isinstance(fault, sqlite3.IntegrityError):
        return fault
    if code & 0xFF == _SQLITE_FULL:
        return _full(str(fault))
    if code & 0xFF in _SQLITE_DAMAGED:
        return _damaged(str(fault))
    return _away(str(fault))


def _of_postgresql(fault: DBAPIError) -> BaseException:
    state = getattr(fault.orig, "sqlstate", None) or ""
    reason = str(fault.orig).splitlines()[0] if str(fault.orig) else "no answer"
    if state in _POSTGRESQL_FULL:
        return _full(reason)
    if state in _POSTGRESQL_DAMAGED:
        return _damaged(reason)
    # OperationalError: away, restarted, deadlocked, timed out. InternalError: ended for idling in a transaction.
    names = {kind.__name__ for kind in type(fault).__mro__}
    if state != _POSTGRESQL_ALREADY_FAILED and names & {"OperationalError", "InternalError", "InterfaceError"}:
        return _away(reason)
    return fault


def _away(reason: str) -> Unavailable:
    return Unavailable(
        f"the database did not do it: {reason}", code="database-unavailable", way_out="nothing happened; try again"
    )


def _full(reason: str) -> Unavailable:
    return Unavailable(
        f"the database has no room: {reason}",
        code="database-full",
        way_out="nothing happened; free space on its disk, then try again",
    )


def _damaged(reason: str) -> Unavailable:
    return Unavailable(
        f"the database file is damaged: {reason}",
        code="database-damaged",
        way_out="stop the server, keep the file, restore a backup and verify it with: airboss audit verify",
    )


DatabaseFault: Final = (SQLAlchemyError, sqlite3.Error)
"""What a statement may raise, whether it went through SQLAlchemy or straight to the driver."""
