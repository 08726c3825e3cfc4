"""Whole changes in virtual time: policy, people, traffic, gates, verdicts and the way back, all real."""

from __future__ import annotations

import itertools

import pytest
from tests.tower.world import World, ramp

from airboss.act.rollout import exposures_of
from airboss.decide.approvals import CastVote, Verdict
from airboss.kernel.errors import AirbossError, Refused
from airboss.learn.reviews import CloseReview

ENDED = ("reviewing", "closed")


def _goes_live(world: World, change: str, *, seconds: int = 600, step_s: int = 5) -> None:
    """Let time pass until people meet the change."""
    assert world.run(seconds, until=lambda: "exposure.reached" in world.facts(change), step_s=step_s)


def test_a_healthy_ramp_of_low_risk_completes_alone(world: World):
    """Nobody is asked: evidence ends each step, and the record closes with a review of the facts."""
    change = world.propose()
    assert world.run(900, until=lambda: world.phase(change) in ENDED, step_s=5)
    facts = world.facts(change)
    assert [kind for kind in facts if kind.startswith("change.")] == [
        "change.drafted",
        "change.submitted",
        "change.approved",
        "change.validation_started",
        "change.rollout_started",
        "change.verification_started",
        "change.completed",
        "change.review_opened",
        "change.closed",
    ]
    assert facts.count("step.ended") == 4
    assert "harm.convicted" not in facts
    assert world.percent() == 0.0  # the ramp is over: everybody has it
    assert world.serves() == "on"

    # Each step's end carries every gate's answer, all of them a pass, with the counts behind it.
    ends = world.bodies(change, "step.ended")
    assert [end["step"] for end in ends] == [1, 2, 3, 4]
    for end in ends:
        assert {answer["outcome"] for answer in end["answers"]} == {"pass"}
        canary = [answer for answer in end["answers"] if answer["kind"] == "canary"]
        assert len(canary) == (1 if end["step"] < 4 else 0)  # at 100 % there is nobody to compare with
        assert all(answer["numbers"]["baseline_rate"] is not None for answer in canary)
    with world.house.store.read() as connection:
        rows = exposures_of(connection, change)
    assert [row.percent for row in rows] == [1, 10, 50, 100]
    flags = {row.flag for row in world.exposures.of_change(change)}
    assert [(flag.canary_variants, flag.baseline_variant) for flag in flags if flag] == [({"on"}, "off")]
    assert all(row.to_at is not None for row in rows)
    assert all(earlier.to_at <= later.from_at for earlier, later in itertools.pairwise(rows))


def test_a_bad_change_of_medium_risk_is_approved_convicted_taken_back_and_stays_blocked(world: World):
    """The second story: another person approves, harm is found, the version is blocked until somebody lifts it."""
    world.nature.bad_new = 0.05
    change = world.propose(ramp(users=40))
    world.run(10, step_s=5)
    assert world.phase(change) == "awaiting_approval"
    with pytest.raises(AirbossError):
        world.approve(change, "dev-a")  # not the one who asks
    world.approve(change, "dev-b")
    assert world.run(900, until=lambda: world.phase(change) == "reviewing", step_s=5)
    facts = world.facts(change)
    assert facts.index("harm.convicted") < facts.index("rollback.started") < facts.index("rollback.ended")
    assert world.percent() == 0
    assert world.serves() == "off"
    convicted = world.bodies(change, "harm.convicted")[0]
    assert any(gate["outcome"] == "fail" and gate["numbers"] for gate in convicted["gates"])

    with world.house.store.read() as connection:
        review = world.house.reviews.of(connection, change, world.people["dev-a"])
    assert review is not None
    assert review.closed_at is None

    same = world.propose(ramp(users=40), by="dev-b")
    world.run(10, step_s=5)
    assert world.phase(same) == "in_review"
    assert "rolled back before" in world.change(same).sentence
    (block,) = world.house.rollouts.blocked(world.people["dev-a"])
    assert f"airboss version lift {block.service} {block.digest}" in world.change(same).sentence
    world.house.rollouts.lift(block.service, block.digest, "mended the rounding", world.people["dev-a"])
    assert world.run(130, until=lambda: world.phase(same) == "awaiting_approval", step_s=10)

    world.house.reviews.close(CloseReview(review=review.id, verdict="no", answers={}), world.people["dev-b"])
    world.run(5, step_s=5)
    assert world.phase(change) == "closed"


def test_an_edit_after_the_vote_asks_again(world: World):
    """What was approved is what starts: the plan edited after an approval goes back to review and to a new vote."""
    change = world.propose(ramp(users=40))
    world.run(5, step_s=5)
    world.approve(change)
    world.edit(change, ramp(users=45))
    world.run(5, step_s=5)
    assert world.phase(change) == "awaiting_approval"
    world.approve(change)
    assert world.run(30, until=lambda: world.phase(change) == "rolling_out", step_s=5)


