"""Ways in which others' rollouts advance without evidence. Here each of them holds, refuses, or takes back.

One test a trap, named by it. What production shows is real telemetry in virtual time; nothing is stubbed but the fault.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tower.world import QUICK, WATCHED, Nature, World, ramp

import airboss.tower.judge
from airboss.act.rollout import Gate
from airboss.act.rollout.gates import canary_answers, data_answer
from airboss.kernel.errors import AirbossError
from airboss.testing import ManualClock
from airboss.tower.objectives import Out
from airboss.watch.analysis import ArmCounts, Block, Design, Kind, Metric, StepContext, decide, new_step, start, update

SECOND = 1_000_000
ONE_STEP = """
          - {expose: 10%, bake: {least: 5s, most: 20s}}
          - {expose: 100%, bake: {least: 5s, most: 20s}}
"""


def _advanced(world: World, change: str) -> bool:
    return bool(world.bodies(change, "step.ended"))


def _ends_back(world: World, change: str, seconds: int = 300) -> None:
    """Everything is taken back, no step ever ended well, and nobody was convicted of what nobody saw."""
    assert world.run(seconds, until=lambda: world.phase(change) == "reviewing", step_s=2), world.told(change)
    assert world.change(change).outcome == "rolled back"
    assert not _advanced(world, change)
    assert "harm.convicted" not in world.facts(change)
    assert world.percent() == 0


@pytest.mark.parametrize(
    "gates",
    [
        "\n      - {canary: {}}\n",
        "\n      - {burn_rate: {}}\n",
        "\n      - {annotation_coverage: {}}\n",
        "\n      - {canary: {sli: nothing-known}}\n      - data\n",
        " []\n",
    ],
    ids=["canary", "burn", "coverage", "unknown indicator", "no gate at all"],
)
def test_no_condition_on_a_measurement_is_not_success(world: World, gates: str):
    """A gate that says nothing to fail at, or a stage without gates, is refused before anybody reviews it."""
    with pytest.raises(AirbossError) as refusal:
        world.propose(ramp(gates=gates))
    assert refusal.value.place
    assert refusal.value.detail


@pytest.mark.parametrize(
    ("gates", "says"),
    [
        ("\n      - {burn_rate: {slo: checkout-availability, above: 50}}\n      - data\n", "cannot fail"),
        ("\n      - {burn_rate: {slo: checkout-availability, above: 0}}\n      - data\n", ""),
        ("\n      - {annotation_coverage: {least: 0%}}\n      - data\n", ""),
    ],
    ids=["burn above what can burn", "burn of nothing", "coverage of nothing"],
)
def test_a_limit_that_can_never_be_reached_is_not_a_gate(world: World, gates: str, says: str):
    """With 2 % allowed the budget burns at most fifty times: a bound nobody can pass is refused with its place."""
    with pytest.raises(AirbossError) as refusal:
        world.propose(ramp(gates=gates))
    assert says in refusal.value.detail
    assert refusal.value.place


def test_an_analysis_that_ends_without_a_measurement_is_not_success(make_world: Callable[..., World]):
    """Not one request of the canary was ever counted: at the end of its time the step holds, and goes back."""
    world = make_world(nature=Nature(seen=False))
    steps = "\n          - {expose: 10%, bake: {least: 5s, most: 20s}}\n"
    change = world.propose(ramp(steps=steps, gates="\n      - {canary: {sli: checkout-errors}}\n"))
    assert world.run(60, until=lambda: "hold.begun" in world.facts(change), step_s=2)
    assert "no sealed block" in world.told(change)
    _ends_back(world, change)


def test_a_timer_does_not_make_a_verdict_good(make_world: Callable[..., World]):
    """Too few people to say anything when `most` is over: the clock ends the bake, and never the question."""
    world = make_world(nature=Nature(per_s=10, users=60))
    change = world.propose(ramp(steps=ONE_STEP, gates="\n      - {canary: {sli: checkout-errors}}\n      - data\n"))
    assert world.run(90, until=lambda: "hold.begun" in world.facts(change), step_s=2)
    assert world.bodies(change, "hold.begun")[0]["kind"] == "inconclusive"
    _ends_back(world, change)


def test_a_missing_objective_does_not_pass(world: World):
    """A gate on an objective that is not there is refused at submit; asked all the same, it answers `error`."""
    with pytest.raises(AirbossError) as refusal:
        world.propose(ramp(gates="\n      - {burn_rate: {slo: gone, above: 14.4}}\n      - data\n"))
    assert "gone" in refusal.value.detail
    now = world.clock.now()
    answer = world.house.objectives.burn(
        "burn_rate:gone",
        "gone",
        "production",
        14.4,
        now,
        Out(change_id="chg_none", attempt=1, unit="u", exposed=now - now),
    )
    assert answer.outcome == "error"
    assert "gone" in answer.sentence


def _verdict(canary: ArmCounts, baseline: ArmCounts, *, blocks: int, design: Design) -> str:
    context = StepContext(index=0, share_canary=0.5, next_share=1.0, allowance=0.005, is_last_before_full=True)
    state = new_step(start((Metric(name="errors", kind=Kind.RATIO),), 0.01, 0.05, 1, design=design), context)
    for number in range(blocks):
        begin = number * SECOND
        state = update(
            state,
            Block(start_us=begin, end_us=begin + SECOND, share_canary=0.5, canary=canary, baseline=baseline),
        )
    return str(decide(state).as_json()["outcome"])


def _arm(requests: int, bad: int = 0) -> ArmCounts:
    return ArmCounts(
        requests=requests, bad=bad, first_seen=requests, first_bad=bad, subjects=requests, subjects_bad=bad
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5000), st.integers(1, 40), st.sampled_from(list(Design)))
def test_without_a_baseline_a_relative_criterion_does_not_pass(requests: int, blocks: int, design: Design):
    """However many good answers the canary gives: with nobody on the other side there is nothing it is as good as."""
    assert _verdict(_arm(requests), ArmCounts(), blocks=blocks, design=design) in ("continue", "inconclusive")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 50), st.integers(1, 40), st.sampled_from(list(Design)))
def test_an_empty_canary_is_not_a_canary_without_errors(requests: int, bad: int, blocks: int, design: Design):
    """Missing is not zero: a side nobody met is never certified, whatever the baseline shows."""
    verdict = _verdict(ArmCounts(), _arm(requests, min(bad, requests)), blocks=blocks, design=design)
    assert verdict in ("continue", "inconclusive")


def test_missing_numbers_are_not_zeros_for_any_gate():
    """No block, no newest sample, no verdict of the metric asked for: none of it passes, and none convicts."""
    now = ManualClock().now()
    canary, data = Gate(id="canary:errors", kind="canary", sli="errors", signal="errors"), Gate(id="data", kind="data")
    (unseen,) = canary_answers([canary], None, last_block=None, now=now)
    (other,) = canary_answers([canary], {"metrics": [], "outcome": "pass"}, last_block=now, now=now)
    assert (unseen.outcome, other.outcome) == ("inconclusive", "error")
    assert data_answer(data, newest=None, events=10**6, now=now).outcome == "error"
    assert data_answer(data, newest=now, events=None, now=now).outcome == "error"


def test_a_judge_that_breaks_drops_no_metric(world: World, monkeypatch: pytest.MonkeyPatch):
    """An exception while judging is an error of that gate: held with its name, and taken back at the deadline."""

    def broken(_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(airboss.tower.judge, "decide", broken)
    world.loud.expected = True
    change = world.propose(ramp(steps=ONE_STEP))
    assert world.run(60, until=lambda: "hold.begun" in world.facts(change), step_s=2)
    assert "canary:checkout-errors could not be judged: ZeroDivisionError" in world.told(change)
    assert world.bodies(change, "hold.begun")[0]["kind"] == "error"
    _ends_back(world, change)


def test_a_judge_that_breaks_silences_no_other_gate(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch):
    """The analysis breaks while the budget burns: the gate that can still see convicts."""

    def broken(_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(airboss.tower.judge, "decide", broken)
    world = make_world(nature=Nature(per_s=100))
    world.loud.expected = True
    world.run(300, step_s=20)
    change = world.propose(ramp(steps=ONE_STEP.replace("most: 20s", "most: 10m"), on_error="20m"))
    assert world.run(60, until=lambda: world.percent() == 10, step_s=2)
    world.nature.bad_old = world.nature.bad_new = 0.9
    assert world.run(300, until=lambda: "harm.convicted" in world.facts(change), step_s=5), world.told(change)
    (convicted,) = world.bodies(change, "harm.convicted")
    assert [gate["gate"] for gate in convicted["gates"]] == ["burn_rate:checkout-availability"]


@pytest.mark.parametrize("bake", [", bake: {least: 0s, most: 20s}", ", bake: {least: -5s, most: 20s}", ""])
def test_a_step_without_a_bake_is_refused_and_promotes_nobody(world: World, bake: str):
    """An exposure that need not stand for any time is no step, whatever gates it has; left out is not nothing."""
    with pytest.raises(AirbossError) as refusal:
        world.propose(ramp(steps=f"\n          - {{expose: 10%{bake}}}\n", gates=QUICK))
    assert refusal.value.place


def test_old_data_that_was_good_does_not_pass(world: World):
    """Everything was fine until telemetry stopped: what is a minute old ends no step."""
    change = world.propose(ramp(steps=ONE_STEP.replace("least: 5s", "least: 15s"), gates=WATCHED))
    assert world.run(60, until=lambda: len(world.bodies(change, "gate.answered")) >= 3)
    world.nature.seen = False
    _ends_back(world, change)
