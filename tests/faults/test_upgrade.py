"""A real server of today is started on the database that an older one left in mid-ramp."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults.fleet import until
from tests.tower.invariants import check

from airboss.act.rollout import claims
from airboss.bootstrap import build, new_key, open_folder
from airboss.demo.server import Server
from airboss.demo.world import World
from airboss.kernel.settings import DATABASE_FILE, Settings

FORMATS = Path(__file__).parents[1] / "formats"
VERSIONS = sorted(FORMATS.glob("database-v*"))
OVER = {"reviewing", "closed"}


@pytest.mark.parametrize("frozen", VERSIONS, ids=lambda folder: folder.name)
def test_a_server_started_on_an_older_ones_ramps_ends_them(frozen: Path, tmp_path: Path) -> None:
    """It migrates, is ready, and goes on from where each rollout stood. Time has passed and no telemetry came: what had waited
    for longer than it may is taken back, what was being judged is held for its data's age; nothing is exposed further.
    """
    settings = Settings(data=tmp_path / "data", demo=True)
    open_folder(settings)
    names = json.loads((frozen / "meta.json").read_text())["changes"]
    database = settings.data / DATABASE_FILE
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript((frozen / "airboss.sql").read_text())
    new_key(settings, reason="a key is not frozen with its database")

    def phases() -> dict[str, str]:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as asked:
            rows = dict(asked.execute("SELECT id, phase FROM change").fetchall())
        return {name: rows[change] for name, change in names.items()}

    def exposed() -> int:
        """How often anybody was given more of anything."""
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as asked:
            (found,) = asked.execute("SELECT count(*) FROM fact WHERE type = 'flag.exposed'").fetchone()
        return int(found)

    assert set(phases().values()) == {"rolling_out", "verifying"}
    at_start = exposed()
    with World(tmp_path / "world") as world:
        server = Server(world, settings.data, port=0)
        server.start()
        server.wait()
        until(
            lambda: {name for name, phase in phases().items() if phase in OVER} == set(names) - {"judged"}, "not over"
        )
        server.close()
    house = build(settings)
    try:
        with house.store.read() as connection:
            found = {name: house.changes.read_many(connection, [change])[0] for name, change in names.items()}
            told = claims.sentences(connection, [names["judged"]])[names["judged"]]
        assert {name: change.outcome for name, change in found.items() if name != "judged"} == dict.fromkeys(
            set(names) - {"judged"}, "rolled back"
        )
        assert told.startswith("Held: "), told
        assert exposed() == at_start
        check(house)
    finally:
        house.close()
