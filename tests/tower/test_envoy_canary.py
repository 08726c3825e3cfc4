"""A release behind a real Envoy, judged by what its two versions report: real requests, real shares, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.edge import LEFT_OUT, WITHOUT, Edge, send
from tests.tower.test_envoy import CONNECTION, release, stage
from tests.tower.world import CATALOG, Nature, World

from airboss.act.rollout import judgement_of
from airboss.watch.telemetry import Columns, Origin

pytestmark = pytest.mark.skipif(LEFT_OUT, reason=WITHOUT)

CANARY = release(
    stage(
        steps="""
          - {expose: 10%, bake: {least: 5s, most: 180s}}
          - {expose: 50%, bake: {least: 5s, most: 180s}}
          - {expose: 100%, bake: {least: 5s, most: 180s}}
"""
    )
).replace("gates: [data]", "gates: [data, {canary: {sli: checkout-errors}}]")


class Edged(World):
    """Every request goes through Envoy. Whichever side answers it reports a span: the green processes name the change
    they were deployed by in their resource, the blue ones none, as processes do that were there before.
    """

    edge: Edge
    deployed: str = ""
    answered: tuple[int, int] = (0, 0)

    def traffic(self, step_s: int = 1) -> None:
        now_us = self._told_of_exposures()
        blue, green, failed = asyncio.run(send(self.edge.port, self.nature.per_s * step_s))
        assert not failed
        self.answered = (self.answered[0] + blue, self.answered[1] + green)
        columns = Columns()
        ids = (self.deployed,) if self.deployed else ()
        columns.origins += [Origin("checkout", "production", ()), Origin("checkout", "production", ids)]
        columns.items += [blue, green]
        rates = [self.nature.bad_old] * blue + [self.nature.bad_new] * green
        draws = self.random.random(blue + green).tolist()
        ages = self.random.integers(0, step_s * 1_000_000, blue + green).tolist()
        for number, (rate, draw, age_us) in enumerate(zip(rates, draws, ages, strict=True)):
            columns.resource.append(int(number >= blue))
            columns.start_ns.append((now_us - age_us - 20_000) * 1000)
            columns.end_ns.append((now_us - age_us) * 1000)
            columns.bad.append(draw < rate)
        self._count(columns, now_us)

    def goes_out(self) -> str:
        change = self.propose(CANARY)
        self.deployed = change
        self.run(2)
        self.approve(change)
        return change


@pytest.fixture
def edged(tmp_path: Path) -> Iterator[Edged]:
    edge = Edge(tmp_path / "production", "edge-production")
    edge.start()
    home = tmp_path / "server"
    home.mkdir()
    known = CONNECTION % (edge.name, edge.admin, edge.routes.relative_to(tmp_path))
    world = Edged(home, nature=Nature(per_s=600), catalog=f"{CATALOG}---{known}", route_folder=tmp_path)
    world.edge = edge
    yield world
    world.close()
    edge.close()


def test_a_bad_version_behind_envoy_is_convicted_by_its_track_and_taken_back(edged: Edged):
    """A tenth of the requests meets it and one in ten of those fails: told from the old side by the deployment its spans
    name, convicted, and within moments nobody meets it; the version stays blocked.
    """
    edged.nature.bad_new = 0.1
    change = edged.goes_out()
    assert edged.run(120, until=lambda: edged.phase(change) in ("reviewing", "closed")), edged.told(change)
    assert edged.change(change).outcome == "rolled back"
    (convicted,) = edged.bodies(change, "harm.convicted")
    assert [gate["gate"] for gate in convicted["gates"]] == ["canary:checkout-errors"]
    numbers = convicted["gates"][0]["numbers"]
    assert numbers["canary_rate"] > 10 * numbers["baseline_rate"]
    assert [body["percent"] for body in edged.bodies(change, "exposure.reached")] == [10]
    assert edged.edge.share(2_000) == 0
    (block,) = edged.house.rollouts.blocked(edged.people["dev-a"])
    assert block.change_id == change


def test_a_good_version_behind_envoy_is_promoted_on_the_evidence_of_both_tracks(edged: Edged):
    """Each step ends because what both sides reported certifies it; the counts judged are of requests Envoy really sent
    there, and at the end everybody meets the new version.
    """
    change = edged.goes_out()
    assert edged.run(300, until=lambda: edged.phase(change) in ("reviewing", "closed")), edged.told(change)
    assert edged.change(change).outcome == "completed"
    ends = edged.bodies(change, "step.ended")
    assert [end["step"] for end in ends] == [1, 2, 3]
    for end in ends[:2]:
        (canary,) = [answer for answer in end["answers"] if answer["kind"] == "canary"]
        assert (canary["outcome"], canary["numbers"]["kind"]) == ("pass", "ratio")
        assert 0 < canary["numbers"]["canary_seen"] <= edged.answered[1]
        assert 0 < canary["numbers"]["baseline_seen"] <= edged.answered[0]
    with edged.house.store.read() as connection:
        assert judgement_of(connection, change, 1, "checkout@production") is not None
    assert edged.edge.share(2_000) == 100
