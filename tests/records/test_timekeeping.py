"""Whether a clock can be believed: held against the record, and against the database's own."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airboss.faces.cli.app import run
from airboss.kernel.clock import APART_MOST, SystemClock
from airboss.kernel.ids import TimeOrderedIds
from airboss.records.journal import Fact, Journal, Timekeeping, timekeeping
from airboss.records.store import Store, open_store
from airboss.testing import ManualClock, SeededChance

HOUR = 3600.0


def _opened(url: str, clock: ManualClock | SystemClock) -> tuple[Store, Journal, Timekeeping]:
    store = open_store(url, clock=clock, lease_clock="database" if isinstance(clock, SystemClock) else "given")
    store.create()
    chance = SeededChance(3)
    journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
    journal.open()
    return store, journal, Timekeeping(store, journal, clock=clock, actor="system")


def _recorded(url: str, clock: ManualClock | SystemClock, times: int = 1) -> None:
    store, journal, _ = _opened(url, clock)
    for _ in range(times):
        with store.write() as tx:
            journal.record(tx, Fact(subject="flag/a", type="flag.applied", actor="usr_a"))
    store.sequence()
    store.close()


def _wrong(by_s: float) -> SystemClock:
    return SystemClock(wall=lambda: time.time() + by_s)


@pytest.mark.parametrize(("ahead_s", "follows"), [(60, True), (299, True), (301, False), (86_400, False)])
def test_a_record_ahead_is_followed_only_so_far(tmp_path: Path, ahead_s: float, follows: bool):
    """Up to five minutes time goes on from the record; further it does not, and the clock is doubted instead."""
    url = f"sqlite:///{tmp_path / 'only.db'}"
    _recorded(url, _wrong(ahead_s))
    clock = SystemClock()
    store, _, timekeeping = _opened(url, clock)
    timekeeping.follow()
    assert (clock.behind_s() > ahead_s / 2) is follows
    doubt = timekeeping.doubt()
    assert (doubt is None) is follows
    if doubt is not None:
        assert "airboss clock accept" in doubt
    store.close()


def test_the_database_says_who_is_right(postgresql_url: str):
    """Facts of an hour ahead of a machine that was set back: where PostgreSQL's clock agrees with them, time goes on from
    them; and a server whose clock is apart from PostgreSQL's is doubted, whatever is recorded.
    """
    _recorded(postgresql_url, SystemClock())
    for by_s, word in ((-HOUR, None), (HOUR, "ahead of the database's")):
        store, _, timekeeping = _opened(postgresql_url, _wrong(by_s))
        timekeeping.follow()
        doubt = timekeeping.doubt()
        assert doubt is None if word is None else word in str(doubt)
        store.close()
    store, _, timekeeping = _opened(postgresql_url, _wrong(-HOUR))
    doubt = timekeeping.doubt()
    assert doubt is not None
    assert "behind the database's" in doubt
    store.close()


def test_facts_that_follow_do_not_hide_a_doubt(
    store: Store, journal: Journal, clock: ManualClock, store_url: str, monkeypatch: pytest.MonkeyPatch
):
    """More facts by a right clock than are looked back over, and a new start: it stays doubted, and is recorded once."""
    monkeypatch.setattr(timekeeping, "LOOKS_BACK", 5)
    _recorded(store_url, ManualClock(clock.now() + timedelta(days=1)))
    first = Timekeeping(store, journal, clock=clock, actor="system")
    assert first.doubt() is not None
    _recorded(store_url, clock, times=8)
    again = Timekeeping(store, journal, clock=clock, actor="system")
    assert again.doubt() == first.doubt()
    with store.read() as connection:
        (told,) = journal.of(connection, "clock")
    assert (told.type, told.actor) == ("clock.doubted", "system")
    clock.advance(86_400 - APART_MOST.total_seconds())
    assert again.doubt() is None, "time has caught up"


def test_what_is_accepted_is_not_doubted_again(store: Store, journal: Journal, clock: ManualClock, store_url: str):
    """A person's word clears what was recorded before it, and nothing that a clock records ahead after it."""
    _recorded(store_url, ManualClock(clock.now() + timedelta(days=1)))
    keeping = Timekeeping(store, journal, clock=clock, actor="system")
    assert keeping.doubt() is not None
    assert keeping.accept(reason="flat battery", actor="local") == clock.now() + timedelta(days=1)
    store.sequence()
    assert keeping.doubt() is None
    _recorded(store_url, ManualClock(clock.now() + timedelta(hours=2)))
    clock.advance(timekeeping.EVERY_S)
    assert keeping.doubt() is not None


def test_the_command_says_that_the_clock_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`airboss clock accept` records it with its reason and tells up to when the record ran; a second time is refused."""
    _recorded(f"sqlite:///{tmp_path / 'airboss.db'}", _wrong(86_400))
    command = ["clock", "accept", "--data", str(tmp_path), "--reason", "flat battery", "--json"]
    assert run(command) == 0
    ran_to = datetime.fromisoformat(json.loads(capsys.readouterr().out)["record_ran_ahead_to"])
    assert ran_to > datetime.now(UTC) + timedelta(hours=23)
    assert run(command) != 0
    assert json.loads(capsys.readouterr().err)["code"] == "clock-not-ahead"
