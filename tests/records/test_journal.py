"""The journal: gapless, ordered, in the transaction that makes a fact true."""

from __future__ import annotations

import contextlib
import threading

import pytest

from airboss.kernel.errors import Refused
from airboss.records.journal import Fact, Frontier, Journal, leaf_hash
from airboss.records.store import Store


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
