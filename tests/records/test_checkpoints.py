"""Checkpoints: signed in time, over committed entries only, never over another past; and packs that prove one record."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from tests.records.tampering import tamper

from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Invalid, NotFound, Refused
from airboss.records.audit import (
    Checkpoints,
    Kind,
    Signer,
    TreeHead,
    consistency_proof,
    evidence,
    inclusion_proof,
    latest,
    open_note,
    origin,
    verify_consistency,
    verify_inclusion,
    verify_pack,
)
from airboss.records.audit.checkpoints import since
from airboss.records.audit.notes import split_notes
from airboss.records.journal import Fact, Frontier, Journal, leaf_hash
from airboss.records.store import Store
from airboss.testing import ManualClock, SeededChance


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def signer(journal: Journal, tmp_path: Path) -> Signer:
    return Signer.load(tmp_path / "journal.key", name=origin(journal.open()), chance=SeededChance(9))


@pytest.fixture
def checkpoints(store: Store, signer: Signer, clock: ManualClock, file: Path) -> Checkpoints:
    return Checkpoints(store, signer, clock=clock, file=file)


def _record(store: Store, journal: Journal, count: int = 1, subject: str = "chg_1", **more) -> None:
    for _ in range(count):
        with store.write() as tx:
            journal.record(tx, Fact(subject=subject, type="change.tested", actor="system", **more))


def test_an_empty_journal_is_not_signed_for(checkpoints: Checkpoints, file: Path):
    """There is nothing to sign before the first entry."""
    assert checkpoints.write_due() is None
    assert not file.exists()


def test_an_entry_is_signed_for_within_a_second(
    store: Store, journal: Journal, checkpoints: Checkpoints, signer: Signer, clock: ManualClock
):
    """Asked twice a second while entries keep coming, no entry waits longer than one second for its checkpoint."""
    waiting: list[tuple[int, float]] = []
    for turn in range(40):
        if turn % 3 != 2:
            _record(store, journal)
            with store.read() as connection:
                waiting.append((journal.size(connection), clock.monotonic()))
        clock.advance(0.2)
        written = checkpoints.write_due()
        if written is not None:
            tree = TreeHead.read(open_note(written.note, [signer.key]).text)
            assert tree.size == written.size
            assert all(clock.monotonic() - since <= 1.0 for size, since in waiting if size <= tree.size)
            waiting = [(size, since) for size, since in waiting if size > tree.size]
    assert len(waiting) <= 5


def test_idle_hours_are_signed_for(
    store: Store, journal: Journal, checkpoints: Checkpoints, signer: Signer, clock: ManualClock
):
    """With no new entry a checkpoint is written once an hour, and its signed time says when."""
    _record(store, journal)
    assert checkpoints.write_due() is not None
    written = []
    for _ in range(25):
        clock.advance(600)
        if (due := checkpoints.write_due()) is not None:
            written.append(due)
            assert open_note(due.note, [signer.key]).at == clock.now()
    assert [each.size for each in written] == [1, 1, 1, 1]


def test_what_is_not_committed_is_not_signed(store: Store, journal: Journal, checkpoints: Checkpoints):
    """While a writer holds entries it has not committed, a checkpoint covers only those before."""
    _record(store, journal, 2)
    inside, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store.write() as tx:
            journal.record(tx, Fact(subject="chg_2", type="change.tested", actor="system"))
            inside.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    if store.dialect == "sqlite":  # one writer: the checkpoint waits its turn, having looked before
        threading.Timer(0.2, release.set).start()
    written = checkpoints.write_due()
    release.set()
    holder.join(10)
    assert written is not None
    assert written.size == 2


def test_every_checkpoint_is_kept_and_appended(
    store: Store, journal: Journal, checkpoints: Checkpoints, file: Path, clock: ManualClock
):
    """The table and the file hold the same notes in the same order."""
    for _ in range(4):
        _record(store, journal)
        clock.advance(1)
        checkpoints.write_due()
    with store.read() as connection:
        kept = since(connection, 0)
        assert latest(connection) == kept[-1]
    assert [each.size for each in kept] == [1, 2, 3, 4]
    assert split_notes(file.read_bytes()) == [each.note for each in kept]


def test_a_sudden_end_between_table_and_file_is_made_good(
    store: Store, journal: Journal, signer: Signer, checkpoints: Checkpoints, file: Path, clock: ManualClock
):
    """What was kept and not appended, or torn in the middle, is in the file after the next start."""
    for _ in range(3):
        _record(store, journal)
        clock.advance(1)
        checkpoints.write_due()
    whole = file.read_bytes()
    for left in (b"", whole[: len(whole) // 3 + 1], whole[:-30], whole):
        file.write_bytes(left)
        Checkpoints(store, signer, clock=clock, file=file).write_due()
        assert split_notes(file.read_bytes()) == split_notes(whole)


def test_two_servers_do_not_sign_the_same_tree_twice(
    store: Store, journal: Journal, signer: Signer, clock: ManualClock, tmp_path: Path
):
    """Two servers asked at once write one checkpoint, and both files have it in the end."""
    files = [tmp_path / "one", tmp_path / "two"]
    servers = [Checkpoints(store, signer, clock=clock, file=file) for file in files]
    for _ in range(5):
        _record(store, journal)
        clock.advance(1)
        threads = [threading.Thread(target=server.write_due) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    for server in servers:
        server.write_due()
    with store.read() as connection:
        assert [each.size for each in since(connection, 0)] == [1, 2, 3, 4, 5]
    assert [len(split_notes(file.read_bytes())) for file in files] == [5, 5]


def test_an_older_database_put_back_is_not_signed_for(
    store: Store, journal: Journal, signer: Signer, checkpoints: Checkpoints, file: Path, clock: ManualClock
):
    """When the file knows a checkpoint the database does not, nothing is signed and somebody is told."""
    _record(store, journal, 3)
    checkpoints.write_due()
    tamper(store, "DELETE FROM checkpoint")
    clock.advance(5)
    with pytest.raises(Refused) as told:
        Checkpoints(store, signer, clock=clock, file=file).write_due()
    assert told.value.code == "journal-rewritten"


def test_another_past_is_never_signed(
    store: Store, journal: Journal, signer: Signer, checkpoints: Checkpoints, clock: ManualClock
):
    """A head that shrank, changed, or does not continue what this server signed is refused."""
    _record(store, journal, 3)
    checkpoints.write_due()
    clock.advance(5)
    tamper(store, "UPDATE head SET size = 4, frontier = :edge", edge=bytes(32))
    with pytest.raises(Refused, match="do not give the tree"):
        checkpoints.write_due()
    fresh = Checkpoints(store, signer, clock=clock)
    tamper(store, "UPDATE head SET size = 2, frontier = :edge", edge=bytes(32))
    with pytest.raises(Refused, match="3 entries were signed for"):
        fresh.write_due()
    tamper(store, "UPDATE head SET size = 3, frontier = :edge", edge=bytes(64))
    with pytest.raises(Refused, match="3 entries were signed for"):
        fresh.write_due()
    tamper(store, "UPDATE head SET size = 1")
    with pytest.raises(Refused, match="no tree"):
        fresh.write_due()


def test_proofs_are_read_from_the_journal(store: Store, journal: Journal):
    """Any entry and any earlier size is proven against the journal's own roots; what is not there is refused."""
    _record(store, journal, 11)
    with store.read() as connection:
        leaves = [leaf_hash(fact.stored) for fact in journal.read(connection)]
        roots = [Frontier().extended(leaves[:size]).root() for size in range(12)]
        for position in range(11):
            steps = inclusion_proof(connection, position, 11)
            assert verify_inclusion(leaves[position], position, 11, steps, roots[11])
        for old in range(1, 11):
            steps = consistency_proof(connection, old, 11)
            assert verify_consistency(old, roots[old], 11, roots[11], steps)
        for wrong in (lambda: inclusion_proof(connection, 11, 11), lambda: consistency_proof(connection, 3, 12)):
            with pytest.raises(Invalid):
                wrong()


