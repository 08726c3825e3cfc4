"""The commands against the real API: what they do, what they say, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.faces.api.desk import CHANGE

from airboss.faces.cli.client import Api
from airboss.faces.cli.config import Reach
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import WAY

SUMMARY = {
    *("id", "version", "phase", "outcome", "title", "kind", "services", "owner_team", "sentence", "attempt"),
    *("created_at", "updated_at", "submitted_at", "started_at", "ended_at", "owner", "requester", "tier"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A change of medium risk, as its team wrote it."""
    path = tmp_path / "change.yaml"
    path.write_text(CHANGE)
    return path


def _propose(airboss: Any, file: Path) -> str:
    ran = airboss("change", "submit", str(file), "--no-wait", "--json")
    assert ran.code == Exit.WAITING, ran.err
    return str(ran.json()["id"])


def test_a_change_waits_for_another_person_and_goes_on(airboss, become, file):
    """Submitting ends with 4 while people are asked; another person's vote lets it go on, its own author's does not."""
    become("dev-a")
    id_ = _propose(airboss, file)
    mine = airboss("approve", id_[-8:])
    assert mine.code in (Exit.FORBIDDEN, Exit.REFUSED)
    told = airboss("inbox", "--json").json()
    assert told["items"] == []
    assert [one["change"]["id"] for one in told["others"]] == [id_]
    become("dev-b")
    waiting = airboss("inbox", "--json").json()["items"]
    assert [item["change"]["id"] for item in waiting] == [id_]
    assert id_[-8:] in airboss("inbox").out
    voted = airboss("approve", id_[-8:], "-m", "looks right")
    assert voted.code == Exit.OK, voted.err
    assert voted.out.splitlines()[-1].endswith(f"/changes/{id_}")
    shown = airboss("change", "show", id_, "--json").json()
    assert shown["phase"] == "rolling_out"
    assert airboss("change", "submit", id_, "--timeout", "0").code == Exit.REFUSED


def test_a_rejected_change_ends_with_3(airboss, become, file):
    """A no is told by the exit code to whoever waits for the decision."""
    become("dev-a")
    id_ = _propose(airboss, file)
    become("dev-b")
    assert airboss("reject", id_, "-m", "not before Christmas").code == Exit.OK
    watched = airboss("change", "watch", id_, "--json")
    assert watched.code == Exit.REFUSED
    assert watched.json()["outcome"] == "rejected"


def test_a_low_risk_change_may_go_on_at_once(airboss, become, tmp_path):
    """What policy clears ends with 0, and nobody was asked."""
    small = tmp_path / "small.yaml"
    small.write_text(CHANGE.replace("users_percent: 40", "users_percent: 5"))
    become("dev-a")
    ran = airboss("change", "submit", str(small))
    assert ran.code == Exit.OK, ran.err
    assert "/changes/chg_" in ran.out


def test_the_list_is_stable_for_programs_and_fits_for_people(airboss, become, file):
    """`--json` keeps its fields; the table fits 80 columns, has no colour when piped, and names each change by its end."""
    become("dev-a")
    id_ = _propose(airboss, file)
    items = airboss("change", "list", "--json").json()["items"]
    assert [set(item) for item in items] == [SUMMARY]
    table = airboss("change", "list").out
    assert id_[-8:] in table
    assert "awaiting approval" in table
    assert "\x1b" not in table
    assert max(map(len, table.splitlines())) <= 80
    assert airboss("change", "list", "--phase", "completed").out.startswith("No change yet.")


