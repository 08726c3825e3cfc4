"""What only PostgreSQL can do to us: lost connections, a restarted server, several servers numbering at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from airboss.kernel.errors import OutcomeUnknown, Unavailable
from airboss.kernel.ids import TimeOrderedIds
from airboss.records.journal import Fact, Frontier, Journal, leaf_hash
from airboss.records.store import Store, open_store
from airboss.testing import ManualClock, SeededChance


@pytest.fixture
def url(postgresql_url: str) -> str:
    return postgresql_url


def _server(url: str, clock: ManualClock, seed: int) -> tuple[Store, Journal]:
    store = open_store(url, clock=clock)
    chance = SeededChance(seed)
    journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
    return store, journal


@pytest.fixture
def two(url: str, clock: ManualClock) -> Iterator[list[tuple[Store, Journal]]]:
    """Two servers on one database."""
    servers = [_server(url, clock, seed) for seed in (1, 2)]
    servers[0][0].create()
    for _, journal in servers:
        journal.open()
    yield servers
    for store, _ in servers:
        store.close()


def _fact(subject: str) -> Fact:
    return Fact(subject=subject, type="change.tested", actor="system")


def _kill_others(url: str) -> None:
    """End every other connection to this test's database, as a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_two_servers_and_a_late_writer_make_one_gapless_order(two: list[tuple[Store, Journal]]):
    """Two servers number at once while one writer keeps its facts uncommitted throughout: positions have no gap and no
    double, and the late facts come last."""
    (late_store, late_journal), _ = two
    writing, release = threading.Event(), threading.Event()

    def late() -> None:
        with late_store.write() as tx:
            for _ in range(3):
                late_journal.record(tx, _fact("chg_late"))
            writing.set()
            assert release.wait(60)

    def work(server: int, number: int) -> None:
        store, journal = two[server]
        for turn in range(25):
            with store.write() as tx:
                journal.record(tx, _fact(f"chg_{(number + turn) % 4}"))

    last = threading.Thread(target=late)
    last.start()
    assert writing.wait(10)
    threads = [threading.Thread(target=work, args=(n % 2, n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # What was overtaken is numbered first: only the late facts are then left to come.
    for store, _ in two:
        store.sequence()
    release.set()
    last.join(10)
    for store, _ in two:
        store.sequence()
    with two[1][0].read() as connection:
        facts = two[1][1].read(connection)
        assert two[1][1].frontier(connection) == Frontier().extended([leaf_hash(fact.stored) for fact in facts])
        assert two[1][1].oldest_pending(connection) is None
    assert [fact.position for fact in facts] == list(range(153))
    assert len({fact.fact_id for fact in facts}) == 153
    assert [fact.subject for fact in facts[-3:]] == ["chg_late"] * 3
    for subject in {fact.subject for fact in facts}:
        numbers = [fact.subject_seq for fact in facts if fact.subject == subject]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_connection_killed_in_the_body_is_unavailable_and_the_next_works(two: list[tuple[Store, Journal]], url: str):
    """Nothing of the use case is kept, its caller may repeat, and the pool heals by itself."""
    store, journal = two[0]
    with pytest.raises(Unavailable), store.write() as tx:  # noqa: PT012 - the block is the use case
        journal.record(tx, _fact("chg_1"))
        _kill_others(url)
        journal.record(tx, _fact("chg_1"))
    for _ in range(3):
        with store.write() as tx:
            journal.record(tx, _fact("chg_1"))
    with store.read() as connection:
        assert [fact.subject_seq for fact in journal.of(connection, "chg_1")] == [1, 2, 3]


def test_a_connection_killed_before_the_commit_is_an_unknown_outcome(two: list[tuple[Store, Journal]], url: str):
    """The answer to COMMIT never came: the caller must look, for we cannot know."""
    store, journal = two[0]
    with pytest.raises(OutcomeUnknown), store.write() as tx:  # noqa: PT012 - the block is the use case
        journal.record(tx, _fact("chg_1"))
        _kill_others(url)
    with store.read() as connection:
        assert journal.of(connection, "chg_1") == []


def test_idle_connections_killed_by_a_restart_are_not_noticed(two: list[tuple[Store, Journal]], url: str):
    """Pooled connections that died while nobody used them are replaced without anybody being told."""
    store, journal = two[0]
    with store.write() as tx:
        journal.record(tx, _fact("chg_1"))
    _kill_others(url)
    with store.write() as tx:
        journal.record(tx, _fact("chg_1"))
    with store.read() as connection:
        assert journal.size(connection) == 2


def test_a_deadlock_ends_with_one_told_to_try_again(two: list[tuple[Store, Journal]]):
    """Two use cases that take two subjects crosswise: the database ends one of them, which is Unavailable."""
    store, _ = two[0]
    both = threading.Barrier(2)
    told: list[BaseException | None] = []

    def work(first: str, second: str) -> None:
        try:
            with store.write() as tx:
                tx.lock(first)
                both.wait(10)
                tx.lock(second)
            told.append(None)
        except Unavailable as fault:
            told.append(fault)

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(fault is None for fault in told) == [False, True]


def test_facts_left_by_a_dead_writer_are_numbered_by_anybody(two: list[tuple[Store, Journal]]):
    """A writer that died between its commit and the numbering leaves facts that wait; another server numbers them."""
    (store, journal), (other, other_journal) = two
    store.attach_sequencer(lambda _: 0)  # as if it had died there
    with store.write() as tx:
        journal.record(tx, _fact("chg_1"))
        written_at = tx.now()
    with other.read() as connection:
        assert (other_journal.size(connection), other_journal.oldest_pending(connection)) == (0, written_at)
    assert other.sequence() == 1
    with other.read() as connection:
        assert other_journal.size(connection) == 1


def test_a_statement_that_takes_too_long_is_ended(two: list[tuple[Store, Journal]]):
    """A stuck statement is ended by the server, so that nobody holds a lock for long."""
    store, _ = two[0]
    with pytest.raises(Unavailable), store.write() as tx:  # noqa: PT012 - the block is the use case
        tx.execute(sa.text("SET LOCAL statement_timeout = 100"))
        tx.execute(sa.text("SELECT pg_sleep(5)"))


def test_every_connection_in_use_is_unavailable(url: str, clock: ManualClock):
    """When the pool is empty the caller hears so in seconds instead of waiting for ever."""
    store, _ = _server(url, clock, 1)
    store._reads.pool._timeout = 0.1  # type: ignore[attr-defined]  # seconds of a test, not of production
    held = [store._reads.connect() for _ in range(40)]
    with pytest.raises(Unavailable) as told, store.read():
        raise AssertionError
    assert told.value.code == "database-busy"
    for connection in held:
        connection.close()
    with store.read() as connection:
        connection.execute(sa.text("SELECT 1"))
    store.close()