# -- the evidence of one subject -------------------------------------------------------------------------------------


@pytest.fixture
def pack(store: Store, journal: Journal, checkpoints: Checkpoints) -> dict:
    """The record of chg_1 among others, closed, with a text."""
    with store.write() as tx:
        reference = journal.text(tx, "the tax office")
    for _ in range(3):
        _record(store, journal, subject="chg_1", body={"reason": reference})
        _record(store, journal, subject="chg_2")
    _record(store, journal, subject="chg_1", closes=True)
    checkpoints.write_due()
    with store.read() as connection:
        return json.loads(canonical(evidence(connection, "chg_1")))


def _kinds(pack: dict, **more) -> set[Kind]:
    return {finding.kind for finding in verify_pack(pack, **more).findings}


def test_a_pack_proves_one_record_alone(pack: dict, signer: Signer):
    """Facts, proofs, checkpoint and texts hold with nothing else at hand, and a closed record has no caveat."""
    report = verify_pack(json.dumps(pack), public_key=signer.vkey)
    assert report.ok, report.findings
    assert (len(pack["facts"]), report.size, report.texts, report.caveats) == (4, 7, 1, ())
    assert next(iter(pack["texts"].values()))["text"] == "the tax office"


def test_a_tampered_pack_is_found(pack: dict, signer: Signer):
    """Altered, dropped and exchanged facts, another's fact, another text, a strange or foreign checkpoint."""

    def changed(change) -> dict:
        copy = json.loads(json.dumps(pack))
        change(copy)
        return copy

    def set_type(copy: dict) -> None:
        copy["facts"][1]["fact"]["type"] = "change.approved"

    def swap(copy: dict) -> None:
        copy["facts"][0], copy["facts"][1] = copy["facts"][1], copy["facts"][0]

    def other_text(copy: dict) -> None:
        next(iter(copy["texts"].values()))["text"] = "no reason"

    assert _kinds(changed(set_type)) == {Kind.PROOF_WRONG}
    assert Kind.SUBJECT_GAP in _kinds(changed(lambda copy: copy["facts"].pop(1)))
    assert Kind.ENTRY_REORDERED in _kinds(changed(swap))
    assert Kind.SUBJECT_WRONG in _kinds(changed(lambda copy: copy.update(subject="chg_2")))
    assert _kinds(changed(other_text)) == {Kind.TEXT_ALTERED}
    assert Kind.CHECKPOINT_MALFORMED in _kinds(changed(lambda copy: copy.update(checkpoint="junk")))
    assert Kind.CHECKPOINT_MALFORMED in _kinds(changed(lambda copy: copy.update(log_id="log_other")))
    stranger = Signer(name=signer.key.name, seed=bytes(32))
    assert _kinds(pack, public_key=stranger.vkey) == {Kind.CHECKPOINT_SIGNATURE}
    cut = verify_pack(changed(lambda copy: copy["facts"].pop()), public_key=signer.vkey)
    assert any("left off its end" in caveat for caveat in cut.caveats)


def test_a_pack_says_what_it_leaves_out(store: Store, journal: Journal, checkpoints: Checkpoints, pack: dict):
    """Facts after the checkpoint are counted, an erased text is absent, texts can be left off."""
    _record(store, journal, subject="chg_3")
    with store.read() as connection, pytest.raises(Refused) as told:
        evidence(connection, "chg_3")
    assert told.value.code == "not-yet-proven"
    checkpoints.write_now()
    _record(store, journal, subject="chg_3")
    with store.read() as connection:
        assert evidence(connection, "chg_3")["later"] == 1
        assert evidence(connection, "chg_1", texts=False)["texts"] == {}
    with store.write() as tx:
        journal.erase_text(tx, next(iter(pack["texts"])))
    with store.read() as connection:
        again = evidence(connection, "chg_1")
    assert again["texts"] == {}
    assert verify_pack(again).ok


def test_what_is_no_pack_is_refused(store: Store, journal: Journal):
    """Other JSON is refused, and so is a subject nobody recorded anything about."""
    for junk in ("[]", "{}", '{"kind": "evidence"}', "nonsense"):
        with pytest.raises(Invalid):
            verify_pack(junk)
    with store.read() as connection, pytest.raises(NotFound):
        evidence(connection, "chg_none")
