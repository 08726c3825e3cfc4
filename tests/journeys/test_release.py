"""The three stories with two real versions of each service behind a real Envoy: `airboss demo release --exit --json`.

Slow, because it runs for minutes beside the demo of flags, which is in every run; each part of it (the target, its faults,
a canary convicted behind an Envoy) has tests of its own there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from tests.contracts.edge import LEFT_OUT, WITHOUT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(LEFT_OUT, reason=WITHOUT),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Given a shop behind Envoy, when the three stories have been told with a severe fault: the report."""
    folder = tmp_path_factory.mktemp("release")
    report = folder / "report.json"
    command = [sys.executable, "-m", "airboss.faces.cli", "demo", "release", "--exit", "--json", str(report)]
    command += ["--seed", "1", "--port", "0", "--data", str(folder / "data"), "--fault", "severe"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRBOSS_", "OTEL_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=580, check=False)
    assert report.exists(), f"the demo ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    found: dict[str, Any] = json.loads(report.read_text())
    return {**found, "exit_code": done.returncode}


def _story(demo: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(story for story in demo["stories"] if story["name"] == name)
    assert found["failures"] == []
    return found


def test_a_good_release_goes_to_everybody_by_evidence(demo):
    """Given a version that is sound, when it is proposed, then traffic moves step by step and each step ends by evidence."""
    story = _story(demo, "cleared")
    assert story["outcome"] == "completed"
    assert [step["percent"] for step in story["steps"]] == [1, 10, 50, 100]
    assert {step["ended_by"] for step in story["steps"]} == {"evidence"}


def test_a_bad_release_is_convicted_and_its_traffic_goes_back(demo):
    """Given a version that fails, when customers meet it, then it is convicted by numbers and taken back in seconds."""
    story = _story(demo, "judged")
    assert story["outcome"] == "rolled back"
    assert 0 < story["detection"]["time_to_detect_s"] < 180
    assert 0 <= story["detection"]["time_to_roll_back_s"] < 15
    assert story["served"]["new_side_bad"] < story["served"]["fixed_bake"]["new_side_bad"]
    assert story["proposed_again"]["sentence"].startswith("Refused")


def test_a_killed_server_leaves_the_traffic_where_it_was(demo):
    """Given a release under way, when the server is dead, then every request is answered; after it, each step was once."""
    story = _story(demo, "outage")
    assert story["outcome"] == "completed"
    assert story["outage"]["shop"]["requests"] > 100
    assert story["outage"]["shop"]["unanswered"] == 0
    assert story["record"]["steps_begun"] == [1, 2, 3, 4]


def test_the_record_is_whole_and_the_exit_code_tells_the_truth(demo):
    """Nothing came out otherwise than it must, and the record verifies offline."""
    assert demo["verification"]["ok"]
    assert demo["as_expected"]
    assert demo["exit_code"] == 0