def test_the_page_of_a_change_is_drawn_and_its_facts_are_told(airboss, become, file):
    """`show` says state, sentence and address; `facts` tells everything in order."""
    become("dev-a")
    id_ = _propose(airboss, file)
    shown = airboss("change", "show", id_[-8:])
    assert "awaiting approval" in shown.out
    assert "dev-b" in shown.out
    assert max(map(len, shown.out.splitlines()[:-1])) <= 80
    facts = airboss("change", "facts", id_, "--json").json()["items"]
    assert [fact["subject_seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert "Submitted for review" in airboss("change", "facts", id_).out


def test_orders_are_given_and_impossible_ones_say_what_is_possible(airboss, become, tmp_path):
    """Pause holds a ramp, rollback takes it back and ends with 0; afterwards there is nothing to order."""
    small = tmp_path / "small.yaml"
    small.write_text(CHANGE.replace("users_percent: 40", "users_percent: 5"))
    become("dev-a")
    id_ = airboss("change", "submit", str(small), "--json").json()["id"]
    paused = airboss("pause", id_, "-m", "lunch")
    assert paused.code == Exit.OK, paused.err
    assert paused.out.startswith("Pausing")
    assert airboss("change", "show", id_, "--json").json()["rollout"]["paused"] is True
    back = airboss("rollback", id_, "--json")
    assert back.code == Exit.OK
    assert back.json()["outcome"] == "rolled back"
    late = airboss("resume", id_)
    assert late.code == Exit.REFUSED
    assert len(late.err.splitlines()) == 3


def test_applying_says_what_became_of_each_document(airboss, become, tmp_path):
    """Applying a folder tells the outcome of each document; the same again changes nothing; one that is wrong is placed."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "team.yaml").write_text(
        "apiVersion: airboss/v1\nkind: Group\nmetadata: {name: sre}\nspec: {members: [dev-b]}\n"
    )
    become("admin")
    dry = airboss("apply", "-f", str(folder), "--dry-run", "--json").json()
    assert [set(one) for one in dry["results"]] == [{"kind", "name", "outcome", "warnings", "place"}]
    assert airboss("apply", "-f", str(folder)).code == Exit.OK
    again = airboss("apply", "-f", str(folder), "--json").json()
    assert [one["outcome"] for one in again["results"]] == ["unchanged"]
    (folder / "team.yaml").write_text(
        "apiVersion: airboss/v1\nkind: Group\nmetadata: {name: sre}\nspec: {member: []}\n"
    )
    wrong = airboss("apply", "-f", str(folder))
    assert wrong.code == Exit.USAGE
    assert "team.yaml:4:" in wrong.err
    assert airboss("apply", "-f", str(tmp_path / "not-there.yaml")).code == Exit.USAGE


def test_a_refused_change_among_applied_files_ends_with_3(airboss, become, tmp_path):
    """A change that cannot be submitted stays a draft, and the command says so by its code."""
    broken = tmp_path / "change.yaml"
    broken.write_text(CHANGE.replace("tax.engine", "no.such.flag"))
    become("dev-a")
    ran = airboss("apply", "-f", str(broken))
    assert ran.code == Exit.REFUSED
    assert "no.such.flag" in ran.out
    assert "draft" in ran.out


def test_a_short_name_must_name_one_change(airboss, become, file):
    """An ID is found by its end; a name of several is asked for more, one of none is not found."""
    become("dev-a")
    first, second = _propose(airboss, file), airboss("change", "submit", str(file), "--no-wait", "--json").json()["id"]
    assert airboss("change", "show", second[-6:], "--json").json()["id"] == second
    shared = first[: len(first) - len(first.removeprefix(_common(first, second)))]
    several = airboss("change", "show", shared)
    assert several.code == Exit.USAGE
    assert airboss("change", "show", "zzzzzzzz").code == Exit.NOT_FOUND


def _common(one: str, other: str) -> str:
    return one[: next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)]


def test_nobody_signed_in_is_told_how_to(airboss, desk):
    """Without a token the API is closed, and the way out is the command that opens it."""
    from tests.faces.cli.conftest import Turning

    WAY._api = Api(Reach(server="http://127.0.0.1:8700", token=None, source="nowhere"), transport=Turning(desk))
    ran = airboss("change", "list")
    assert ran.code == Exit.FORBIDDEN
    assert "airboss login" in ran.err


def test_a_server_that_is_away_is_told_apart(airboss):
    """Nothing happened, and the code says so; for programs the problem is one line of JSON."""
    WAY._api = Api(Reach(server="http://127.0.0.1:9", token=None, source="nowhere"))
    assert airboss("change", "list").code == Exit.UNAVAILABLE
    ran = airboss("change", "list", "--json")
    told = json.loads(ran.err)
    assert set(told) == {"code", "detail", "place", "way_out", "exit_code"}
    assert told["exit_code"] == Exit.UNAVAILABLE


def test_people_and_tokens(airboss, become):
    """An admin adds somebody, gives them a role and a link; a token's secret stands alone on standard output."""
    become("admin")
    added = airboss("user", "add", "dev-c", "--role", "engineer", "--json").json()
    assert "/sign-in/abl_" in added["link"]
    assert airboss("user", "role", "dev-c", "viewer").code == Exit.OK
    assert airboss("user", "disable", "dev-c").code == Exit.OK
    people = {one["handle"]: one for one in airboss("user", "list", "--json").json()["items"]}
    assert people["dev-c"]["disabled_at"] is not None
    assert "gone" in airboss("user", "list").out
    made = airboss("token", "new", "checkout flags", "--scope", "flags.read", "--service", "checkout", "--days", "7")
    assert made.code == Exit.OK, made.err
    assert made.out.startswith("abt_")
    assert len(made.out.splitlines()) == 1
    listed = airboss("token", "list", "--json").json()["items"]
    token = next(one["id"] for one in listed if one["label"] == "checkout flags")
    assert airboss("token", "rotate", token, "--json").json()["secret"].startswith("abt_")
    assert airboss("token", "revoke", token).code == Exit.OK
    assert "revoked" in airboss("token", "list").out


def test_flags_services_and_policy_are_looked_at(airboss, become):
    """Each list answers people and programs; the kill switch works and says where to look."""
    become("admin")
    assert "tax.engine" in airboss("flag", "list").out
    killed = airboss("flag", "kill", "tax.engine", "-m", "totals are wrong")
    assert killed.code == Exit.OK, killed.err
    assert "killed" in airboss("flag", "show", "tax.engine").out
    assert airboss("flag", "unkill", "tax.engine").code == Exit.OK
    assert airboss("flag", "export").json()["flags"].keys() == {"tax.engine"}
    assert "checkout" in airboss("services").out
    assert airboss("services", "--json").json()["items"][0]["name"] == "checkout"
    assert "airboss-default" in airboss("policy", "list").out
    assert airboss("version", "list").out.startswith("No version is blocked")


def test_evidence_and_cancelling(airboss, become, file):
    """A machine's finding is recorded; a change that has not started is called off with a reason."""
    become("dev-a")
    id_ = _propose(airboss, file)
    told = airboss("change", "evidence", id_, "--red", "--source", "https://ci.example/1")
    assert told.code == Exit.OK, told.err
    assert "red" in told.out
    edited = airboss("change", "edit", id_, str(file))
    assert edited.code == Exit.OK, edited.err
    assert airboss("change", "cancel", id_, "-m", "postponed").code == Exit.OK
    assert airboss("change", "watch", id_, "--json").json()["outcome"] == "cancelled"
