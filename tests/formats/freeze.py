"""Freezes what a server stores in the middle of rollouts, for the versions after it to go on from.

    python -m tests.formats.freeze 1

Run once a release, by the version that is released; what it wrote is never written again. `database-v1/airboss.sql` is a
whole database, as SQL: changes at a step, asking a question, held, and being verified. `plan-v1`, `run-v1`, `analysis-v1`,
`decision-v1` and `fact-v1` are the same stored bytes, kind by kind.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.tower.world import CATALOG, Nature, World, quick_folder, ramp

HERE: Final = Path(__file__).parent
STEPS: Final = """
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {ask: payments-leads, expires: 4h}
          - {expose: 50%, bake: {least: 5s, most: 120s}}
          - {expose: 100%, bake: {least: 5s, most: 120s}}
"""
STRAIGHT: Final = """
          - {expose: 10%, bake: {least: 60s, most: 240s}}
          - {expose: 100%, bake: {least: 60s, most: 240s}}
"""
FLAGS: Final = ("tax.rounding", "tax.labels", "tax.receipt")
_FLAG: Final = CATALOG[CATALOG.rindex("---") :]


def freeze(version: str) -> None:
    """Write the folders of a version. Raises FileExistsError where they are there already."""
    with quick_folder() as folder:
        world = World(folder, nature=Nature(per_s=400))
        try:
            for flag in FLAGS:
                world.apply(_FLAG.replace("tax.engine", flag))
            names = _fly(world)
            now = world.clock.now()
        finally:
            world.close()
        with closing(sqlite3.connect(folder / "airboss.db")) as connection:
            _write("database", version, "airboss.sql", "\n".join(connection.iterdump()) + "\n")
            meta = {"now": now.isoformat(), "changes": names}
            (HERE / f"database-v{version}" / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
            _kinds(connection, version, names)


def _fly(world: World) -> dict[str, str]:
    """Bring four changes to where a server may be ended: judged at a step, asking, held, verifying."""
    judged = world.propose(ramp(steps=STEPS, on_error="30m"))
    assert world.run(300, until=lambda: world.judged(judged) is not None, step_s=5)
    quick = "\n      - data\n"
    asking = world.propose(ramp(flag=FLAGS[0], steps=STEPS, gates=quick, title="asks", on_error="30m"))
    straight = ramp(flag=FLAGS[1], steps=STRAIGHT, gates=quick, title="goes on", on_error="30m")
    verifying = world.propose(straight.replace("verification: {least: 5s}", "verification: {least: 1h}"))
    assert world.run(400, until=lambda: world.phase(verifying) == "verifying", step_s=5)
    held = world.propose(ramp(flag=FLAGS[2], steps=STRAIGHT, gates=quick, title="is held", on_error="30m"))
    world.order(asking, "pause")
    assert world.run(60, until=lambda: "exposure.reached" in world.facts(held))
    world.nature.seen = False
    assert world.run(120, until=lambda: "Held" in world.told(held), step_s=5), world.told(held)
    return {"judged": judged, "asking": asking, "held": held, "verifying": verifying}


def _kinds(connection: sqlite3.Connection, version: str, names: dict[str, str]) -> None:
    for name, change in names.items():
        ((run,),) = connection.execute("SELECT run FROM change WHERE id = ?", (change,)).fetchall()
        stored = json.loads(run)
        _write("plan", version, f"{name}.json", json.dumps(stored["plan"], indent=1, sort_keys=True) + "\n")
        _write("run", version, f"{name}.json", json.dumps(stored["run"], indent=1, sort_keys=True) + "\n")
    for number, (state,) in enumerate(connection.execute("SELECT state FROM judgement ORDER BY change_id").fetchall()):
        _write("analysis", version, f"{number}.json", json.dumps(json.loads(state), indent=1, sort_keys=True) + "\n")
    bodies = connection.execute("SELECT body FROM policy_decision ORDER BY at, id LIMIT 6").fetchall()
    for number, (body,) in enumerate(bodies):
        _write("decision", version, f"{number}.json", json.dumps(json.loads(body), indent=1, sort_keys=True) + "\n")
    kinds: dict[str, bytes] = {}
    for kind, stored in connection.execute(
        "SELECT type, stored FROM fact ORDER BY at, subject, subject_seq"
    ).fetchall():
        kinds.setdefault(kind, stored)
    _write("fact", version, "facts.jsonl", "".join(stored.decode() + "\n" for _, stored in sorted(kinds.items())))


def _write(kind: str, version: str, name: str, text: str) -> None:
    folder = HERE / f"{kind}-v{version}"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("x") as file:
        file.write(text)


if __name__ == "__main__":
    freeze(sys.argv[1])
