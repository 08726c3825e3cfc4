"""The journal: gapless, ordered, in the transaction that makes a fact true."""

from __future__ import annotations

import contextlib
import threading

import pytest
import sqlalchemy as sa

from airboss.kernel.errors import NotFound, Refused
from airboss.kernel.ids import TimeOrderedIds
from airboss.records.journal import Fact, Frontier, Journal, blob, leaf_hash
from airboss.records.journal.model import read_stored
from airboss.records.store import Store
from airboss.testing import ManualClock, SeededChance


def _fact(subject: str = "chg_x", **more) -> Fact:
    return Fact(subject=subject, type="change.tested", actor="system", **more)


def test_a_fact_comes_back_as_it_was_written(store: Store, journal: Journal):
    """What is recorded is read at its position, with the body it was given."""
    with store.write() as tx:
        journal.record(tx, _fact(body={"share": 0.1, "step": 2}))
    with store.read() as connection:
        (found,) = journal.read(connection)
    assert (found.position, found.subject_seq, found.body) == (0, 1, {"share": 0.1, "step": 2})


def test_an_undone_transaction_leaves_no_fact(store: Store, journal: Journal):
    """A use case that fails takes its facts with it, and the next one leaves no gap."""
    with contextlib.suppress(ZeroDivisionError), store.write() as tx:
        journal.record(tx, _fact())
        _ = 1 / 0
    with store.write() as tx:
        journal.record(tx, _fact())
    with store.read() as connection:
        (found,) = journal.read(connection)
    assert (found.position, found.subject_seq) == (0, 1)


def test_many_writers_make_one_gapless_order(store: Store, journal: Journal):
    """Eight threads over three subjects: positions and every subject's numbers are 0..n without gap or double."""

    def write(number: int) -> None:
        for turn in range(20):
            with store.write() as tx:
                journal.record(tx, _fact(f"chg_{(number + turn) % 3}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.sequence()
    with store.read() as connection:
        facts = journal.read(connection)
        frontier = journal.frontier(connection)
    assert [fact.position for fact in facts] == list(range(160))
    for subject in ("chg_0", "chg_1", "chg_2"):
        numbers = [fact.subject_seq for fact in facts if fact.subject == subject]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert frontier == Frontier().extended([leaf_hash(fact.stored) for fact in facts])


def test_a_closed_subject_takes_no_more(store: Store, journal: Journal):
    """The closing fact says how many there are, and nothing may follow it."""
    with store.write() as tx:
        journal.record(tx, _fact(closes=True))
    with pytest.raises(Refused), store.write() as tx:
        journal.record(tx, _fact())


def test_text_lies_outside_the_chain_and_can_be_erased(store: Store, journal: Journal):
    """Erasing a text leaves the fact and its reference as they were."""
    with store.write() as tx:
        reference = journal.text(tx, "because of the tax office")
        journal.record(tx, _fact(body={"reason": reference}))
    with store.write() as tx:
        journal.erase_text(tx, reference)
    with store.read() as connection:
        assert journal.read_text(connection, reference) == "(erased)"
        assert journal.of(connection, "chg_x")[0].body == {"reason": reference}


def test_a_fact_outside_the_rules_is_refused(store: Store, journal: Journal):
    """A type that is not noun.past_participle, a body JSON cannot carry, a journal nobody opened."""
    with pytest.raises(ValueError, match="fact type"):
        Fact(subject="chg_x", type="Submitted!", actor="system")
    with pytest.raises(ValueError, match="no JSON form"), store.write() as tx:
        journal.record(tx, _fact(body={"share": float("nan")}))
    with store.read() as connection:
        assert journal.size(connection) == 0


def test_facts_are_read_in_pages(store: Store, journal: Journal):
    """A reader that asks after its last position sees each fact once, whatever the size of its pages."""
    with store.write() as tx:
        for _ in range(7):
            journal.record(tx, _fact())
    seen, after = [], -1
    with store.read() as connection:
        while page := journal.read(connection, after=after, limit=3):
            seen += [fact.position for fact in page]
            after = page[-1].position
        assert [fact.subject_seq for fact in journal.of(connection, "chg_x", after_seq=5)] == [6, 7]
    assert seen == list(range(7))


def test_more_facts_than_a_batch_are_numbered_at_once(store: Store, journal: Journal):
    """A use case with 2,500 facts leaves none waiting."""
    with store.write() as tx:
        for number in range(2_500):
            journal.record(tx, _fact(f"chg_{number % 10}"))
    with store.read() as connection:
        assert journal.size(connection) == 2_500
        assert journal.oldest_pending(connection) is None


def test_a_reader_keeps_its_place(store: Store, journal: Journal):
    """A cursor starts before the first fact and stays where it was put."""
    with store.read() as connection:
        assert journal.position_of(connection, "outbox") == -1
    for position in (4, 9):
        with store.write() as tx:
            journal.advance(tx, "outbox", position)
    with store.read() as connection:
        assert journal.position_of(connection, "outbox") == 9


def test_an_erased_text_cannot_be_guessed_back(store: Store, journal: Journal):
    """The salt goes with the text: its digest alone does not tell which of a few short texts it was."""
    with store.write() as tx:
        reference = journal.text(tx, "yes")
        again = journal.text(tx, "yes")
        journal.erase_text(tx, reference)
    assert reference != again
    with store.read() as connection:
        rows = {row.digest: row for row in connection.execute(sa.select(blob))}
    assert (rows[reference].salt, rows[reference].bytes) == (None, None)
    assert rows[reference].erased_at is not None


def test_what_is_not_there_is_said(store: Store, journal: Journal):
    """A text nobody wrote is NotFound, for reading and for erasing."""
    with store.read() as connection, pytest.raises(NotFound):
        journal.read_text(connection, "blob:sha256:none")
    with pytest.raises(NotFound), store.write() as tx:
        journal.erase_text(tx, "blob:sha256:none")


def test_a_fact_of_a_later_format_is_not_guessed_at():
    """Stored bytes of a format this version does not know are refused, never half read."""
    with pytest.raises(ValueError, match="newer than this version"):
        read_stored(0, b'{"format":2}')


def test_the_log_keeps_its_name(store: Store, journal: Journal, clock: ManualClock, ids: TimeOrderedIds):
    """Another server on the same database reads the log's ID instead of making one."""
    other = Journal(store, clock=clock, ids=ids, chance=SeededChance(5))
    assert other.open() == journal.open()
