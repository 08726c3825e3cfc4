"""Somebody with the database's password: whatever they change, `airboss audit verify` finds it and names it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from airboss.faces.cli.exit_codes import Exit

LAST = "(SELECT max(position) FROM entry)"
TAMPERINGS = {
    "entry altered": (
        "entry-altered",
        ["UPDATE fact SET stored = replace(stored, 'change.submitted', 'change.submitteD')"],
    ),
    "entry dropped": ("entry-dropped", ["DELETE FROM entry WHERE position = 3"]),
    "entries reordered": (
        "entry-reordered",
        [
            "CREATE TEMPORARY TABLE kept AS SELECT position, fact_id, leaf FROM entry WHERE position IN (2, 3)",
            "DELETE FROM entry WHERE position IN (2, 3)",
            "INSERT INTO entry (position, fact_id, leaf) SELECT 5 - position, fact_id, leaf FROM kept",
        ],
    ),
    "entry added": (
        "entry-added",
        [
            "CREATE TEMPORARY TABLE added AS SELECT * FROM fact WHERE fact_id = (SELECT fact_id FROM entry WHERE position = 3)",
            "UPDATE added SET fact_id = 'fct_01ke6p4ym0aaaaaaaaaaaaaaaa', subject_seq = 900",
            "INSERT INTO fact SELECT * FROM added",
            (
                f"INSERT INTO entry (position, fact_id, leaf) SELECT {LAST} + 1, 'fct_01ke6p4ym0aaaaaaaaaaaaaaaa', "
                "(SELECT leaf FROM entry WHERE position = 3)"
            ),
        ],
    ),
    "state row altered": ("state-wrong", ["UPDATE change SET phase = 'approved'"]),
}


def _tamper(record: Path, statements: list[str]) -> None:
    database = sqlite3.connect(record / "airboss.db")
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


@pytest.mark.parametrize("how", TAMPERINGS)
def test_what_was_done_to_the_record_is_named(airboss: Any, record: Path, how: str) -> None:
    """It ends with 11 and says the kind of every fault, and where; for people in a sentence."""
    wanted, statements = TAMPERINGS[how]
    assert airboss("audit", "verify", str(record)).code == Exit.OK
    _tamper(record, statements)
    told = airboss("audit", "verify", str(record), "--json")
    assert told.code == Exit.DAMAGED
    found = {finding["kind"]: finding for finding in told.json()["findings"]}
    assert wanted in found, sorted(found)
    assert found[wanted]["place"]
    words = airboss("audit", "verify", str(record))
    assert words.code == Exit.DAMAGED
    assert wanted in words.out + words.err
    assert "Traceback" not in words.out + words.err


def test_a_cut_tail_is_named_with_a_checkpoint_that_was_kept_elsewhere(airboss: Any, become: Any, record: Path) -> None:
    """The last entries and what they left are gone without a seam; the note kept elsewhere says there was more."""
    become("dev-a")
    kept = record / "kept"
    kept.write_text(airboss("audit", "checkpoint").out)
    _tamper(record, [f"DELETE FROM entry WHERE position > {LAST} - 2", "DELETE FROM checkpoint"])
    told = airboss("audit", "verify", str(record), "--checkpoint", str(kept), "--json")
    assert told.code == Exit.DAMAGED
    assert "tail-cut" in {finding["kind"] for finding in told.json()["findings"]}
