"""A log is signed by the key that signed it before; another comes only by an act that is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from airboss.kernel.errors import Refused
from airboss.records.audit import Checkpoints, Signer, change_key, origin, signer_of, verify
from airboss.records.journal import Fact, Journal, fact
from airboss.records.store import Store
from airboss.testing import ManualClock, SeededChance


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.key"


@pytest.fixture
def signed(store: Store, journal: Journal, path: Path, clock: ManualClock) -> str:
    """A log with an entry and a checkpoint; its public key."""
    signer = signer_of(store, journal.open(), path, chance=SeededChance(1))
    with store.write() as tx:
        journal.record(tx, Fact(subject="flag/a", type="flag.applied", actor="usr_a"))
    Checkpoints(store, signer, clock=clock).write_now()
    return signer.vkey


def test_a_key_that_is_gone_is_not_made_anew(store: Store, journal: Journal, path: Path, signed: str) -> None:
    """A server that finds entries and no key refuses, names the file and both ways out, and leaves no key behind."""
    path.unlink()
    with pytest.raises(Refused, match="1 entries signed with a key") as refused:
        signer_of(store, journal.open(), path, chance=SeededChance(2))
    assert refused.value.code == "key-missing"
    assert "backup" in str(refused.value.way_out)
    assert "airboss audit new-key" in str(refused.value.way_out)
    assert not path.exists()


def test_a_key_that_never_signed_is_refused(store: Store, journal: Journal, path: Path, signed: str) -> None:
    """Another key of the same name beside the log is refused, though its file is in order."""
    path.unlink()
    Signer.load(path, name=origin(journal.open()), chance=SeededChance(4))
    with pytest.raises(Refused) as refused:
        signer_of(store, journal.open(), path, chance=SeededChance(2))
    assert refused.value.code == "key-not-known"


def test_a_change_of_key_is_a_fact(store: Store, journal: Journal, path: Path, clock: ManualClock, signed: str) -> None:
    """After it the new key signs, the old one is refused, the fact names both, and the whole verifies with both."""
    old = path.read_bytes()
    new = change_key(store, journal, path, reason="the disk died", actor="local", chance=SeededChance(5))
    assert new.vkey != signed
    signer = signer_of(store, journal.open(), path, chance=SeededChance(6))
    assert signer.vkey == new.vkey
    Checkpoints(store, signer, clock=clock).write_now()
    with store.read() as connection:
        stored = connection.execute(sa.select(fact.c.stored).where(fact.c.type == "log.key_changed")).scalar_one()
        body = json.loads(stored)["body"]
        assert (body["public_key"], body["replaces"]) == (new.vkey, signed)
        assert journal.texts(connection, [body["reason"]]) == {body["reason"]: "the disk died"}
        assert verify(connection, public_key=[signed, new.vkey]).ok
        assert not verify(connection, public_key=[signed]).ok
    assert path.with_name(f"journal.key.until-{new.key.short}").read_bytes() == old
    path.write_bytes(old)
    with pytest.raises(Refused, match="another key"):
        signer_of(store, journal.open(), path, chance=SeededChance(6))


def test_a_change_of_key_that_was_cut_short_is_finished(
    store: Store, journal: Journal, path: Path, signed: str
) -> None:
    """Killed after the key was recorded and before it was in place, the same command puts that very key in place."""
    new = change_key(store, journal, path, reason="once", actor="local", chance=SeededChance(5))
    path.rename(path.with_name("journal.key.new"))
    again = change_key(store, journal, path, reason="again", actor="local", chance=SeededChance(7))
    assert again.vkey == new.vkey
    with store.read() as connection:
        assert len(connection.execute(sa.select(fact).where(fact.c.type == "log.key_changed")).all()) == 1
