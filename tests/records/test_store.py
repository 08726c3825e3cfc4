"""The store on both databases: durable on clean exit, undone on any fault, and a snapshot for whoever reads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from airboss.kernel import failpoints
from airboss.kernel.errors import Invalid, Unavailable
from airboss.records.store import Instant, Store, Tx, open_store, upsert
from airboss.testing import ManualClock

_room = sa.MetaData()
thing = sa.Table(
    "store_thing",
    _room,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("at", Instant),
    sa.Column("data", sa.LargeBinary),
)


@pytest.fixture
def things(store: Store) -> Store:
    """A store with a table of this test's own."""
    with store.write() as tx:
        _room.create_all(tx.connection)
    return store


def _put(tx: Tx, name: str, count: int = 0) -> None:
    tx.execute(sa.insert(thing).values(id=name, count=count))


def _names(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(sa.select(thing.c.id).order_by(thing.c.id)).scalars())


def _together(*works: Callable[[], None]) -> list[BaseException]:
    """Run each in a thread of its own and return what they raised."""
    raised: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:  # noqa: BLE001 - handed to the test
            raised.append(fault)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_what_is_written_is_there_for_another_connection(things: Store, store_url: str, clock: ManualClock):
    """When `write` returns, a store of another process would see it."""
    with things.write() as tx:
        _put(tx, "a")
    other = open_store(store_url, clock=clock)
    assert _names(other) == ["a"]
    other.close()


def test_an_exception_in_the_body_undoes_only_its_use_case(things: Store):
    """One use case fails among many that run at once; only its own rows are missing."""
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait()
        with things.write() as tx:
            _put(tx, f"n{number}")
            if number == 3:
                raise ZeroDivisionError

    raised = _together(*(lambda number=number: work(number) for number in range(8)))
    assert [type(fault) for fault in raised] == [ZeroDivisionError]
    assert _names(things) == [f"n{number}" for number in range(8) if number != 3]


def test_a_row_that_exists_is_an_integrity_error_and_undoes_the_use_case(things: Store):
    """The refusal reaches the service as it is, and what came before it in the use case is undone."""
    with things.write() as tx:
        _put(tx, "a")
    with pytest.raises(IntegrityError), things.write() as tx:  # noqa: PT012 - the block is the use case
        _put(tx, "b")
        _put(tx, "a")
    assert _names(things) == ["a"]


def test_an_attempt_may_be_refused_and_the_transaction_goes_on(things: Store):
    """Inside `attempt` a refused statement undoes only the attempt, on both databases alike."""
    with things.write() as tx:
        _put(tx, "a")
        with pytest.raises(IntegrityError), tx.attempt():  # noqa: PT012 - the block is the use case
            _put(tx, "b")
            _put(tx, "a")
        _put(tx, "c")
    assert _names(things) == ["a", "c"]


def test_a_refusal_swallowed_without_an_attempt_is_never_a_silent_loss(things: Store):
    """PostgreSQL would answer COMMIT with a rollback; either the rows are there, or the caller hears of it."""
    failed = False
    try:
        with things.write() as tx:
            _put(tx, "a")
            with contextlib.suppress(IntegrityError):
                _put(tx, "a")
    except RuntimeError:
        failed = True
    assert failed == (_names(things) == [])


def test_a_mistaken_statement_is_not_called_unavailable(things: Store):
    """A table that does not exist is our mistake: repeating would not mend it, so nobody is told to try again."""
    with pytest.raises((ProgrammingError, DBAPIError)) as told, things.write() as tx:
        tx.execute(sa.text("SELECT * FROM no_such_table"))
    assert not isinstance(told.value, Unavailable)
    with pytest.raises(DBAPIError), things.read() as connection:
        connection.execute(sa.text("SELECT * FROM no_such_table"))


def test_a_write_inside_a_write_is_a_clear_mistake(things: Store):
    """One thread cannot wait for itself: the inner transaction is refused at once, and the outer one is undone."""
    with pytest.raises(RuntimeError, match="hand its tx down"), things.write() as tx:  # noqa: PT012 - the block is the use case
        _put(tx, "a")
        with things.write() as inner:
            _put(inner, "b")
    with things.write() as tx:
        _put(tx, "c")
    assert _names(things) == ["c"]


def test_a_transaction_kept_after_its_end_is_a_clear_mistake(things: Store):
    """A leaked `tx` must not write into somebody else's transaction."""
    with things.write() as tx:
        _put(tx, "a")
    with pytest.raises(RuntimeError, match="is over"):
        _put(tx, "b")


def test_reads_see_one_snapshot(things: Store):
    """Between two reads of one connection nothing that others commit appears; the next connection sees it."""
    with things.write() as tx:
        _put(tx, "a")
    with things.read() as connection:
        count = sa.select(sa.func.count()).select_from(thing)
        before = connection.execute(count).scalar_one()
        assert _together(lambda: _write_one(things, "b")) == []
        assert connection.execute(count).scalar_one() == before == 1
    assert _names(things) == ["a", "b"]


