"""Death of the server at every failpoint while it steers: every change goes where it should, once."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.crash.harness import ROOT
from tests.crash.pilot import aborted
from tests.tower.invariants import check
from tests.tower.world import QUICK, Nature, World, quick_folder, ramp

from airboss.changes import Phase
from airboss.kernel import failpoints
from airboss.kernel.errors import AirbossError
from airboss.people.access import LOCAL

NAMES = sorted(failpoints.NAMES)
STEPS = """
          - {expose: 10%, bake: {least: 2s, most: 120s}}
          - {expose: 100%, bake: {least: 2s, most: 120s}}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder in memory: a killed process loses nothing that was written, synced or not."""
    with quick_folder() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """None for the SQLite file of the house's own folder."""
    if request.param == "sqlite":
        return None
    # A killed client loses nothing that its server took; only the machine's own death would, and that is not tried here.
    return f"{request.getfixturevalue('postgresql_url')}&options=-csynchronous_commit%3Doff"


def _live(home: Path, database: str | None, lives: list[tuple[str | None, int]], wanted: int) -> None:
    asked = {"folder": str(home), "database": database, "lives": lives, "first": 100, "wanted": wanted}
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.pilot", json.dumps(asked)],
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _all_went_as_they_should(home: Path, database: str | None) -> int:
    """Compare every change with its script; return how many there were."""
    world = World(home, database=database, seed=99)
    try:
        check(world.house)
        changes = sorted(world.house.changes.list(actor=LOCAL, limit=200).items, key=lambda one: one.created_at)
        for number, change in enumerate(changes):
            assert change.outcome == ("rolled back" if aborted(number) else "completed"), (number, change)
            facts = world.facts(change.id)
            for once in ("change.submitted", "change.approved", "rollout.started", "round.opened", "unit.prepared"):
                assert facts.count(once) == 1, (number, once, facts)
            flag = [
                body
                for kind in ("flag.exposed", "flag.finished", "flag.reverted")
                for body in world.bodies("flag/tax.engine", kind)
                if body["change_id"] == change.id
            ]
            assert len(flag) == (2 if aborted(number) else 3)
    finally:
        world.close()
    return len(changes)


def test_dying_at_every_failpoint_again_and_again_ends_every_change_as_it_should(home: Path, database: str | None):
    """One server after the other dies in the middle of a ramp, at each named place: none lost, none twice."""
    lives: list[tuple[str | None, int]] = [(name, 2 + number % 4) for number, name in enumerate(NAMES)]
    _live(home, database, [*lives, (None, 0)], wanted=3)
    assert _all_went_as_they_should(home, database) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("on_pass", range(1, 25, 4))
def test_dying_later_and_later(home: Path, database: str | None, on_pass: int):
    """The same at many moments of a change's life."""
    _live(home, database, [*((name, on_pass) for name in NAMES), (None, 0)], wanted=4)
    assert _all_went_as_they_should(home, database) >= 4


def test_what_failed_and_yet_was_kept_is_found_and_not_done_again(home: Path, database: str | None):
    """An exception at each named place, also right after a commit: the next look goes on from what is stored."""
    world = World(home, database=database, nature=Nature(per_s=20))
    world.loud.expected = True  # a fault in the store's own thread is logged there and told as Unavailable

    def turn() -> None:
        change = next(iter(world.house.changes.list(actor=LOCAL).items), None)
        if change is not None and change.phase is Phase.DRAFT:
            world.submit(change.id)
        if change is None or change.phase is Phase.CLOSED:
            old, new = ("on", "off") if world.serves() == "on" else ("off", "on")
            world.propose(ramp(steps=STEPS, gates=QUICK, old=old, new=new))
        world.traffic(4)
        world.look()

    try:
        turn()
        for name in NAMES:
            failpoints.arm(name, on_pass=3)
            for _ in range(60):
                world.clock.advance(4)
                with contextlib.suppress(failpoints.Reached, AirbossError):
                    turn()
                if not failpoints._armed:
                    break
            assert not failpoints._armed, f"nothing came by {name}"
        for _ in range(100):
            world.clock.advance(4)
            world.traffic(4)
            world.look()
        changes = world.house.changes.list(actor=LOCAL).items
        assert {change.outcome for change in changes} == {"completed"}
        check(world.house)
    finally:
        failpoints.disarm()
        world.close()
