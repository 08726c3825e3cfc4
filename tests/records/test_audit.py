"""The audit on both databases: an honest journal passes, and every kind of tampering is found and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from tests.records.tampering import tamper

from airboss.kernel.errors import Invalid, Unavailable
from airboss.records.audit import Checkpoints, Kind, Report, Signer, export, latest, origin, verify
from airboss.records.journal import Fact, Journal, entry, fact, leaf_hash
from airboss.records.store import Store
from airboss.testing import ManualClock, SeededChance

STATES = {"chg_0": "sha256:" + "a" * 64, "chg_1": "sha256:" + "b" * 64}


def _states(_: sa.Connection) -> Iterator[tuple[str, str]]:
    yield from STATES.items()


@pytest.fixture
def signer(store: Store, journal: Journal, tmp_path: Path) -> Signer:
    return Signer.load(tmp_path / "journal.key", name=origin(journal.open()), chance=SeededChance(9))


@pytest.fixture
def checkpoints(store: Store, signer: Signer, clock: ManualClock, tmp_path: Path) -> Checkpoints:
    return Checkpoints(store, signer, clock=clock, file=tmp_path / "checkpoints")


def _record(store: Store, journal: Journal, subject: str, **more) -> None:
    with store.write() as tx:
        journal.record(tx, Fact(subject=subject, type="change.tested", actor="system", **more))


@pytest.fixture
def story(store: Store, journal: Journal, checkpoints: Checkpoints, clock: ManualClock) -> Store:
    """Twelve facts about three subjects with a checkpoint in the middle and one at the end; chg_2 is closed."""
    with store.write() as tx:
        reference = journal.text(tx, "because of the tax office")
    for turn in range(12):
        name = f"chg_{turn % 3}"
        digest = {9: STATES["chg_0"], 10: STATES["chg_1"]}.get(turn)
        body = {"turn": turn, **({"reason": reference} if turn == 4 else {})}
        _record(store, journal, name, body=body, state_digest=digest, closes=turn == 11)
        clock.advance(1)
        if turn == 5:
            checkpoints.write_due()
    checkpoints.write_due()
    return store


@pytest.fixture
def look(story: Store, store_url: str, signer: Signer):
    """Verify the story's database from outside, with the public key and the states."""

    def verified(**more) -> Report:
        return verify(store_url, **{"public_key": signer.vkey, "state_digests": _states, **more})

    return verified


def kinds(report: Report) -> set[Kind]:
    return {finding.kind for finding in report.findings}


def places(report: Report, kind: Kind) -> list[str]:
    return [finding.place for finding in report.findings if finding.kind is kind]


def test_an_honest_journal_passes(look, story: Store, signer: Signer):
    """Nothing is found, and the report says how much it looked at and what it could not have found."""
    with story.read() as connection:
        note = latest(connection).note
    report = look(checkpoint_note=note)
    assert report.ok, report.findings
    assert (report.size, report.subjects, report.states, report.texts, report.pending) == (12, 3, 2, 1, 0)
    assert (report.checkpoints, report.signatures, report.caveats) == (3, 3, ())
    assert len(look(public_key=None).caveats) == 2
    assert json.loads(json.dumps(report.as_json()))["ok"] is True


def test_facts_that_wait_for_their_position_are_no_fault(look, story: Store, journal: Journal):
    """Between commit and numbering a fact waits; the audit counts it and finds nothing."""
    if story.dialect == "sqlite":
        pytest.skip("numbered in the same commit there")
    story.attach_sequencer(lambda _: 0)
    _record(story, journal, "chg_1", state_digest=STATES["chg_1"])
    report = look()
    assert (report.ok, report.pending) == (True, 1)
    tamper(story, "UPDATE fact SET stored = stored || ' '::bytea WHERE subject_seq = 5")
    assert Kind.ENTRY_ALTERED in kinds(look())


