"""The commands of deciding against the real API: explain, weigh, comment, choose a profile."""

from __future__ import annotations

import json
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


def test_a_vote_that_may_not_be_says_why_once(airboss: Any, become: Any, proposed: str, tmp_path: Path) -> None:
    """By its author, by who is not asked, on what was edited since, without a reason, on an ended change: one problem of
    three lines each, with a code of its own and the exit code that says what to do; nothing is counted.
    """

    def refused(code: str, exit_code: Exit, *words: str) -> str:
        told = airboss(*words)
        lines = told.err.splitlines()
        assert (told.code, told.out, len(lines)) == (exit_code, "", 3), told.err
        assert f"({code})" in lines[0]
        assert lines[2].startswith("  Way out: ")
        machine = airboss(*words, "--json")
        assert (machine.code, machine.out, json.loads(machine.err)["code"]) == (exit_code, "", code)
        return str(told.err)

    assert "dev-a requested and wrote this change" in refused("own-change", Exit.FORBIDDEN, "approve", proposed)
    become("admin")
    refused("not-among-those-asked", Exit.FORBIDDEN, "approve", proposed)
    become("dev-b")
    refused("reason-missing", Exit.USAGE, "reject", proposed)
    assert airboss("change", "approval", proposed).code == Exit.OK
    become("dev-a")
    edited = tmp_path / "edited.yaml"
    edited.write_text(CHANGE.replace("users_percent: 40", "users_percent: 45"))
    assert airboss("change", "edit", proposed, str(edited)).code == Exit.OK
    become("dev-b")
    assert "airboss change approval" in refused("change-moved-on", Exit.STALE, "approve", proposed)
    refused("change-moved-on", Exit.STALE, "approve", proposed, "--seen", "sha256:" + "0" * 64)
    assert "users_percent: 40 -> 45" in airboss("change", "approval", proposed).out
    assert airboss("ask", proposed, "-m", "why 45?").code == Exit.OK
    again = airboss("ask", proposed, "-m", "why 45?")
    assert again.code in (Exit.OK, Exit.REFUSED)
    votes = airboss("change", "show", proposed, "--json").json()["approval"]["votes"]
    assert [(one["person"], one["verdict"]) for one in votes] == [("dev-b", "ask")]
    become("dev-a")
    assert airboss("change", "cancel", proposed, "-m", "not now").code == Exit.OK
    become("dev-b")
    refused("no-approval-asked", Exit.REFUSED, "approve", proposed)
    refused("change-not-found", Exit.NOT_FOUND, "approve", "chg_01ke6p4ym0aaaaaaaaaaaaaaaa")


def test_the_same_vote_twice_is_one_vote(airboss: Any, become: Any, proposed: str) -> None:
    """Both end with 0, as a repeated press does, and one is counted."""
    become("dev-b")
    assert [airboss("abstain", proposed).code for _ in range(2)] == [Exit.OK, Exit.OK]
    votes = airboss("change", "show", proposed, "--json").json()["approval"]["votes"]
    assert [one["verdict"] for one in votes] == ["abstain"]
