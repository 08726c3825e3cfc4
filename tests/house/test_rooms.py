"""The contract that holds doors and strangers catches what it is there for."""

from __future__ import annotations

import grimp
import pytest
from tests.house.contracts import Rooms


def _contract() -> Rooms:
    options = {
        "root": "airboss",
        "flat_wings": ["catalog"],
        "open_wings": ["kernel"],
        "pairs": ["act.rollout -> act.flags"],
        "deep_entries": ["faces.cli -> demo."],
    }
    return Rooms(name="rooms", session_options={}, contract_options=options)


@pytest.mark.parametrize(
    ("importer", "imported", "kept"),
    [
        ("airboss.tower.loop", "airboss.decide.policy", True),
        ("airboss.tower.loop", "airboss.decide.policy.rules", False),
        ("airboss.tower.loop", "airboss.catalog", True),
        ("airboss.tower.loop", "airboss.catalog.repo", False),
        ("airboss.decide.policy.service", "airboss.decide.policy.rules", True),
        ("airboss.decide.policy.service", "airboss.decide.approvals", False),
        ("airboss.decide", "airboss.decide.policy", True),
        ("airboss.act.rollout.engine", "airboss.act.flags", True),
        ("airboss.act.rollout.engine", "airboss.act.flags.rules", False),
        ("airboss.act.flags.service", "airboss.act.rollout", False),
        ("airboss.kernel.clock", "airboss.kernel.errors", True),
        ("airboss.people.access", "airboss.kernel.errors", True),
        ("airboss.faces.cli.main", "airboss.demo.world", True),
        ("airboss.faces.api.main", "airboss.demo.world.inner", False),
    ],
)
def test_a_wall_is_a_wall(importer: str, imported: str, *, kept: bool) -> None:
    """An import is kept when it goes through a door or stays at home, and is told otherwise."""
    graph = grimp.ImportGraph()
    for module in ("airboss", importer, imported):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported, line_number=3, line_contents="import")
    assert _contract().check(graph, verbose=False).kept is kept
