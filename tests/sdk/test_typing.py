"""The typed surface of the SDK, as two type checkers see it from outside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "typing_examples.py"
WRONG = {number for number, line in enumerate(EXAMPLES.read_text().splitlines(), start=1) if "  # wrong: " in line}


def by_mypy(folder: Path) -> set[int]:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--output=json",
            f"--cache-dir={folder}",
            EXAMPLES,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert all(Path(fault["file"]).name == EXAMPLES.name for fault in found), run.stdout
    return {fault["line"] for fault in found if fault["severity"] == "error"}


def by_pyright(folder: Path) -> set[int]:
    # Its "standard" mode is what pyright itself does; the project file keeps the settings of this house out.
    project = folder / "pyrightconfig.json"
    project.write_text(json.dumps({"include": [str(EXAMPLES)], "typeCheckingMode": "standard"}))
    run = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--project", project, "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    found = json.loads(run.stdout)
    assert found["summary"]["filesAnalyzed"] == 1, run.stdout
    # pyright counts lines from 0
    return {
        fault["range"]["start"]["line"] + 1 for fault in found["generalDiagnostics"] if fault["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [by_mypy, by_pyright], ids=["mypy", "pyright"])
def test_what_a_service_writes_is_typed(checker, tmp_path):
    """Right uses are accepted with the types they should have, wrong ones are refused, each at its own line."""
    assert len(WRONG) == 5
    assert checker(tmp_path) == WRONG
