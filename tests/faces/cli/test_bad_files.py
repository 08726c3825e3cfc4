"""Every fault of a file on the command line: one clear error with place and way out, nothing changed, nothing lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.faces.api.desk import Desk
from tests.faces.bad_files import BAD, STOCK, Bad

from airboss.faces.cli.exit_codes import Exit


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_what_is_written_wrong_is_told_in_a_few_lines(
    desk: Desk, airboss: Any, become: Any, tmp_path: Path, bad: Bad
) -> None:
    """The code, the place in the file of the person who asks, the reason and the way out; no stack trace, no change."""
    assert desk.apply(STOCK).status_code == 200
    become("admin" if bad.applied else "dev-a")
    path = tmp_path / "bad.yaml"
    path.write_text(bad.text)
    before = airboss("change", "list", "--json").json()
    told = airboss("apply", "-f", str(path)) if bad.applied else airboss("change", "submit", str(path), "--no-wait")
    assert told.code in (Exit.USAGE, Exit.REFUSED), told
    assert bad.code in told.err
    assert "Way out: " in told.err
    assert re.search(r"bad\.yaml:\d+:\d+", told.err), told.err
    assert "Traceback" not in told.err + told.out
    assert len(told.err.strip().splitlines()) <= 12, told.err
    after = airboss("change", "list", "--json").json()
    assert len(after["items"]) - len(before["items"]) == (1 if bad.draft else 0)
    assert path.read_text() == bad.text
