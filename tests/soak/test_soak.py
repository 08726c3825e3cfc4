"""The soak itself, in short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.edge import LEFT_OUT, WITHOUT
from tests.soak.servers import until

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,  # minutes: two servers, PostgreSQL, Envoy and a shop, struck one blow after the other
    pytest.mark.skipif(LEFT_OUT, reason=WITHOUT),
]


def _run(log: Path, seconds: int) -> subprocess.Popen[str]:
    arguments = ["--seconds", str(seconds), "--seed", "20261128", "--log", str(log)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soak", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _told(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_minute_and_a_half_of_random_blows(tmp_path: Path) -> None:
    """Two servers under load, killed and stopped at random: invariants hold, the targets saw nothing twice and nothing too
    much, nothing is left open, and one goes on within 15 s of a blow to the other.
    """
    log = tmp_path / "soak.jsonl"
    run = _run(log, 90)
    output, _ = run.communicate(timeout=600)
    assert run.returncode == 0, output
    found = _told(log)[-1]
    assert (found["event"], found["invariants"], found["open"], found["blows"]["late"]) == ("found", "held", {}, [])
    assert sum(found["blows"]["counted"].values()) >= 1
    assert found["envoy"]["orders"]["set"] >= 1


def test_told_to_end_it_leaves_nobody_behind(tmp_path: Path) -> None:
    """SIGTERM in the middle: the soak ends, and so do its servers, its shop and its database."""
    log = tmp_path / "soak.jsonl"
    run = _run(log, 600)
    until(lambda: any(line["event"] == "open" for line in _told(log)) or run.poll() is not None, "it is not open", 240)
    folder = _told(log)[0]["folder"]
    assert len(list(_of(folder))) >= 6
    os.kill(run.pid, signal.SIGTERM)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 128 + signal.SIGTERM, output
    assert _told(log)[-1]["event"] == "failed"
    assert list(_of(folder)) == []


def _of(folder: str) -> Iterator[int]:
    """Yield the processes that name a folder on their command line."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if folder.encode() in command:
                yield int(process.name)
