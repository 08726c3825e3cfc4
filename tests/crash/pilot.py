"""A server that steers changes in virtual time and dies at a failpoint, again and again, each life where the last ended.

Started once with `python -m tests.crash.pilot`, it forks for each life, so that a life costs what opening a house costs.
Changes follow one another: each third is aborted half way by a person, the others go through.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.tower.world import QUICK, Nature, World, ramp

from airboss.changes import Phase
from airboss.kernel import failpoints
from airboss.people.access import LOCAL
from airboss.testing import ManualClock

STEPS = """
          - {expose: 10%, bake: {least: 2s, most: 120s}}
          - {ask: payments-leads, expires: 1h}
          - {expose: 100%, bake: {least: 2s, most: 120s}}
"""
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
STEP_S = 4


def aborted(number: int) -> bool:
    """Return whether a person aborts the change of a number."""
    return number % 3 == 2


def live(folder: Path, database: str | None, life: int, wanted: int) -> None:
    """Steer until as many changes are over as are wanted."""
    began = folder / "time"
    now = datetime.fromtimestamp(float(began.read_text()), UTC) if began.exists() else START
    world = World(folder, database=database, seed=life, nature=Nature(per_s=20), clock=ManualClock(now))
    failpoint, on_pass = json.loads((folder / "armed").read_text())
    if failpoint is not None:
        failpoints.arm(failpoint, on_pass=on_pass, action="kill")
    while True:
        known = sorted(world.house.changes.list(actor=LOCAL, limit=200).items, key=lambda one: one.created_at)
        under_way = [one for one in known if one.phase not in (Phase.CLOSED, Phase.REVIEWING)]
        if not under_way and len(known) >= wanted:
            break
        if under_way:
            _help(world, under_way[0].id, number=len(known) - 1)
        else:
            on = world.serves() == "on"
            old, new = ("on", "off") if on else ("off", "on")
            world.propose(ramp(users=40, steps=STEPS, gates=QUICK, old=old, new=new))
        world.clock.advance(STEP_S)
        began.write_text(str((world.clock.now() + timedelta(seconds=1)).timestamp()))
        world.traffic(STEP_S)
        world.look()
    world.close()


def _help(world: World, change: str, *, number: int) -> None:
    """Do what people do, from what they see: so a person whose click was lost clicks again."""
    found = world.change(change)
    if found.phase is Phase.DRAFT:
        world.submit(change)
    elif found.phase is Phase.AWAITING_APPROVAL:
        world.approve(change)
    elif "Waiting for payments-leads" in world.told(change):
        if aborted(number):
            world.order(change, "abort", by="dev-b")
        else:
            world.order(change, "promote", by="dev-a")


def main() -> None:
    """Live each life that is asked for; say how each ended."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    for number, (failpoint, on_pass) in enumerate(asked["lives"]):
        (folder / "armed").write_text(json.dumps([failpoint, on_pass]))
        child = os.fork()
        if child == 0:
            try:
                # Whoever is to die works on until he does; only the last life has an end.
                live(
                    folder, asked["database"], asked["first"] + number, asked["wanted"] if failpoint is None else 10_000
                )
            except BaseException:  # noqa: BLE001 - told to the parent, whatever it was
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if killed is not (failpoint is not None) or (not killed and os.waitstatus_to_exitcode(status) != 0):
            print(f"life {number} at {failpoint} ended with {status}")  # noqa: T201 - for the parent
            sys.exit(1)


if __name__ == "__main__":
    main()
