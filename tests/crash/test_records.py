"""Death of the process at every failpoint of store and journal: nothing acknowledged is lost, nothing is half done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.crash import harness
from tests.crash.writers import count_up, counter, opened, room, state_digest

from airboss.kernel import failpoints
from airboss.kernel.clock import SystemClock
from airboss.records.audit import verify
from airboss.records.journal import Journal
from airboss.records.store import Store, open_store

NAMES = [f"counter/{number}" for number in range(6)]
OURS = sorted(name for name in failpoints.NAMES if name.startswith(("store.", "journal.")))


@pytest.fixture
def url(store_url: str) -> str:
    """A database with six counters at zero."""
    store, _ = _created(store_url)
    with store.write() as tx:
        room.create_all(tx.connection)
        tx.execute(sa.insert(counter), [{"name": name, "count": 0} for name in NAMES])
    store.close()
    return store_url


def _created(url: str) -> tuple[Store, Journal]:
    first = open_store(url, clock=SystemClock())
    first.create()
    first.close()
    return opened(url)


def _states(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    for row in connection.execute(sa.select(counter).where(counter.c.count > 0)):
        yield row.name, state_digest(row.name, row.count)


def _check(url: str, acknowledged: tuple[str, ...]) -> dict[str, int]:
    """Open the database as the next server does and compare; return the counts."""
    store, journal = opened(url)
    store.sequence()
    with store.read() as connection:
        counts = {row.name: row.count for row in connection.execute(sa.select(counter))}
        facts = journal.read(connection, limit=100_000)
        assert journal.oldest_pending(connection) is None
    assert [fact.position for fact in facts] == list(range(len(facts)))
    for word in acknowledged:
        name, _, count = word.partition(" ")
        assert counts[name] >= int(count), f"{word} was acknowledged, and the counter is at {counts[name]}"
    seen = Counter((fact.subject, fact.type, fact.body["count"]) for fact in facts)
    wanted = {
        (name, kind, number): 1
        for name, count in counts.items()
        for kind in ("counter.moved", "counter.checked")
        for number in range(1, count + 1)
    }
    assert seen == wanted
    report = verify(url, state_digests=_states)
    assert report.ok, report.findings
    with store.write() as tx:  # and it takes new work
        count_up(tx, journal, NAMES[0])
    store.close()
    return counts


@pytest.mark.parametrize("on_pass", [1, 40])
@pytest.mark.parametrize("failpoint", OURS)
def test_dying_there_loses_and_doubles_nothing(url: str, failpoint: str, on_pass: int, tmp_path: Path):
    """Killed at a failpoint among six writers: every acknowledged use case is there, every other whole or absent."""
    death = harness.die(
        "tests.crash.writers", url, folder=tmp_path, failpoint=failpoint, on_pass=on_pass, names=NAMES, turns=100
    )
    counts = _check(url, death.acknowledged)
    if on_pass > 6:
        assert sum(counts.values()) > 0


def test_dying_again_and_again_on_one_database(url: str, tmp_path: Path):
    """A database that every server so far died on is still whole, and what the first acknowledged is still there."""
    acknowledged: tuple[str, ...] = ()
    for turn, failpoint in enumerate(OURS * 2):
        death = harness.die(
            "tests.crash.writers", url, folder=tmp_path, failpoint=failpoint, on_pass=5 + turn, names=NAMES, turns=100
        )
        acknowledged += death.acknowledged
        _check(url, acknowledged)


def test_living_on_is_counted_in_full(url: str, tmp_path: Path):
    """Without a failpoint the child does everything it was asked: the harness would notice if it did not."""
    death = harness.die("tests.crash.writers", url, folder=tmp_path, failpoint=None, names=NAMES, turns=10)
    assert len(death.acknowledged) == 60
    assert set(_check(url, death.acknowledged).values()) == {10}
