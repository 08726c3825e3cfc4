"""The demo's processes come up, are found, die when killed, and never outlive it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from airboss.demo import world
from airboss.demo.means import documents, ramp_document
from airboss.demo.nature import SERVICES
from airboss.demo.world import NotStarted, World

READY = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(json.dumps({"child": child.pid}), flush=True)
time.sleep(60)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two small programs on the path."""
    (tmp_path / "ready_program.py").write_text(READY)
    (tmp_path / "dying_program.py").write_text("raise SystemExit('no port left')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def _gone(pid: int) -> bool:
    """Tell whether a process is dead; one whose parent died too is buried by the system a moment later."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in {"Z", "X"}:
            return True
    return False


def test_a_kill_takes_the_children_too(here: Path) -> None:
    """A server killed as by a power cut leaves no process of its own behind."""
    with World(here) as processes:
        child = processes.start("one", "ready_program", [])["child"]
        assert list(processes.alive()) == ["one"]
        pid = processes.processes["one"].pid
        processes.kill("one")
        assert list(processes.alive()) == []
        assert _gone(pid)
        assert _gone(child)


def test_leaving_ends_everything(here: Path) -> None:
    """After the demo nothing of it runs, also where a child would have stayed."""
    with World(here) as processes:
        child = processes.start("one", "ready_program", [])["child"]
        pid = processes.processes["one"].pid
    assert _gone(pid)
    assert _gone(child)


def test_a_process_that_does_not_come_up_is_told_with_its_own_words(here: Path) -> None:
    """The reader of the message need not look for the log."""
    with World(here) as processes, pytest.raises(NotStarted, match=r"(?s)dead ended with 1.*no port left"):
        processes.start("dead", "dying_program", [])


def test_a_silent_process_is_given_up(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that never says it listens does not hang the demo."""
    monkeypatch.setattr(world, "START_S", 0.2)
    (here / "silent_program.py").write_text("import time; time.sleep(60)")
    with World(here) as processes, pytest.raises(NotStarted, match="did not listen"):
        processes.start("silent", "silent_program", [])


def test_every_service_of_the_shop_has_its_documents() -> None:
    """The catalogue names each service and flag, and each service's change moves its own flag."""
    applied = "\n".join(text for _, text in documents())
    for service, shape in SERVICES.items():
        assert f"{{name: {service}}}" in applied
        assert f"{{name: {shape.flag}}}" in applied
        assert f"name: {shape.flag}, old" in ramp_document(service)
    assert os.sep not in "".join(name for name, _ in documents())
