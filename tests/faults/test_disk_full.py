"""The disk under the embedded database fills up and is freed, on a small file system of the test's own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.faults.fleet import document, until
from tests.tower.invariants import check

from airboss.bootstrap import build
from airboss.demo.means import documents
from airboss.demo.people import ENGINEER, SECRETS, make_people
from airboss.demo.server import Server
from airboss.demo.world import World
from airboss.kernel.settings import Settings

SIZE = "24m"
MOST_POSTS = 400


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB, in memory. Only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk takes the right to mount one: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(b"x" * size)


def _draft(base_url: str, token: str, number: int) -> httpx.Response:
    return httpx.post(
        f"{base_url}/api/v1/changes",
        params={"submit": "false"},
        content=document(number).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/yaml",
            "Idempotency-Key": f"draft-number-{number:06}",
        },
        timeout=30,
    )


def _listed(base_url: str, token: str) -> set[str]:
    found: dict[str, Any] = httpx.get(
        f"{base_url}/api/v1/changes", params={"limit": 200}, headers={"Authorization": f"Bearer {token}"}, timeout=30
    ).json()
    return {item["id"] for item in found["items"]}


def test_a_full_disk_is_said_and_nothing_is_lost_and_freed_it_goes_on(small_disk: Path, tmp_path: Path) -> None:
    """What was acknowledged is there, what was refused is not; reading goes on; freed, the same request goes through
    without a restart, and the record verifies.
    """
    data = small_disk / "data"
    data.mkdir(mode=0o700)
    with World(tmp_path / "world") as world:
        server = Server(world, data, port=0)
        server.start()
        server.wait()
        people = make_people(server.base_url, data)
        try:
            files = [{"source": name, "text": text} for name, text in documents()]
            people["demo-admin"].post("/apply", {"files": files, "submit": False, "dry_run": False})
        finally:
            people.close()
        token = json.loads((data / SECRETS).read_text())["tokens"][ENGINEER]
        kept = {_draft(server.base_url, token, 0).json()["id"]}
        _fill(small_disk)
        for number in range(1, MOST_POSTS):
            answer = _draft(server.base_url, token, number)
            if answer.status_code != 201:
                break
            kept.add(answer.json()["id"])
        assert answer.status_code == 503, answer.text
        told = answer.json()
        assert told["code"] == "database-full"
        assert "free space" in told["way_out"]
        again = _draft(server.base_url, token, number)
        assert (again.status_code, again.json()["code"]) == (503, "database-full")
        assert _listed(server.base_url, token) == kept
        (small_disk / "filler").unlink()
        freed = _draft(server.base_url, token, number)
        assert freed.status_code == 201, freed.text
        kept.add(freed.json()["id"])
        assert _listed(server.base_url, token) == kept
        until(server.ready, "the server is not ready again", 30)
        server.close()
    house = build(Settings(data=data, demo=True))
    try:
        check(house)
    finally:
        house.close()
