"""What an older server stored is read by this one, and a rollout begun by it is ended by this one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy.special import zeta
from tests.tower.invariants import check
from tests.tower.world import Nature, World, quick_folder

from airboss.act.rollout import read_plan, read_run
from airboss.kernel.canonical import canonical
from airboss.kernel.ids import TimeOrderedIds
from airboss.people.access import LOCAL
from airboss.records.audit import change_key
from airboss.records.journal import Journal
from airboss.records.store import open_store
from airboss.testing import ManualClock, SeededChance
from airboss.watch.analysis import from_json, mixture, ratio, to_json

HERE = Path(__file__).parent
VERSIONS = sorted(int(folder.name.rpartition("-v")[2]) for folder in HERE.glob("database-v*"))
AGAIN = 100
"""A seed of its own: an ID the older server gave must not come again."""


def _frozen(kind: str) -> list[Path]:
    return sorted(path for folder in HERE.glob(f"{kind}-v*") for path in folder.glob("*.json"))


@pytest.fixture(params=VERSIONS, ids=lambda version: f"v{version}")
def world(request: pytest.FixtureRequest) -> Iterator[tuple[World, dict[str, str]]]:
    """A server of today on the database of an older one, a minute after that ended."""
    folder_of = HERE / f"database-v{request.param}"
    meta = json.loads((folder_of / "meta.json").read_text())
    with quick_folder() as folder:
        with closing(sqlite3.connect(folder / "airboss.db")) as connection:
            connection.executescript((folder_of / "airboss.sql").read_text())
        clock = ManualClock(datetime.fromisoformat(meta["now"]))
        clock.advance(60)
        _with_a_new_key(folder, clock)
        made = World(folder, clock=clock, seed=AGAIN, nature=Nature(per_s=400))
        yield made, meta["changes"]
        made.close()


def _with_a_new_key(folder: Path, clock: ManualClock) -> None:
    """A key is a secret and is not frozen with the database: another one takes its place, as where it was lost."""
    chance = SeededChance(AGAIN + 1)
    store = open_store(f"sqlite:///{folder / 'airboss.db'}", clock=clock)
    store.create()
    journal = Journal(store, clock=clock, ids=TimeOrderedIds(clock, chance), chance=chance)
    change_key(store, journal, folder / "journal.key", reason="not frozen", actor=LOCAL.id, chance=chance)
    store.close()


def test_the_rollouts_an_older_server_left_are_ended_by_this_one(world: tuple[World, dict[str, str]]):
    """Judged, asking and paused, held, verifying: each goes on from where it stood, and everything it is made of still holds."""
    tower, names = world
    assert {name: tower.phase(change) for name, change in names.items()} == {
        "judged": "rolling_out",
        "asking": "rolling_out",
        "held": "rolling_out",
        "verifying": "verifying",
    }
    tower.run(10, step_s=5)
    tower.order(names["asking"], "resume")
    tower.run(5, step_s=5)
    tower.order(names["asking"], "promote", by="dev-a")
    tower.order(names["verifying"], "abort")

    def asked_or_over() -> bool:
        if tower.told(names["judged"]).startswith("Waiting for payments-leads"):
            tower.order(names["judged"], "promote", by="dev-a")
        return all(tower.phase(change) in ("reviewing", "closed") for change in names.values())

    assert tower.run(900, until=asked_or_over, step_s=5), {one: tower.told(change) for one, change in names.items()}
    outcomes = {name: tower.change(change).outcome for name, change in names.items()}
    assert outcomes == {
        "judged": "completed",
        "asking": "completed",
        "held": "completed",
        "verifying": "rolled back",
    }
    check(tower.house)


@pytest.mark.parametrize("path", _frozen("plan"), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_frozen_plan_is_read_with_all_it_says(path: Path):
    """Every field that was stored is there and says the same; what came later has its default."""
    stored = json.loads(path.read_text())
    read = json.loads(canonical(read_plan(stored).stored()))
    assert _within(stored, read), (stored, read)


@pytest.mark.parametrize("path", _frozen("run"), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_frozen_run_is_read_with_all_it_says(path: Path):
    """Where a rollout stood is where it stands."""
    stored = json.loads(path.read_text())
    read = json.loads(canonical(read_run(stored).stored()))
    assert _within(stored, read), (stored, read)


@pytest.mark.parametrize("path", _frozen("analysis"), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_frozen_analysis_goes_on_where_it_was(path: Path):
    """Nothing that was counted is counted again or lost: the state read is the state stored, in today's format."""
    stored = json.loads(path.read_text())
    read = json.loads(canonical(to_json(from_json(stored))))
    assert {name: read[name] for name in stored if name not in ("format", "tracks")} == {
        name: value for name, value in stored.items() if name not in ("format", "tracks")
    }
    for old, new in zip(stored["tracks"], read["tracks"], strict=True):
        weighed_anew = ("harm_main", "harm_late") if stored["format"] == 1 else ()
        assert _within({name: value for name, value in old.items() if name not in weighed_anew}, new)


@pytest.mark.parametrize("path", sorted((HERE / "analysis-v1").glob("*.json")), ids=lambda path: path.stem)
def test_evidence_of_the_first_format_does_not_grow_by_being_read(path: Path):
    """The late start has another law today: what an older server gathered is worth what it was, or a trifle less."""
    stored = json.loads(path.read_text())
    state = from_json(stored)
    seen = stored["looks"]
    for track, today in zip(stored["tracks"], state.tracks, strict=True):
        rest = 0.25 * zeta(1.2, seen + 6.0) / zeta(1.2, 6.0)
        weight = np.exp(ratio.HARM_LOG_WEIGHTS)
        told = 0.75 * weight @ np.exp(track["harm_main"]) + 0.25 * weight @ np.exp(track["harm_late"]) + rest
        again = mixture.log_value(
            today.harm_main, today.harm_late, state.looks + state.looks_ahead, ratio.HARM_LOG_WEIGHTS
        )
        assert told * 0.97 <= np.exp(again) <= told * (1 + 1e-9)


def test_frozen_facts_and_decisions_are_read(world: tuple[World, dict[str, str]]):
    """Each kind of fact and each decision of an older server is told by this one."""
    tower, names = world
    kinds = {
        json.loads(line)["type"] for path in HERE.glob("fact-v*/*.jsonl") for line in path.read_text().splitlines()
    }
    with tower.house.store.read() as connection:
        seen = {fact.type for fact in tower.house.journal.read(connection, limit=100_000)}
        decided = [tower.house.policies.decisions_of(connection, change) for change in names.values()]
    assert kinds <= seen
    assert all(decided)


def _within(old: object, new: object) -> bool:
    """Return whether all of the old value stands in the new one; more may stand beside it."""
    match old, new:
        case dict(), dict():
            return all(key in new and _within(value, new[key]) for key, value in old.items())
        case list(), list():
            return len(old) == len(new) and all(_within(*pair) for pair in zip(old, new, strict=True))
        case _:
            return old == new
