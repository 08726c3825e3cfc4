"""What works without a server: IDs, rule packs, verification, the environment of a change."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from airboss.faces.cli.commands.local import with_change
from airboss.faces.cli.exit_codes import Exit
from airboss.sdk.ids import decode

ROOT = Path(__file__).resolve().parents[3]
POLICY = str(ROOT / "examples" / "policy.yaml")


def test_an_id_is_minted_anywhere(airboss):
    """`id new` prints one ID that every other part understands, and as many as asked for, all different."""
    ran = airboss("id", "new")
    assert ran.code == Exit.OK
    decode(ran.out.strip(), "chg")
    many = airboss("id", "new", "-n", "20", "--json").json()["ids"]
    assert len(set(many)) == 20


def test_a_change_to_start_from_can_be_submitted_as_it_is_printed(airboss, become, tmp_path):
    """`change new` prints YAML whose shape the server accepts: only names that do not exist yet are refused."""
    file = tmp_path / "change.yaml"
    file.write_text(airboss("change", "new", "--service", "checkout", "--users", "5").out)
    become("dev-a")
    ran = airboss("apply", "-f", str(file))
    assert ran.code in (Exit.USAGE, Exit.REFUSED)
    assert "TEAM" in ran.out + ran.err or "FLAG" in ran.out + ran.err


def test_good_packs_pass(airboss):
    """The example pack compiles, its tests pass, and the report for programs keeps its fields."""
    assert airboss("policy", "check", POLICY).code == Exit.OK
    ran = airboss("policy", "test", POLICY, "--json")
    assert ran.code == Exit.OK
    report = ran.json()
    assert set(report) == {"ok", "packs"}
    (pack,) = report["packs"]
    assert set(pack) == {"source", "pack", "ok", "rules", "problems", "tests", "unproven"}
    assert report["ok"]
    assert [test["passed"] for test in pack["tests"]] == [True, True]


def test_a_misspelt_name_in_a_rule_is_pointed_at(airboss, tmp_path):
    """A pack that cannot be used ends with 1 and names file, line and column."""
    broken = tmp_path / "broken.yaml"
    broken.write_text(Path(POLICY).read_text().replace("s.stateful", "s.statefull"))
    ran = airboss("policy", "check", str(broken))
    assert ran.code == Exit.FAULT
    assert f"{broken}:" in ran.out
    assert "statefull" in ran.out


def test_a_test_that_fails_says_what_it_expected(airboss, tmp_path):
    """`policy test` ends with 1 when a rule does not do what its test says."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(Path(POLICY).read_text().replace("outcome: allow, fired", "outcome: block, fired"))
    ran = airboss("policy", "test", str(wrong))
    assert ran.code == Exit.FAULT
    assert "expected block" in ran.out


def test_a_whole_record_verifies(airboss, record, become):
    """The copy of a data folder verifies, with the public key and a checkpoint that were kept elsewhere."""
    become("dev-a")
    key, checkpoint = record / "key", record / "kept"
    key.write_text(airboss("audit", "key").out)
    checkpoint.write_text(airboss("audit", "checkpoint").out)
    ran = airboss("audit", "verify", str(record), "--key", str(key), "--checkpoint", str(checkpoint), "--json")
    assert ran.code == Exit.OK, ran.out
    report = ran.json()
    assert report["ok"]
    assert report["signatures"] > 0
    assert report["caveats"] == []


def test_a_tampered_copy_is_found(airboss, record):
    """One altered byte of one fact ends the verification with 11 and names the place."""
    database = sqlite3.connect(record / "airboss.db")
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {name}")
    database.execute("UPDATE fact SET stored = replace(stored, 'change.submitted', 'change.submitteD')")
    database.commit()
    database.close()
    ran = airboss("audit", "verify", str(record), "--json")
    assert ran.code == Exit.DAMAGED
    kinds = {finding["kind"] for finding in ran.json()["findings"]}
    assert "entry-altered" in kinds
    told = airboss("audit", "verify", str(record))
    assert told.code == Exit.DAMAGED
    assert "not as recorded" in told.out


