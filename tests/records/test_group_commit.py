"""Group commit on SQLite: fewer commits than writers, and everybody in a group hears the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airboss.kernel.clock import SystemClock
from airboss.kernel.errors import OutcomeUnknown, Unavailable
from airboss.records.store import Store, open_store

_room = sa.MetaData()
thing = sa.Table(
    "group_thing",
    _room,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "group.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store on a real clock: the group's time is what is being tested."""
    opened = open_store(f"sqlite:///{path}", clock=SystemClock())
    opened.create()
    with opened.write() as tx:
        _room.create_all(tx.connection)
    yield opened
    opened.close()


def _put(store: Store, name: str, size: int = 0) -> None:
    with store.write() as tx:
        tx.execute(sa.insert(thing).values(id=name, data=b"x" * size))


def _names(path: Path) -> set[str]:
    """What a connection that shares nothing with the store sees."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = {row[0] for row in connection.execute("SELECT id FROM group_thing")}
    connection.close()
    return found


def _run(count: int, work) -> list[BaseException | None]:
    """Run `work(n)` in `count` threads and return what each raised."""
    told: list[BaseException | None] = [None] * count

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as fault:  # noqa: BLE001 - handed to the test
            told[number] = fault

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return told


def test_many_writers_share_commits_and_all_are_durable(store: Store, path: Path):
    """Thirty-two threads write 320 rows with far fewer commits, and each row is on disk when its writer returns."""
    before = store.commits
    missing: list[str] = []

    def work(number: int) -> None:
        for turn in range(10):
            name = f"{number}/{turn}"
            _put(store, name)
            if turn == 9 and name not in _names(path):
                missing.append(name)

    assert _run(32, work) == [None] * 32
    assert missing == []
    assert len(_names(path)) == 320
    assert store.commits - before < 160


def test_a_lone_writer_does_not_wait_for_company(store: Store):
    """With nobody else waiting, one use case is one commit."""
    before = store.commits
    for number in range(5):
        _put(store, f"{number}")
    assert store.commits - before == 5


def test_a_failed_commit_is_an_unknown_outcome_for_the_whole_group(store: Store, path: Path):
    """When the disk does not confirm, every member is told to look first; the store then works again."""
    writer = store._writer
    assert writer is not None
    run, failed = writer._run, []

    def fail_once(statement: str) -> None:
        if statement == "COMMIT" and not failed:
            failed.append(statement)
            raise sqlite3.OperationalError("disk I/O error")
        run(statement)

    writer._run = fail_once  # type: ignore[method-assign]  # the one line of ours between us and the driver

    def work(number: int) -> None:
        _put(store, f"{number}")

    told = _run(8, work)
    unknown = {str(number) for number, fault in enumerate(told) if isinstance(fault, OutcomeUnknown)}
    fine = {str(number) for number, fault in enumerate(told) if fault is None}
    assert unknown
    assert unknown | fine == {str(number) for number in range(8)}
    assert _names(path) == fine
    _put(store, "after")
    assert "after" in _names(path)


def test_a_full_disk_is_unavailable_and_leaves_nothing_half_done(store: Store, path: Path):
    """With no page left the writer is told so, none of its rows is kept, and with room again the store works on."""
    _put(store, "first")
    with store.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(Unavailable) as told, store.write() as tx:  # noqa: PT012 - the block is the use case
        tx.execute(sa.insert(thing).values(id="small"))
        tx.execute(sa.insert(thing).values(id="large", data=b"x" * 200_000))
    assert told.value.code == "database-full"
    assert _names(path) == {"first"}
    with store.write() as tx:
        tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    _put(store, "large", 200_000)
    assert _names(path) == {"first", "large"}


def test_a_full_disk_among_many_writers_keeps_exactly_what_was_acknowledged(store: Store, path: Path):
    """Writers fill the last pages together: whoever got a clean answer has its row, whoever did not has none."""
    with store.write() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 40}")
    told = _run(24, lambda number: _put(store, f"{number}", 10_000))
    fine = {str(number) for number, fault in enumerate(told) if fault is None}
    assert all(isinstance(fault, Unavailable) for fault in told if fault is not None)
    assert 0 < len(fine) < 24
    assert _names(path) == fine


def test_a_dropped_transaction_is_told_to_all_who_were_in_it(store: Store, path: Path):
    """When SQLite throws away the group's transaction in one use case, those before it in the group are not kept and
    know it."""
    gate, go = threading.Event(), threading.Event()
    writer = store._writer
    assert writer is not None
    gather = writer._gather
    writer._gather = lambda: (go.wait(10), gather())[1]  # type: ignore[method-assign]  # hold the group open

    def work(number: int) -> None:
        if number == 0:
            with store.write() as tx:
                tx.execute(sa.insert(thing).values(id="innocent"))
                gate.set()
            return
        gate.wait(10)
        try:
            with store.write() as tx:
                tx.execute(sa.insert(thing).values(id="culprit"))
                tx.connection.exec_driver_sql("ROLLBACK")  # what SQLite does by itself on an I/O error
        finally:
            go.set()

    told = _run(2, work)
    assert isinstance(told[0], Unavailable)
    assert isinstance(told[1], Exception)
    writer._gather = gather  # type: ignore[method-assign]
    _put(store, "after")
    assert _names(path) == {"after"}


def test_facts_that_cannot_be_numbered_undo_the_group(store: Store, path: Path):
    """When the journal cannot number, nothing of the group is kept and its members are told so."""

    def broken(_: sa.Connection) -> int:
        raise ValueError("a damaged frontier")

    store.attach_sequencer(broken)
    with pytest.raises(Unavailable, match="damaged frontier") as told, store.write() as tx:
        tx.execute(sa.insert(thing).values(id="a"))
    assert told.value.code == "journal-not-sequenced"
    assert _names(path) == set()
    store.attach_sequencer(lambda _: 0)
    _put(store, "b")
    assert _names(path) == {"b"}


def test_another_process_may_write_too(store: Store, path: Path):
    """A second process writes at the same time; both get all their rows in, by waiting for each other."""
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)\n"
        "for n in range(60):\n"
        "    c.execute('BEGIN IMMEDIATE')\n"
        "    c.execute('INSERT INTO group_thing (id) VALUES (?)', (f'other/{n}',))\n"
        "    c.execute('COMMIT')\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)]) as other:
        told = _run(4, lambda number: [_put(store, f"{number}/{turn}") for turn in range(20)])
        assert other.wait(60) == 0
    assert told == [None] * 4
    assert len(_names(path)) == 140


def test_a_process_that_keeps_the_lock_makes_us_unavailable_not_stuck(store: Store, path: Path):
    """While another process holds the write lock, a use case is refused in seconds; afterwards all is well."""
    with store.write() as tx:
        tx.connection.exec_driver_sql("PRAGMA busy_timeout = 200")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        _put(store, "a")
    holder.execute("ROLLBACK")
    holder.close()
    _put(store, "b")
    assert _names(path) == {"b"}
