"""The commands of deciding against the real API: explain, weigh, comment, choose a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.faces.api.desk import CHANGE

from airboss.faces.cli.exit_codes import Exit


@pytest.fixture
def proposed(airboss: Any, become: Any, tmp_path: Path) -> str:
    """A change that waits for another person."""
    become("dev-a")
    path = tmp_path / "change.yaml"
    path.write_text(CHANGE)
    return str(airboss("change", "submit", str(path), "--no-wait", "--json").json()["id"])


def test_a_decision_is_explained(airboss: Any, proposed: str) -> None:
    """It ends with 4 while people are asked, says who clears it, and with --all what the quiet rules read."""
    told = airboss("policy", "explain", proposed[-8:])
    assert told.code == Exit.WAITING, told.err
    assert "clears it: approval of 1 of service-owners" in told.out
    assert "+ airboss-default/ORDINARY [set_tier]" in told.out
    assert "STATEFUL" not in told.out
    assert "- airboss-default/STATEFUL" in airboss("policy", "explain", proposed, "--all").out
    made = airboss("policy", "explain", proposed, "--json").json()
    assert airboss("policy", "explain", proposed, "--decision", made["decisions"][0]["id"]).code == Exit.WAITING
    assert airboss("policy", "explain", proposed, "--decision", "dec_none").code == Exit.NOT_FOUND


def test_an_approver_weighs_comments_and_decides(airboss: Any, become: Any, proposed: str) -> None:
    """Everything on one screen; a comment, an abstention and a stale-free vote, each in a command."""
    become("dev-b")
    seen = airboss("change", "approval", proposed)
    assert seen.code == Exit.OK, seen.err
    for words in ("Risk: medium", "Reach: 40 % of users", "Way back: flag back to off", "Approval: Waits for"):
        assert words in seen.out
    assert airboss("comment", proposed, "why now?").code == Exit.OK
    assert airboss("abstain", proposed).code == Exit.OK
    assert airboss("approve", proposed).code == Exit.OK
    votes = airboss("change", "show", proposed, "--json").json()["approval"]["votes"]
    assert [one["verdict"] for one in votes] == ["comment", "abstain", "approve"]


def test_a_profile_is_tried_and_chosen(airboss: Any, become: Any, proposed: str) -> None:
    """A dry run lists what would differ and changes nothing; an engineer may look and not choose."""
    assert airboss("policy", "profile").out.startswith("in force: intermediate; there are beginner, ")
    assert airboss("policy", "profile", "regulated").code == Exit.FORBIDDEN
    become("admin")
    tried = airboss("policy", "profile", "regulated", "--dry-run")
    assert tried.code == Exit.OK, tried.err
    assert "intermediate -> regulated: would be changed" in tried.out
    assert airboss("policy", "profile", "--json").json()["profile"] == "intermediate"
    assert airboss("policy", "profile", "regulated").code == Exit.OK
    assert airboss("policy", "profile", "--json").json()["profile"] == "regulated"
    assert airboss("policy", "profile", "strict").code == Exit.NOT_FOUND
    assert airboss("policy", "explain", proposed).code in (Exit.WAITING, Exit.REFUSED)