@pytest.mark.parametrize("table", ["fact", "entry"])
@pytest.mark.parametrize("act", ["UPDATE {} SET fact_id = fact_id", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_rewrite(store: Store, journal: Journal, table: str, act: str):
    """`fact` and `entry` may only grow: UPDATE and DELETE are refused by trigger, and the facts stay."""
    _record(store, journal, "chg_1")
    with pytest.raises(IntegrityError, match="insert-only"), store.write() as tx:
        tx.execute(sa.text(act.format(table)))
    with store.read() as connection:
        assert journal.size(connection) == len(journal.read(connection)) == 1


def test_a_replace_or_a_truncate_is_refused_too(store: Store, journal: Journal):
    """The side doors are shut: INSERT OR REPLACE on SQLite, TRUNCATE on PostgreSQL."""
    _record(store, journal, "chg_1")
    statement = (
        "INSERT OR REPLACE INTO entry SELECT position, fact_id, x'00' FROM entry"
        if store.dialect == "sqlite"
        else "TRUNCATE entry"
    )
    with pytest.raises(IntegrityError, match="insert-only"), store.write() as tx:
        tx.execute(sa.text(statement))


def _fact_at(store: Store, position: int):
    with store.read() as connection:
        return connection.execute(
            sa.select(entry.c.position, fact)
            .join(fact, fact.c.fact_id == entry.c.fact_id)
            .where(entry.c.position == position)
        ).one()


def test_an_altered_fact_is_found(look, story: Store):
    """One byte of a stored fact changed."""
    row = _fact_at(story, 4)
    tamper(
        story,
        "UPDATE fact SET stored = :changed WHERE fact_id = :id",
        changed=row.stored.replace(b'"turn":4', b'"turn":7'),
        id=row.fact_id,
    )
    report = look()
    assert places(report, Kind.ENTRY_ALTERED) == ["position 4"]
    assert places(report, Kind.CHECKPOINT_ROOT) == ["positions 0 to 5"]


def test_a_fact_altered_with_its_leaf_is_found_by_the_signed_roots(look, story: Store):
    """Who also mends the leaf is caught by the head and by the checkpoint, which names the stretch."""
    row = _fact_at(story, 8)
    changed = row.stored.replace(b'"turn":8', b'"turn":7')
    tamper(
        story,
        "UPDATE fact SET stored = :changed WHERE fact_id = :id",
        "UPDATE entry SET leaf = :leaf WHERE fact_id = :id",
        changed=changed,
        leaf=leaf_hash(changed),
        id=row.fact_id,
    )
    report = look()
    assert kinds(report) == {Kind.HEAD_WRONG, Kind.CHECKPOINT_ROOT}
    assert places(report, Kind.CHECKPOINT_ROOT) == ["positions 6 to 11"]


def test_a_dropped_fact_is_found(look, story: Store):
    """The fact gone, its entry left."""
    tamper(story, "DELETE FROM fact WHERE fact_id = :id", id=_fact_at(story, 3).fact_id)
    report = look()
    assert places(report, Kind.FACT_DROPPED) == ["position 3"]
    assert places(report, Kind.SUBJECT_GAP) == ["chg_0"]


def test_a_dropped_entry_is_found(look, story: Store):
    """The entry gone, its fact left."""
    tamper(story, "DELETE FROM entry WHERE position = 3")
    report = look()
    assert places(report, Kind.ENTRY_DROPPED) == ["position 3"]
    assert Kind.FACT_UNNUMBERED in kinds(report)


def test_a_fact_and_its_entry_dropped_with_positions_closed_up_are_found(look, story: Store):
    """Who removes both and renumbers the rest leaves a gap in the subject, a wrong head and a wrong checkpoint."""
    row = _fact_at(story, 3)
    tamper(
        story,
        "DELETE FROM entry WHERE position = 3",
        "DELETE FROM fact WHERE fact_id = :id",
        *(f"UPDATE entry SET position = {n - 1} WHERE position = {n}" for n in range(4, 12)),
        "UPDATE head SET size = 11",
        id=row.fact_id,
    )
    report = look()
    assert places(report, Kind.SUBJECT_GAP) == ["chg_0"]
    assert {Kind.HEAD_WRONG, Kind.CHECKPOINT_ROOT} <= kinds(report)


def test_exchanged_entries_are_found(look, story: Store):
    """Two entries of one subject exchanged: the later number lies before the earlier."""
    tamper(
        story,
        "UPDATE entry SET position = 100 WHERE position = 3",
        "UPDATE entry SET position = 3 WHERE position = 6",
        "UPDATE entry SET position = 6 WHERE position = 100",
    )
    report = look()
    assert places(report, Kind.ENTRY_REORDERED) == ["position 6"]
    assert {Kind.HEAD_WRONG, Kind.CHECKPOINT_ROOT} <= kinds(report)


def test_exchanged_entries_of_two_subjects_are_found(look, story: Store):
    """No subject's numbers are out of line, so the roots tell, and name the stretch."""
    tamper(
        story,
        "UPDATE entry SET position = 100 WHERE position = 7",
        "UPDATE entry SET position = 7 WHERE position = 8",
        "UPDATE entry SET position = 8 WHERE position = 100",
    )
    report = look()
    assert kinds(report) == {Kind.HEAD_WRONG, Kind.CHECKPOINT_ROOT}
    assert places(report, Kind.CHECKPOINT_ROOT) == ["positions 6 to 11"]


def test_an_added_fact_is_found(look, story: Store):
    """A fact slipped in without an entry; then with one beyond the head."""
    row = _fact_at(story, 0)
    stored = row.stored.replace(row.fact_id.encode(), b"fct_forged").replace(b'"subject_seq":1', b'"subject_seq":5')
    values = {"stored": stored, "leaf": leaf_hash(stored), "at": 1_000_000}
    tamper(
        story,
        "INSERT INTO fact (fact_id, subject, subject_seq, type, at, stored) "
        "VALUES ('fct_forged', 'chg_0', 5, 'change.tested', :at, :stored)",
        **values,
    )
    report = look()
    assert places(report, Kind.FACT_UNNUMBERED) == ["fact fct_forged"]
    assert Kind.SUBJECT_WRONG in kinds(report)
    tamper(story, "INSERT INTO entry (position, fact_id, leaf) VALUES (12, 'fct_forged', :leaf)", **values)
    report = look()
    assert places(report, Kind.ENTRY_ADDED) == ["position 12"]
    assert Kind.FACT_MISLABELLED in kinds(report)


def test_a_fact_after_the_closing_one_is_found(look, story: Store, journal: Journal):
    """Who reopens a closed subject and records on is found, for the closing fact said how many there are."""
    tamper(
        story, f"UPDATE subject SET closed = {'0' if story.dialect == 'sqlite' else 'false'} WHERE subject = 'chg_2'"
    )
    assert places(look(), Kind.SUBJECT_WRONG) == ["chg_2"]
    _record(story, journal, "chg_2")
    report = look()
    assert places(report, Kind.SUBJECT_CONTINUED) == ["position 12"]


def test_changed_columns_beside_the_bytes_are_found(look, story: Store):
    """The columns for looking up must say what the bytes say, each of them."""
    for number, change in enumerate(("type = 'change.other'", "at = at + 1", "subject = 'chg_9'", "subject_seq = 77")):
        tamper(story, f"UPDATE fact SET {change} WHERE fact_id = :id", id=_fact_at(story, number).fact_id)
    assert places(look(), Kind.FACT_MISLABELLED) == [f"position {number}" for number in range(4)]


def test_facts_of_another_log_or_unreadable_ones_are_found(look, story: Store):
    """Bytes from elsewhere, and bytes that are no fact."""
    rows = [_fact_at(story, number) for number in (1, 2)]
    tamper(
        story,
        "UPDATE fact SET stored = :foreign WHERE fact_id = :first",
        "UPDATE fact SET stored = :junk WHERE fact_id = :second",
        foreign=rows[0].stored.replace(b'"log_id":"log_', b'"log_id":"gol_'),
        first=rows[0].fact_id,
        junk=b"{",
        second=rows[1].fact_id,
    )
    report = look()
    assert places(report, Kind.FACT_OF_ANOTHER_LOG) == ["position 1"]
    assert places(report, Kind.FACT_UNREADABLE) == ["position 2"]
    assert Kind.ENTRY_ALTERED in kinds(report)


def test_a_wrong_head_is_found(look, story: Store):
    """A damaged right edge, a size too large, and no head at all."""
    tamper(story, "UPDATE head SET frontier = :edge", edge=bytes(64))
    assert kinds(look()) == {Kind.HEAD_WRONG}
    tamper(story, "UPDATE head SET size = 14")
    assert places(look(), Kind.ENTRY_DROPPED) == ["positions 12 to 13"]
    tamper(story, "DELETE FROM head")
    assert kinds(look()) == {Kind.HEAD_WRONG}


def test_a_checkpoint_of_a_strange_key_is_found(look, story: Store, signer: Signer):
    """A key that is not the one trusted signed the checkpoints."""
    other = Signer(name=signer.key.name, seed=bytes(32))
    assert kinds(look(public_key=other.vkey)) == {Kind.CHECKPOINT_SIGNATURE}
    assert look(public_key=[other.vkey, signer.vkey]).ok


def test_changed_checkpoints_are_found(look, story: Store):
    """A note whose text was changed after signing, one that is none, and a row that misstates its note's size."""
    with story.read() as connection:
        note = latest(connection).note
    tamper(story, "UPDATE checkpoint SET note = :note WHERE number = 2", note=note.replace(b"\n12\n", b"\n11\n"))
    assert places(look(), Kind.CHECKPOINT_SIGNATURE) == ["checkpoint 2"]
    tamper(story, "UPDATE checkpoint SET note = :note WHERE number = 2", note=b"junk")
    assert places(look(), Kind.CHECKPOINT_MALFORMED) == ["checkpoint 2"]
    tamper(story, "UPDATE checkpoint SET note = :note, size = 9 WHERE number = 2", note=note)
    assert places(look(), Kind.CHECKPOINT_MALFORMED) == ["checkpoint 2"]


def _cut(story: Store, size: int) -> None:
    """Remove everything from a position on as carefully as one can, with heads, subjects and checkpoints mended."""
    from airboss.records.journal import Frontier

    with story.read() as connection:
        rows = connection.execute(
            sa.select(entry.c.position, entry.c.leaf, fact.c.fact_id).join(fact, fact.c.fact_id == entry.c.fact_id)
        ).all()
    gone = ", ".join(f"'{row.fact_id}'" for row in rows if row.position >= size)
    tree = Frontier().extended([row.leaf for row in sorted(rows)[:size]])
    closed = "0" if story.dialect == "sqlite" else "false"
    tamper(
        story,
        f"DELETE FROM entry WHERE position >= {size}",
        f"DELETE FROM fact WHERE fact_id IN ({gone})",
        f"UPDATE head SET size = {size}, frontier = :edge",
        f"DELETE FROM checkpoint WHERE size > {size}",
        "UPDATE subject SET state_digest = NULL, "
        "seq = (SELECT max(f.subject_seq) FROM fact f WHERE f.subject = subject.subject)",
        f"UPDATE subject SET closed = {closed}",
        edge=tree.stored(),
    )


def test_a_cut_tail_is_found_with_a_checkpoint_kept_elsewhere(look, story: Store, checkpoints: Checkpoints, tmp_path):
    """The end removed with all traces mended: nothing inside tells, and the caveat says so; the file kept beside does."""
    _cut(story, 9)
    blind = look(state_digests=())
    assert blind.ok
    assert any("cut-off tail" in caveat for caveat in blind.caveats)
    report = look(checkpoint_note=(tmp_path / "checkpoints").read_bytes(), state_digests=())
    assert places(report, Kind.TAIL_CUT) == ["positions 9 to 11"]


def test_a_cut_tail_is_found_by_the_states_it_leaves(look, story: Store):
    """Rows that have moved on past the last fact left tell of a cut, even without a checkpoint."""
    _cut(story, 9)
    assert places(look(), Kind.STATE_WRONG) == ["chg_0", "chg_1"]


def test_a_tail_cut_without_care_is_found(look, story: Store):
    """Only the last fact and entry removed: head, subject and stored checkpoint all tell."""
    row = _fact_at(story, 11)
    tamper(story, "DELETE FROM entry WHERE position = 11", "DELETE FROM fact WHERE fact_id = :id", id=row.fact_id)
    report = look()
    assert {Kind.ENTRY_DROPPED, Kind.SUBJECT_SHORT, Kind.TAIL_CUT} <= kinds(report)
    assert places(report, Kind.SUBJECT_SHORT) == ["chg_2"]


def test_a_state_changed_past_the_journal_is_found(look):
    """A state row that is not what its last fact says; one without facts; one that was removed."""
    wrong = {"chg_0": "sha256:" + "f" * 64, "chg_7": "sha256:" + "0" * 64}
    report = look(state_digests=lambda _: wrong.items())
    assert sorted(places(report, Kind.STATE_WRONG)) == ["chg_0", "chg_1", "chg_7"]
    assert "was removed" in next(str(each) for each in report.findings if each.place == "chg_1")


def test_a_subject_row_that_disagrees_with_its_facts_is_found(look, story: Store):
    """Its digest changed, its count too low, its row removed."""
    tamper(story, "UPDATE subject SET state_digest = 'sha256:0' WHERE subject = 'chg_0'")
    assert places(look(), Kind.STATE_WRONG) == ["chg_0"]
    tamper(story, "UPDATE subject SET seq = 2 WHERE subject = 'chg_0'")
    assert places(look(), Kind.SUBJECT_WRONG) == ["chg_0"]
    tamper(story, "DELETE FROM subject WHERE subject = 'chg_0'")
    assert places(look(), Kind.SUBJECT_WRONG) == ["chg_0"]


def test_texts_are_checked_and_may_be_erased(look, story: Store, journal: Journal):
    """Erasing a text is no finding; changing one or removing its row is."""
    tamper(story, "UPDATE blob SET bytes = :words", words=b"because of the weather")
    assert kinds(look()) == {Kind.TEXT_ALTERED}
    with story.read() as connection:
        reference = journal.of(connection, "chg_1")[1].body["reason"]
    with story.write() as tx:
        journal.erase_text(tx, reference)
    assert look().ok
    tamper(story, "DELETE FROM blob")
    assert places(look(), Kind.TEXT_MISSING) == [reference]


# -- exports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(story: Store, tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    with story.read() as connection, path.open("wb") as out:
        assert export(connection, out) == 12
    return path


def test_an_export_verifies_without_the_database(exported: Path, signer: Signer, look):
    """The file alone gives the same root as the database, and nothing is found."""
    report = verify(exported, public_key=signer.vkey)
    assert report.ok, report.findings
    assert (report.size, report.root, report.checkpoints) == (12, look().root, 2)


def test_a_reformatted_export_still_verifies(exported: Path, signer: Signer):
    """Another tool may write the lines anew, with other spaces and key order: the canonical bytes are the same."""
    lines = [json.dumps(dict(reversed(json.loads(line).items()))) for line in exported.read_text().splitlines()]
    exported.write_text("\n".join(lines) + "\n")
    report = verify(exported, public_key=signer.vkey)
    assert report.ok, report.findings
    assert report.size == 12


def test_a_tampered_export_is_found(exported: Path, signer: Signer):
    """Altered, dropped, exchanged and cut lines, each found and named."""
    lines = exported.read_bytes().splitlines(keepends=True)

    def found(*changed: bytes) -> Report:
        exported.write_bytes(b"".join(changed))
        return verify(exported, public_key=signer.vkey)

    altered = found(*lines[:5], lines[5].replace(b'"turn":4', b'"turn":9'), *lines[6:])
    assert places(altered, Kind.CHECKPOINT_ROOT) == ["positions 0 to 5"]
    dropped = found(*lines[:5], *lines[6:])
    assert places(dropped, Kind.ENTRY_DROPPED) == ["position 4"]
    exchanged = found(*lines[:5], lines[6], lines[5], *lines[7:])
    assert Kind.ENTRY_REORDERED in kinds(exchanged)
    cut = found(*lines[:10])
    assert Kind.TAIL_CUT in kinds(cut)
    without_end = found(*lines[:-1])
    assert kinds(without_end) == {Kind.TAIL_CUT}


# -- what is given to verify -----------------------------------------------------------------------------------------


def test_a_source_that_is_none_is_refused(tmp_path: Path):
    """A path that does not exist, a file of another kind, a database that is away: refused with the way out."""
    with pytest.raises(Invalid):
        verify(tmp_path / "nothing.db")
    (tmp_path / "letter.txt").write_text("Dear auditor")
    with pytest.raises(Invalid):
        verify(tmp_path / "letter.txt")
    with pytest.raises(Unavailable):
        verify("postgresql://nobody@127.0.0.1:1/none")


def test_a_database_that_is_none_of_ours_is_refused(tmp_path: Path):
    """An SQLite file of another program is refused as a whole."""
    import sqlite3

    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE notes (words TEXT)")
    other.commit()
    other.close()
    with pytest.raises(Unavailable):
        verify(tmp_path / "other.db")


def test_a_read_only_copy_is_verified(look, story: Store, signer: Signer, tmp_path: Path):
    """A closed database copied to where nothing may be written is verified, and left without a trace."""
    if story.dialect != "sqlite":
        pytest.skip("a file only there")
    source = Path(story.url.database)
    story.close()
    folder = tmp_path / "archive"
    folder.mkdir()
    copy = folder / "copy.db"
    copy.write_bytes(source.read_bytes())
    copy.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert verify(copy, public_key=signer.vkey).ok
    finally:
        folder.chmod(0o700)
