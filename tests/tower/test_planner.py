"""What the planner refuses at submit, what it only says, and what policy is told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from tests.tower.world import Nature, World, quick_folder, ramp

from airboss.changes import Create
from airboss.kernel.errors import Refused

NIGHT = "the requests of the night are a tenth of the day's"


@pytest.fixture
def world() -> Iterator[World]:
    """A world of few requests: 10 a second."""
    with quick_folder() as folder:
        made = World(folder, nature=Nature(per_s=10))
        yield made
        made.close()


def _draft(world: World, document: str) -> str:
    return world.house.changes.create(
        Create(data=document.encode(), source="change.yaml"), actor=world.people["dev-a"]
    ).id


def _findings(world: World, change: str) -> dict[str, str]:
    """Return what was found at submit: code and message."""
    with world.house.store.read() as connection:
        facts = world.house.journal.of(connection, change)
        found = next(fact for fact in facts if fact.type == "change.submitted").body["findings"]
        texts = world.house.journal.texts(connection, [one["message"] for one in found])
        return {one["code"]: texts[one["message"]] for one in found}


def _told(world: World, change: str) -> dict[str, object]:
    """Return what policy was told of a change."""
    with world.house.store.read() as connection:
        (first, *_) = world.house.policies.decisions_of(connection, change)
        told: dict[str, object] = json.loads(first.input)["change"]
        return told


def test_a_step_that_cannot_be_certified_is_refused_unless_somebody_says_why(world: World):
    """With the traffic known it is refused with its place, the numbers and the way out, and stays a draft.

    A reason lets it start; policy reads that there is one, and approvers see it.
    """
    world.run(60, step_s=2)
    change = _draft(world, ramp(users=40))
    with pytest.raises(Refused) as refusal:
        world.submit(change)
    told = refusal.value
    assert told.code == "step-underpowered"
    assert re.fullmatch(r"change\.yaml:\d+:\d+", told.place or "")
    assert re.search(r"needs [\d,]+ requests, which take about \d+ min at [\d.]+ a second, and has 3 min", told.detail)
    assert "bake: {most: …}" in (told.way_out or "")
    assert "accept_underpowered" in (told.way_out or "")
    assert world.phase(change) == "draft"
    assert world.facts(change) == ["change.drafted"]

    world.edit(change, ramp(users=40, accept=NIGHT))
    world.submit(change)
    world.run(4, step_s=2)
    assert world.change(change).expanded().accepts_underpowered == NIGHT
    assert NIGHT in _findings(world, change)["step-too-short"]
    assert (_told(world, change)["traffic_known"], _told(world, change)["accepts_underpowered"]) == (True, True)


def test_an_edit_is_refused_as_a_submit_is(world: World):
    """What is in review stays as it was when an edit would make its evidence come too late."""
    change = world.propose(ramp(users=40))
    world.run(60, step_s=2)
    before = world.change(change)
    with pytest.raises(Refused, match="cannot be certified"):
        world.edit(change, ramp(users=40, title="Another title", steps="[{expose: 2%, bake: {least: 5s, most: 10s}}]"))
    after = world.change(change)
    assert (after.version, after.digest, after.title) == (before.version, before.digest, before.title)


def test_without_traffic_nothing_is_refused_and_policy_is_told(world: World):
    """Before anybody sent a request there is not enough data to say how long a step takes: said so, not guessed."""
    change = world.propose(ramp(users=40))
    assert "not enough data" in _findings(world, change)["traffic-unknown"]
    world.run(2, step_s=2)
    assert (_told(world, change)["traffic_known"], _told(world, change)["accepts_underpowered"]) == (False, False)


def test_a_margin_finer_than_can_be_told_apart_is_refused_whatever_the_traffic(world: World):
    """A latency margin of 5 % before everybody could be certified by no number of requests; no reason lets it pass."""
    world.apply(LATENCY)
    gates = "[{canary: {sli: checkout-latency, margin: 5%}}, data]"
    steps = "[{expose: 50%, bake: {least: 30s, most: 1h}}, {expose: 100%, bake: {least: 30s}}]"
    with pytest.raises(Refused) as refusal:
        world.propose(ramp(users=40, gates=gates, steps=steps, accept=NIGHT))
    told = refusal.value
    assert told.code == "metric-margin"
    assert re.fullmatch(r"change\.yaml:\d+:\d+", told.place or "")
    assert "spec.rollout.gates[0].canary" in told.detail
    assert told.way_out == "a margin of at least 9.06%"


LATENCY = """
apiVersion: openslo/v1
kind: SLI
metadata: {name: checkout-latency}
spec:
  thresholdMetric: {metricSource: {type: builtin, spec: {signal: spans, service: checkout, value: duration}}}
"""
