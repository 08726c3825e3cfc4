"""The API under Schemathesis for a short while; `python -m tests.fuzz.openapi --seconds 1500` tries for longer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.fuzz import openapi


def test_nothing_is_found_in_a_short_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bodies and queries that fit their shape and such that do not: no fault of ours, no answer but those described."""
    more = ["--", "--phases", "fuzzing", "--no-shrink"]
    monkeypatch.setattr(sys, "argv", ["openapi", "--seconds", "15", "--examples", "2", "--keep", str(tmp_path), *more])
    assert openapi.main() == 0, capfd.readouterr().out[-4000:]
    assert "Traceback" not in (tmp_path / "server.log").read_text()
