"""From the first line a new server prints to a command line that may do everything: a real server, real commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faces.server.test_processes import running

from airboss.kernel.settings import Settings


def command(config: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "airboss.faces.cli", *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(config.parent), "AIRBOSS_CONFIG": str(config)},
    )


def test_the_first_link_makes_an_admin_with_a_command_line(tmp_path: Path) -> None:
    """One command takes the link's address; its person administers, and the link is spent."""
    settings = Settings(data=tmp_path / "data", port=0, ingest_port=0)
    with running(settings, role="control") as (_, told, link):
        assert link is not None
        server = told["url"]
        address = f"{server}/sign-in/{link.rpartition('/')[2]}"
        first = command(tmp_path / "ana.json", "login", "--link", address, "--handle", "ana", "--json")
        assert first.returncode == 0, first.stderr
        said = json.loads(first.stdout)
        assert (said["name"], said["role"], said["server"]) == ("ana", "admin", server)

        added = command(tmp_path / "ana.json", "user", "add", "ben", "--role", "engineer", "--json")
        assert added.returncode == 0, added.stderr
        second = command(tmp_path / "ben.json", "login", "--link", json.loads(added.stdout)["link"], "--json")
        assert second.returncode == 0, second.stderr
        assert json.loads(second.stdout)["role"] == "engineer"

        spent = command(tmp_path / "eve.json", "login", "--link", address, "--handle", "eve")
        assert spent.returncode == 8
        assert "Traceback" not in spent.stderr
        assert not (tmp_path / "eve.json").exists()

        wrong = command(tmp_path / "eve.json", "--server", server, "login", "--handle", "ana", given="guess\n")
        assert wrong.returncode == 8
        empty = command(tmp_path / "eve.json", "--server", server, "login", "--handle", "ana")
        assert (empty.returncode, "no password was given" in empty.stderr) == (2, True)


@pytest.mark.parametrize("link", ["ftp://x/y", "nonsense"])
def test_a_link_that_is_none_says_so(tmp_path: Path, link: str) -> None:
    """With no server to ask there is one plain error and nothing is kept."""
    ran = command(tmp_path / "cli.json", "--server", "http://127.0.0.1:9", "login", "--link", link)
    assert ran.returncode == 10
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.strip().splitlines()) <= 3