def test_an_export_and_a_pack_verify_without_the_server(airboss, record, become, desk, tmp_path):
    """What was taken away is checked alone: the whole journal, and the record of one change."""
    become("dev-a")
    change = desk.browser("dev-a").get("/api/v1/changes").json()["items"][0]["id"]
    export, pack = tmp_path / "journal.jsonl", tmp_path / "change.json"
    assert airboss("audit", "export", "-o", str(export)).code == Exit.OK
    assert airboss("audit", "pack", change[-8:], "-o", str(pack)).code == Exit.OK
    assert airboss("audit", "verify", str(export)).code == Exit.OK
    assert airboss("audit", "verify", str(pack)).code == Exit.OK
    pack.write_text(pack.read_text().replace("draft", "drift"))
    assert airboss("audit", "verify", str(pack)).code == Exit.DAMAGED


def test_a_folder_without_a_record_is_not_found(airboss, tmp_path):
    """Verifying nothing is never a success."""
    (tmp_path / "empty").mkdir()
    assert airboss("audit", "verify", str(tmp_path / "empty")).code == Exit.NOT_FOUND
    assert airboss("audit", "verify", str(tmp_path / "not-there")).code == Exit.NOT_FOUND


CHANGE = "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"


def test_what_runs_in_a_change_names_it():
    """`exec` adds the change to what OpenTelemetry SDKs read, keeps what was there, and encodes what would break it."""
    before = {
        "OTEL_RESOURCE_ATTRIBUTES": "team=shop,deployment.id=old",
        "BAGGAGE": "tenant=7, airboss.change.id=old;ttl=1",
        "PATH": "/bin",
    }
    after = with_change(before, CHANGE, service="check,out", version="2.4.0", environment=None)
    assert after["AIRBOSS_CHANGE_ID"] == CHANGE
    assert after["PATH"] == "/bin"
    assert after["BAGGAGE"] == f"tenant=7,airboss.change.id={CHANGE}"
    pairs = dict(pair.split("=") for pair in after["OTEL_RESOURCE_ATTRIBUTES"].split(","))
    assert pairs == {
        "team": "shop",
        "airboss.change.id": CHANGE,
        "deployment.id": CHANGE,
        "service.name": "check%2Cout",
        "service.version": "2.4.0",
    }


def test_exec_refuses_what_is_no_change(airboss):
    """A command never runs under a name that nobody will find again."""
    ran = airboss("exec", "--change", "chg_nonsense", "--", "true")
    assert ran.code == Exit.USAGE
    assert "airboss id new" in ran.err


def test_the_statistics_show_themselves(airboss):
    """`analysis calibrate` runs offline and answers numbers for programs."""
    ran = airboss("analysis", "calibrate", "--runs", "50", "--looks", "20", "--json")
    assert ran.code == Exit.OK
    assert ran.json()["seed"] == 1


def test_each_row_of_the_statistics_says_its_goal(airboss):
    """For people as for programs: what was measured, what was asked of it, and whether it is reached."""
    ran = airboss("analysis", "calibrate", "--runs", "50", "--looks", "20")
    told = ran.out.splitlines()
    named = next(i for i, line in enumerate(told) if line.endswith("errors, iid, 0.1 %"))
    assert told[named].split()[0] == "reached"
    assert told[named + 1].endswith("goal: lower limit at most 0.01")
    assert any("after 50,000 healthy canary requests" in line for line in told)
    assert any("goal: mean at most 2.7 times the bound" in line for line in told)
    assert told[-1] == "Every goal is reached." or told[-1].startswith("Missed: ")


def test_somebody_is_added_where_the_data_lies(airboss, tmp_path):
    """Whoever can write the data folder can add an admin without a server, and gets a link."""
    folder = tmp_path / "house"
    ran = airboss("user", "add", "ops-a", "--role", "admin", "--local", "--data", str(folder), "--json")
    assert ran.code == Exit.OK, ran.err
    assert "/sign-in/abl_" in ran.json()["link"]
    again = airboss("user", "add", "ops-a", "--local", "--data", str(folder))
    assert again.code == Exit.REFUSED
    shutil.rmtree(folder)
