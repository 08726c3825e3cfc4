"""The three stories over real processes and real traffic, told once by `airboss demo --exit --json`, then asserted on.

Slow for a test (some minutes), because nothing in it is simulated: a server, its ingest and policy worker, three services,
a load generator, and a SIGKILL.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(600)

SEED = 1


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Given a shop under traffic, when the three stories have been told with a severe fault: the report."""
    folder = tmp_path_factory.mktemp("demo")
    report, data = folder / "report.json", folder / "data"
    command = [sys.executable, "-m", "airboss.faces.cli", "demo", "--exit", "--json", str(report)]
    command += ["--seed", str(SEED), "--port", "0", "--data", str(data), "--fault", "severe"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRBOSS_", "OTEL_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=580, check=False)
    assert report.exists(), f"the demo ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    found: dict[str, Any] = json.loads(report.read_text())
    return {**found, "exit_code": done.returncode, "folder": data, "said": done.stdout}


def _story(demo: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(story for story in demo["stories"] if story["name"] == name)
    return found


def test_a_good_change_flows_without_a_person(demo):
    """Given a ramp of low risk, when it is proposed, then policy clears it, evidence ends each step, and it completes."""
    story = _story(demo, "cleared")
    assert story["failures"] == []
    assert (story["outcome"], story["votes"]) == ("completed", 0)
    assert [step["percent"] for step in story["steps"]] == [1, 10, 50, 100]
    assert {step["ended_by"] for step in story["steps"]} == {"evidence"}


def test_a_risky_change_waits_for_another_person(demo):
    """Given a ramp of medium risk, when its owner approves through the API, then somebody other than its author did."""
    approval = _story(demo, "judged")["approval"]
    assert approval["approved_by"] is not None
    assert approval["approved_by"] != approval["proposed_by"]


def test_a_change_that_harms_is_convicted_and_taken_back(demo):
    """Given the fault, when exposed customers meet it, then the change is convicted by numbers and everything goes back."""
    story = _story(demo, "judged")
    assert story["failures"] == []
    assert story["outcome"] == "rolled back"
    detection = story["detection"]
    assert detection["gates"]
    assert 0 < detection["time_to_detect_s"] < 180
    assert 0 <= detection["time_to_roll_back_s"] < 15
    assert 0 < detection["export_delay_s"] < detection["time_to_detect_s"]
    assert story["served"]["new_side_bad"] < story["served"]["fixed_bake"]["new_side_bad"]


def test_what_was_taken_back_stays_blocked_and_is_reviewed(demo):
    """Given a convicted version, when it is proposed again unchanged, then it is held with the reason; a review is open."""
    story = _story(demo, "judged")
    assert story["proposed_again"]["phase"] == "in_review"
    assert story["proposed_again"]["sentence"].startswith("Refused")
    assert story["review_open"]


def test_a_killed_server_loses_repeats_and_skips_nothing(demo):
    """Given a ramp, when the server is killed in the middle of it and started again, then each step happened once."""
    story = _story(demo, "outage")
    assert story["failures"] == []
    assert story["outcome"] == "completed"
    assert story["outage"]["seconds"] > 0
    assert story["outage"]["percent"] in (10, 50)
    assert story["record"]["steps_begun"] == [1, 2, 3, 4]
    assert story["record"]["flag_moves"] == [1, 10, 50, 100]


def test_nobody_in_the_shop_notices_that_the_server_is_away(demo):
    """Given customers on both sides, when the server is dead, then every request is answered and nobody changes sides."""
    outage = _story(demo, "outage")["outage"]
    assert outage["shop"]["requests"] > 100
    assert outage["shop"]["unanswered"] == 0
    arms = outage["arms"]
    assert 0 < arms["on_before"] < arms["customers"]
    assert (arms["changed_while_away"], arms["went_back_after"], arms["unanswered"]) == (0, 0, 0)


def test_the_record_is_whole_and_says_so_offline(demo):
    """Given the folder afterwards, when anybody verifies it without the server, then all is as it was recorded."""
    assert demo["verification"]["ok"]
    assert demo["verification"]["signatures"] > 0
    assert demo["verification"]["caveats"] == []
    again = subprocess.run(
        [sys.executable, "-m", "airboss.faces.cli", "audit", "verify", str(demo["folder"]), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout
    assert json.loads(again.stdout)["size"] >= demo["journal"]["entries"]


def test_the_report_is_complete_and_the_exit_code_tells_the_truth(demo):
    """The report has all it promises, nothing in it failed, and the command ended with 0."""
    assert set(demo) >= {
        *("format", "fault", "seed", "stories", "traffic", "coverage", "coverage_while_split_pct", "export_delay"),
        *("journal", "verification", "failures", "as_expected", "took_s", "data"),
    }
    assert (demo["as_expected"], demo["failures"], demo["exit_code"]) == (True, [], 0)
    assert demo["traffic"]["requests"] > 10_000
    assert all(share is None or share > 80 for share in demo["coverage_while_split_pct"].values())


def test_secrets_lie_where_only_their_owner_reads_them(demo):
    """The folder is marked as a demo's, and every secret in it has mode 0600."""
    folder: Path = demo["folder"]
    assert (folder / "THIS-IS-A-DEMO").exists()
    secrets = [folder / "demo-secrets.json", *(folder / "tokens").iterdir()]
    assert [path.name for path in secrets if path.stat().st_mode & 0o077] == []
    assert "abt_" not in demo["said"]
