"""The examples of the repository are files this version takes and carries out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tower.world import World

from airboss.act.rollout import compile_plan
from airboss.changes import Create

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def furnished(world: World) -> World:
    """A house with everything in force that the examples say, but the changes."""
    files = [(path.read_bytes(), path.name) for path in sorted(EXAMPLES.iterdir()) if "change-" not in path.name]
    world.house.kinds.apply_all(world.house.kinds.parse_all(files), actor=world.people["root"])
    return world


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("change-flag-ramp.yaml", ["checkout@production"]),
        ("change-service-release.yaml", ["checkout@staging", "checkout@production"]),
    ],
)
def test_every_example_is_applied_submitted_and_has_a_plan(furnished: World, name: str, units: list[str]):
    """Applied in the order of their kinds, each change is submitted without a fault and compiles to what it says."""
    create = Create(data=(EXAMPLES / name).read_bytes(), source=name)
    change = furnished.house.changes.create(create, actor=furnished.people["dev-a"])
    plan = compile_plan(furnished.submit(change.id).expanded())
    assert [unit.name for unit in plan.units] == units


def test_all_at_once_is_one_step_in_every_environment(furnished: World):
    """Without steps of its own, a release all at once goes to everybody in one step, under the data gate."""
    text = (EXAMPLES / "change-service-release.yaml").read_text()
    head, _, rest = text.partition("        steps:\n")
    text = head + rest[rest.index("    allowance:") :]
    text = text.replace("strategy: canary", "strategy: all-at-once").replace(
        "    gates:\n", "    gates:\n      - data\n", 1
    )
    create = Create(data=text.encode(), source="change.yaml")
    change = furnished.house.changes.create(create, actor=furnished.people["dev-a"])
    plan = compile_plan(furnished.submit(change.id).expanded())
    assert [(step.unit, step.percent) for step in plan.steps] == [
        ("checkout@staging", 100),
        ("checkout@production", 100),
    ]