def test_changes_asked_for_are_made_and_reviewed_again(world: World):
    """An approver asks for changes: the change waits in review for its author, then asks again."""
    change = world.propose(ramp(users=40))
    world.run(5, step_s=5)
    seen = world.change(change).digest or ""
    ask = CastVote(change=change, verdict=Verdict.ASK, seen=seen, comment="start with less")
    world.house.approvals.vote(ask, world.people["dev-b"])
    world.run(180, step_s=60)
    assert world.phase(change) == "in_review"
    assert world.facts(change).count("round.opened") == 1
    # Of the requests of three minutes the world saw few: what they could not certify is accepted.
    world.edit(change, ramp(users=30, accept="few requests were seen while it waited"))
    world.run(5, step_s=5)
    assert world.phase(change) == "awaiting_approval"


def test_a_rejected_change_is_over(world: World):
    """One no ends it, and nothing can be ordered any more."""
    change = world.propose(ramp(users=40))
    world.run(5, step_s=5)
    seen = world.change(change).digest or ""
    no = CastVote(change=change, verdict=Verdict.REJECT, seen=seen, comment="not before the audit")
    world.house.approvals.vote(no, world.people["dev-b"])
    world.run(5, step_s=5)
    assert world.phase(change) == "rejected"
    with pytest.raises(Refused):
        world.order(change, "abort")


def test_nobody_votes_and_it_expires(world: World):
    """A round has an end; a change nobody answers for does not wait for ever."""
    change = world.propose(ramp(users=40))
    world.run(10, step_s=5)
    world.clock.advance(72 * 3600)
    world.look()
    assert world.phase(change) == "expired"


def test_the_kill_switch_holds_a_ramp_and_then_takes_it_back(world: World):
    """Killed by a person, nobody has the new side; the ramp is held, and taken back when that stays so."""
    change = world.propose()
    _goes_live(world, change)
    world.house.flags.kill("tax.engine", "support calls", actor=world.people["root"])
    world.run(10, step_s=5)
    assert "kill switch" in world.told(change)
    assert "hold.begun" in world.facts(change)
    assert world.run(120, until=lambda: world.phase(change) in ENDED, step_s=10)
    assert world.change(change).outcome == "rolled back"
    assert "step.ended" not in world.facts(change)


def test_a_kill_switch_lifted_in_time_lets_the_ramp_go_on(world: World):
    """Killing is not aborting: lifted before the deadline, the ramp goes on where it was."""
    change = world.propose()
    _goes_live(world, change)
    world.house.flags.kill("tax.engine", "support calls", actor=world.people["root"])
    world.run(30, step_s=5)
    world.house.flags.unkill("tax.engine", actor=world.people["root"])
    assert world.run(900, until=lambda: world.phase(change) in ENDED, step_s=5)
    assert world.change(change).outcome == "completed"
    assert "hold.ended" in world.facts(change)


def test_without_telemetry_nothing_is_promoted_and_all_is_taken_back(world: World):
    """Telemetry cut: held, however good it looked, and back at the deadline of the hold."""
    change = world.propose()
    _goes_live(world, change)
    world.nature.seen = False
    steps = world.facts(change).count("step.ended")
    assert world.run(300, until=lambda: world.phase(change) in ENDED, step_s=5)
    facts = world.facts(change)
    assert facts.count("step.ended") == steps
    assert facts.index("hold.begun") < facts.index("rollback.started")
    assert "harm.convicted" not in facts  # silence is no harm, so nothing is blocked
    assert world.house.rollouts.blocked(world.people["dev-a"]) == []
    assert world.percent() == 0


def test_telemetry_that_comes_back_in_time_lets_the_ramp_go_on(world: World):
    """A gap shorter than the hold costs time and nothing else."""
    change = world.propose()
    _goes_live(world, change)
    world.nature.seen = False
    assert world.run(90, until=lambda: "hold.begun" in world.facts(change), step_s=5)
    world.run(20, step_s=5)
    world.nature.seen = True
    assert world.run(900, until=lambda: world.phase(change) in ENDED, step_s=5)
    assert world.change(change).outcome == "completed"
    assert "hold.ended" in world.facts(change)


def test_harm_at_full_exposure_is_found_while_verifying(make_world):
    """Harm that only shows when everybody has it burns the budget, and that takes back from 100 %."""
    world = make_world()
    change = world.propose(ramp(steps=RISING_WITH_A_LONG_END))
    assert world.run(900, until=lambda: world.percent() == 100, step_s=5)
    world.nature.bad_new = 0.5
    assert world.run(400, until=lambda: world.phase(change) in ENDED, step_s=5)
    assert world.change(change).outcome == "rolled back"
    assert world.serves() == "off"


RISING_WITH_A_LONG_END = """
          - {expose: 10%, bake: {least: 5s, most: 120s}}
          - {expose: 50%, bake: {least: 5s, most: 120s}}
          - {expose: 100%, bake: {least: 300s, most: 600s}}
"""