def _write_one(store: Store, name: str) -> None:
    with store.write() as tx:
        _put(tx, name)


def test_a_reader_cannot_write(things: Store):
    """The database itself refuses a write on a read connection."""
    with pytest.raises((DBAPIError, Unavailable)), things.read() as connection:
        connection.execute(sa.insert(thing).values(id="a", count=0))
    assert _names(things) == []


def test_readers_that_fail_give_their_connections_back(things: Store):
    """Two hundred reads that raise leave the pool as it was: the next still gets a connection."""
    for _ in range(200):
        with pytest.raises(ZeroDivisionError), things.read() as connection:  # noqa: PT012 - the block is the use case
            connection.execute(sa.select(thing.c.id))
            raise ZeroDivisionError
    assert things._reads.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert _names(things) == []


def test_the_lock_on_a_subject_orders_its_writers(things: Store):
    """Twelve writers that read, add one and write back under the lock lose nothing."""
    with things.write() as tx:
        _put(tx, "sum")

    def add() -> None:
        for _ in range(5):
            with things.write() as tx:
                tx.lock("thing/sum")
                seen = tx.execute(sa.select(thing.c.count).where(thing.c.id == "sum")).scalar_one()
                tx.execute(sa.update(thing).where(thing.c.id == "sum").values(count=seen + 1))

    assert _together(*[add] * 12) == []
    with things.read() as connection:
        assert connection.execute(sa.select(thing.c.count)).scalar_one() == 60


def test_upsert_means_the_same_on_both(things: Store):
    """Insert or update by a Tx or a dialect's name, and the row is the later one."""
    for on, count in ((None, 1), (things.dialect, 2)):
        with things.write() as tx:
            statement = upsert(thing, on or tx).values(id="a", count=count)
            tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"count": count}))
    with things.read() as connection:
        assert connection.execute(sa.select(thing.c.count)).scalar_one() == 2


def test_times_and_bytes_come_back_exactly(things: Store, clock: ManualClock):
    """An instant keeps its microseconds and its zone, bytes stay bytes."""
    clock.advance(0.123457)
    with things.write() as tx:
        tx.execute(sa.insert(thing).values(id="a", count=2**62, at=tx.now(), data=b"\x00\xff"))
    with things.read() as connection:
        row = connection.execute(sa.select(thing)).one()
    assert (row.at, row.count, row.data) == (clock.now(), 2**62, b"\x00\xff")


def test_listeners_hear_of_commits_only_and_cannot_undo_them(things: Store):
    """A listener is called once a commit; what it raises reaches no caller."""
    heard: list[int] = []

    def listen() -> None:
        heard.append(1)
        raise ZeroDivisionError

    things.on_commit(listen)
    with things.write() as tx:
        _put(tx, "a")
    with pytest.raises(KeyError), things.write() as tx:
        raise KeyError
    assert (_names(things), heard) == (["a"], [1])


def test_a_fault_before_the_commit_leaves_nothing(things: Store):
    """Failed at the last moment before the commit: nothing of the use case is kept."""
    failpoints.arm("store.before_commit")
    with pytest.raises(failpoints.Reached), things.write() as tx:
        _put(tx, "a")
    assert _names(things) == []


def test_a_fault_after_the_commit_leaves_everything(things: Store):
    """Failed, yet persisted: the caller sees a fault, and the rows are there."""
    failpoints.arm("store.after_commit")
    with pytest.raises(failpoints.Reached), things.write() as tx:
        _put(tx, "a")
    assert _names(things) == ["a"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nonsense", "bad-database-url"),
        ("mysql://host/db", "bad-database-url"),
        ("sqlite://", "bad-database-url"),
        ("sqlite:////no/such/folder/x.db", "bad-data-folder"),
    ],
)
def test_addresses_that_cannot_be_are_refused_with_the_way_out(url: str, code: str, clock: ManualClock):
    """A wrong database address is refused before anything is opened, and the refusal says what to write."""
    with pytest.raises(Invalid) as told:
        open_store(url, clock=clock)
    assert (told.value.code, bool(told.value.way_out)) == (code, True)


def test_a_server_that_is_not_there_is_unavailable(clock: ManualClock):
    """A PostgreSQL nobody listens for is Unavailable, not a vendor's exception."""
    store = open_store("postgresql://nobody@127.0.0.1:1/none", clock=clock)
    with pytest.raises(Unavailable), store.write():
        raise AssertionError
    with pytest.raises(Unavailable), store.read():
        raise AssertionError
    with pytest.raises(Unavailable):
        store.create()
    store.close()


def test_a_closed_store_says_so(sqlite_store: Store):
    """After `close` a write is Unavailable, and closing again is harmless."""
    sqlite_store.close()
    sqlite_store.close()
    with pytest.raises(Unavailable, match="closed"), sqlite_store.write():
        raise AssertionError
