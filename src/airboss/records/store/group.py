"""Group commit on SQLite: many use cases, one write to the disk."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel import failpoints
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, OutcomeUnknown, Unavailable
from airboss.records.store.faults import DatabaseFault, translated
from airboss.records.store.tx import Tx

GROUP_MOST: Final = 64
GROUP_WAIT_S: Final = 0.005
LOCK_WAIT_S: Final = 10.0

Sequencer = Callable[[Connection], int]

_log = logging.getLogger(__name__)


class _Group:
    """Use cases that share one commit."""

    def __init__(self, opened: float) -> None:
        self.opened = opened
        self.members = 0
        self.done = threading.Event()
        self.fault: AirbossError | None = None

    def end(self, fault: AirbossError | None) -> None:
        self.fault = fault
        self.done.set()


class GroupWriter:
    """The one write connection, and the thread that commits it.

    A use case holds the lock only while it runs: it works inside a savepoint, lets go, and waits for the commit of
    its group. The group's transaction opens with its first use case and takes in whoever runs before the commit.
    """

    def __init__(self, engine: Engine, clock: Clock, now: Callable[[Connection], datetime]) -> None:
        self._clock = clock
        self._now = now
        self._engine = engine
        self._connection = engine.connect()
        self._lock = threading.Lock()
        self._waiting = 0
        self._count = threading.Lock()
        self._group: _Group | None = None
        self._work = threading.Semaphore(0)
        self._closing = False
        self.sequencer: Sequencer | None = None
        self.commits = 0
        self._thread = threading.Thread(target=self._commit_forever, name="airboss-commit", daemon=True)
        self._thread.start()

    # -- a use case ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """Give a transaction of the group; return once the group is durable. Raises as `Store.write`."""
        self._take_lock()
        try:
            group = self._enter()
            tx = Tx(self._connection, "sqlite", self._now)
            try:
                yield tx
                failpoints.reach("store.before_commit")
                self._run("RELEASE use_case")
            except BaseException as fault:
                self._undo(group)
                meaning = translated(fault)
                if meaning is fault:
                    raise
                raise meaning from fault
            finally:
                tx.end()
            group.members += 1
            first = group.members == 1
        finally:
            self._lock.release()
        if first:
            self._work.release()
        self._wait(group)
        failpoints.reach("store.after_commit")

    def _take_lock(self) -> None:
        with self._count:
            self._waiting += 1
        taken = self._lock.acquire(timeout=LOCK_WAIT_S)
        with self._count:
            self._waiting -= 1
        if not taken:
            raise Unavailable(
                f"other writers kept the database for {LOCK_WAIT_S:g} s",
                code="database-busy",
                way_out="nothing happened; try again in a few seconds",
            )

    def _wait(self, group: _Group) -> None:
        while not group.done.wait(timeout=1.0):
            if not self._thread.is_alive() and not group.done.is_set():
                raise OutcomeUnknown("the committing thread is gone", way_out="restart the server, then look")
        if group.fault is not None:
            # One fault is raised in many threads: each gets its own, so that tracebacks do not grow into each other.
            fault = group.fault
            raise type(fault)(fault.detail, code=fault.code, way_out=fault.way_out) from fault

    def _enter(self) -> _Group:
        if self._closing:
            raise Unavailable("the store is closed", code="store-closed", way_out="start the server again")
        try:
            if self._group is None:
                self._run("BEGIN IMMEDIATE")
                self._group = _Group(self._clock.monotonic())
            self._run("SAVEPOINT use_case")
        except DatabaseFault as fault:
            if self._group is not None:
                self._undo(self._group)
            raise translated(fault) from fault
        return self._group

    def _undo(self, group: _Group) -> None:
        """Undo one use case. A full disk or an I/O error makes SQLite drop the whole transaction: then all are told."""
        try:
            self._run("ROLLBACK TO use_case")
            self._run("RELEASE use_case")
        except DatabaseFault:
            self._abandon()
            group.end(
                Unavailable(
                    "the database dropped the transaction this was part of",
                    code="database-unavailable",
                    way_out="nothing happened; try again",
                )
            )
            self._group = None
            return
        if group.members == 0:
            self._abandon()
            self._group = None

    # -- the commit ----------------------------------------------------------------------------------------------

    def _commit_forever(self) -> None:
        while True:
            self._work.acquire()
            if self._closing:
                return
            self._gather()
            with self._lock:
                self._commit_group()

    def _gather(self) -> None:
        """Let those who wait for the lock join, but never hold the first for longer than the group's time."""
        group = self._group
        if group is None:
            return
        pause = threading.Event()
        while self._waiting and group.members < GROUP_MOST and self._clock.monotonic() - group.opened < GROUP_WAIT_S:
            pause.wait(0.0002)

    def _commit_group(self) -> None:
        """Number the facts and commit; called with the lock held. Never raises: the members are told."""
        group, self._group = self._group, None
        if group is None:
            return
        try:
            if self.sequencer is not None:
                self.sequencer(self._connection)
        except Exception as fault:  # noqa: BLE001 - whatever it was, every member is told
            _log.exception("facts could not be numbered; the group is undone")
            self._abandon()
            meaning = translated(fault)
            group.end(
                meaning
                if isinstance(meaning, Unavailable)
                else Unavailable(
                    f"the journal could not number the facts: {fault}",
                    code="journal-not-sequenced",
                    way_out="nothing happened; look at the server's log, then verify with: airboss audit verify",
                )
            )
            return
        try:
            self._run("COMMIT")
            self.commits += 1
        except Exception as fault:  # noqa: BLE001 - whatever it was, every member is told
            _log.exception("the commit failed")
            self._abandon()
            group.end(_commit_fault(fault))
        else:
            group.end(None)

    # -- the connection ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def alone(self) -> Iterator[Connection]:
        """Give the bare connection inside a transaction of its own, for schema changes."""
        self._take_lock()
        try:
            self._commit_group()
            try:
                self._run("BEGIN IMMEDIATE")
                yield self._connection
                self._run("COMMIT")
            except BaseException as fault:
                self._abandon()
                meaning = translated(fault)
                if meaning is fault:
                    raise
                raise meaning from fault
        finally:
            self._lock.release()

    def close(self) -> None:
        """Commit what is gathered and let go. May be called twice."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._commit_group()
        self._work.release()
        self._thread.join(timeout=5)
        self._connection.close()
        self._engine.dispose()

    def _raw(self) -> sqlite3.Connection:
        return cast("sqlite3.Connection", self._connection.connection.dbapi_connection)

    def _run(self, statement: str) -> None:
        # Straight to the driver: these few words frame every use case, and the toolkit would cost as much as they do.
        self._raw().execute(statement)

    def _abandon(self) -> None:
        """Roll everything back; a connection that will not is replaced, so the next use case starts clean."""
        try:
            if self._raw().in_transaction:
                self._run("ROLLBACK")
            if not self._raw().in_transaction:
                return
        except DatabaseFault:
            _log.exception("the write connection is replaced")
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
            self._connection.invalidate()
            self._connection.close()
        self._connection = self._engine.connect()


def _commit_fault(fault: Exception) -> AirbossError:
    """Return what a failed commit means. In the write-ahead log a commit is the writing of its last frame, and a frame
    that found no room is not there; of any other fault, such as one of the sync after it, the outcome is not known.
    """
    meaning = translated(fault)
    if isinstance(meaning, Unavailable) and meaning.code == "database-full":
        return meaning
    return OutcomeUnknown(
        f"the database did not confirm the commit: {fault}", way_out="look whether it happened before you repeat it"
    )
