"""The engine's rules: what moves a rollout, and everything that must not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.act.rollout.model import Answer, Run, Seen, read_run
from airboss.act.rollout.plan import Ask, Expose, Gate, Plan, Unit, read_plan
from airboss.act.rollout.rules import begin, look, roll_back, taking_back, worst
from airboss.act.rollout.verification import verifying
from airboss.act.targets import Baseline, Exposure, Observation
from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Refused

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
DATA = Gate(id="data", kind="data")
ERRORS = Gate(id="errors", kind="canary", sli="checkout-errors", signal="errors")
UNIT = Unit(
    name="checkout@production",
    service="checkout",
    environment="production",
    kind="flag",
    params={"name": "tax.engine"},
    digest="sha256:new",
)


def _expose(percent: float, **more) -> Expose:
    return Expose(unit=UNIT.name, percent=percent, gates=(DATA, ERRORS), **{"least_s": 60.0, "most_s": 240.0, **more})


def _plan(*steps, **more) -> Plan:
    return Plan(units=(UNIT,), steps=steps or (_expose(1), _expose(50), _expose(100)), allowance_share=0.005, **more)


def _seen(percent: float, *outcomes: str, digest: str = "sha256:new", **more) -> Seen:
    observation = Observation(
        exposure=Exposure(new_percent=percent), new_digest=digest, healthy=True, at=NOW, sentence=""
    )
    answers = tuple(
        Answer(gate=f"gate-{number}", kind="data", outcome=outcome, sentence=f"says {outcome}")
        for number, outcome in enumerate(outcomes)
    )
    return Seen(units={UNIT.name: observation}, answers=answers, **more)


def _at(percent_step: int = 0, *, reached_ago_s: float = 0.0, **more) -> Run:
    baseline = Baseline(new_percent=0, digest="sha256:old")
    return Run(
        step=percent_step,
        started_at=NOW - timedelta(hours=1),
        step_started_at=NOW - timedelta(seconds=reached_ago_s),
        reached_at=NOW - timedelta(seconds=reached_ago_s),
        baselines={UNIT.name: baseline},
        **more,
    )


def test_a_step_ends_when_the_least_is_over_and_every_gate_passes_now():
    """Evidence ends a step early: long before `most`, but never before `least`."""
    assert look(_plan(), _at(reached_ago_s=59), _seen(1, "pass", "pass"), NOW).run.step == 0
    ruling = look(_plan(), _at(reached_ago_s=60), _seen(1, "pass", "pass"), NOW)
    assert ruling.run.step == 1
    assert [(want.kind, want.exposure.new_percent) for want in ruling.wants] == [("apply", 50)]


@pytest.mark.parametrize("outcome", ["inconclusive", "error"])
def test_nothing_advances_on_less_than_a_pass(outcome: str):
    """One gate without a pass keeps the step, however long it has baked."""
    for ago in (60, 240, 100_000):
        ruling = look(_plan(), _at(reached_ago_s=ago), _seen(1, "pass", outcome), NOW)
        assert ruling.run.step == 0
        assert not ruling.wants


def test_no_answer_at_all_is_an_error_and_never_a_pass():
    """A run without any measurement is held; others count it as a success."""
    assert worst(()) == "error"
    ruling = look(_plan(), _at(reached_ago_s=1_000), _seen(1), NOW)
    assert ruling.run.step == 0
    assert ruling.run.hold is not None
    assert ruling.run.hold.kind == "error"


def test_fail_takes_back_at_once_and_beats_everything_else():
    """Precedence: a failed gate rolls back even while another is in error, and while paused."""
    for paused in (False, True):
        ruling = look(_plan(), _at(paused=paused), _seen(1, "error", "fail", "pass"), NOW)
        assert ruling.move == "roll_back"
        assert ruling.run.convicted
        assert "harm.convicted" in [kind for kind, _ in ruling.facts]


def test_another_digest_than_the_approved_one_counts_for_nothing():
    """The exposure stands and the gates pass, but what runs is not what was approved: held."""
    ruling = look(_plan(), _at(reached_ago_s=600), _seen(1, "pass", digest="sha256:other"), NOW)
    assert ruling.run.step == 0
    assert "not what was approved" in ruling.sentence


def test_a_target_that_does_not_answer_holds_and_then_is_taken_back():
    """Provider down: hold, never promote blind; at the deadline back."""
    plan = _plan(on_error_hold_s=900)
    away = Seen(units={UNIT.name: None}, answers=_seen(1, "pass").answers)
    held = look(plan, _at(reached_ago_s=600), away, NOW)
    assert held.run.hold is not None
    later = look(plan, held.run, away, NOW + timedelta(seconds=899))
    assert later.move == "stay"
    assert look(plan, held.run, away, NOW + timedelta(seconds=900)).move == "roll_back"


def test_drift_is_told_and_mended():
    """Exposure changed behind our back is a fact and is asked for again; the bake begins anew."""
    ruling = look(_plan(), _at(reached_ago_s=600), _seen(7, "pass"), NOW)
    assert [kind for kind, _ in ruling.facts if kind == "exposure.drifted"]
    assert ruling.wants[0].exposure == Exposure(new_percent=1)
    assert ruling.run.reached_at is None


def test_a_bake_begun_on_another_digest_does_not_count():
    """Exposure counts only while what runs is what was approved: the bake starts when it does, and anew if it is lost."""
    moving = replace(_at(reached_ago_s=600), reached_at=None)
    other = look(_plan(), moving, _seen(1, "pass", digest="sha256:other"), NOW)
    assert other.run.reached_at is None
    right = look(_plan(), other.run, _seen(1, "pass"), NOW)
    assert (right.run.step, right.run.reached_at) == (0, NOW)
    lost = look(_plan(), _at(reached_ago_s=600), _seen(1, "pass", digest="sha256:other"), NOW)
    assert "exposure.drifted" in [kind for kind, _ in lost.facts]
    assert look(_plan(), lost.run, _seen(1, "pass"), NOW + timedelta(seconds=1)).run.step == 0


@pytest.mark.parametrize("fault", ["the route is locked", None])
def test_a_target_that_never_moves_holds_and_then_is_taken_back(fault: str | None):
    """Refused, or accepted and not done in the time of the step: held while it is asked on, back at the deadline."""
    plan = _plan(on_error_hold_s=900)
    run = replace(_at(), reached_at=None, moving_since=NOW)
    at = NOW if fault else NOW + timedelta(seconds=240)
    held = look(plan, run, _seen(0, fault=fault), at)
    assert held.run.hold is not None
    assert (fault or "not within 240 s") in held.sentence
    assert [want.kind for want in held.wants] == ["apply"]
    assert look(plan, held.run, _seen(0, fault=fault), at + timedelta(seconds=900)).move == "roll_back"


def test_a_drift_asks_for_the_exposure_under_a_new_key():
    """The same share asked for again after a drift is another effect, also when a later step wants it too."""
    first = look(_plan(), _at(reached_ago_s=10), _seen(7, "pass"), NOW)
    plan = _plan(_expose(1), _expose(1), _expose(100))
    back = look(plan, replace(first.run, step_started_at=NOW), _seen(1, "pass"), NOW)
    following = look(plan, back.run, _seen(1, "pass"), NOW + timedelta(seconds=60))
    assert following.run.step == 1
    again = look(plan, look(plan, following.run, _seen(1), NOW).run, _seen(7), NOW)
    keys = [want.key("chg", 1) for ruling in (first, following, again) for want in ruling.wants]
    assert keys == [f"chg/1/apply/{UNIT.name}/1/1", f"chg/1/apply/{UNIT.name}/1/1", f"chg/1/apply/{UNIT.name}/1/2"]


@pytest.mark.parametrize(("then", "extensions", "move"), [("rollback", 0, "roll_back"), ("extend", 2, "roll_back")])
def test_inconclusive_holds_and_then_does_what_the_plan_says(then: str, extensions: int, move: str):
    """Past `most`: hold first; then roll back, and extending ends after its most."""
    plan = _plan(on_inconclusive=then, on_inconclusive_hold_s=20)
    run = _at(reached_ago_s=240 * (1 + extensions), extensions=extensions)
    held = look(plan, run, _seen(1, "inconclusive"), NOW)
    assert held.run.hold is not None
    assert held.run.hold.kind == "inconclusive"
    assert look(plan, held.run, _seen(1, "inconclusive"), NOW + timedelta(seconds=20)).move == move


def test_inconclusive_may_be_extended_and_evidence_ends_the_hold():
    """Extending gives the step as long again; evidence that comes during a hold counts."""
    plan = _plan(on_inconclusive="extend", on_inconclusive_hold_s=20)
    held = look(plan, _at(reached_ago_s=240), _seen(1, "inconclusive"), NOW)
    extended = look(plan, held.run, _seen(1, "inconclusive"), NOW + timedelta(seconds=20))
    assert extended.run.extensions == 1
    assert extended.run.hold is None
    assert look(plan, held.run, _seen(1, "pass"), NOW + timedelta(seconds=5)).run.step == 1


def test_inconclusive_asks_a_person_and_takes_back_if_nobody_decides():
    """The question has a deadline; an answer goes on, silence goes back."""
    plan = _plan(on_inconclusive="ask", on_inconclusive_hold_s=20, ask_expires_s=100)
    held = look(plan, _at(reached_ago_s=240), _seen(1, "inconclusive"), NOW)
    asked = look(plan, held.run, _seen(1, "inconclusive"), NOW + timedelta(seconds=20))
    assert asked.sentence.startswith("Needs you")
    answered = look(plan, asked.run, _seen(1, "inconclusive", answered_by="dev-a"), NOW + timedelta(seconds=30))
    assert answered.run.step == 1
    assert look(plan, asked.run, _seen(1, "inconclusive"), NOW + timedelta(seconds=120)).move == "roll_back"


def test_policy_is_asked_again_before_each_promotion():
    """Passing gates do not promote over a policy that now says no; it goes on when policy does."""
    held = look(_plan(), _at(reached_ago_s=600), _seen(1, "pass", clearance="freeze"), NOW)
    assert held.run.step == 0
    assert held.run.hold is not None
    assert held.run.hold.kind == "policy"
    assert look(_plan(), held.run, _seen(1, "pass"), NOW).run.step == 1


def test_pause_keeps_watching_and_does_not_promote():
    """Paused: no step ends well, and harm is still found."""
    assert look(_plan(), _at(reached_ago_s=600, paused=True), _seen(1, "pass"), NOW).run.step == 0


def test_an_ask_waits_under_the_gates_of_the_exposure_in_force():
    """A manual judgement: gates keep running, one answer goes on, silence goes back."""
    plan = _plan(_expose(10), Ask(group="payments-leads", expires_s=100), _expose(100))
    waiting = look(plan, _at(1, reached_ago_s=50), _seen(10, "pass"), NOW)
    assert waiting.run.step == 1
    assert look(plan, _at(1, reached_ago_s=50), _seen(10, "fail"), NOW).move == "roll_back"
    assert look(plan, _at(1, reached_ago_s=50), _seen(10, "pass", answered_by="dev-a"), NOW).run.step == 2
    assert look(plan, _at(1, reached_ago_s=50), _seen(10, "error", answered_by="dev-a"), NOW).run.step == 1
    assert look(plan, _at(1, reached_ago_s=100), _seen(10, "pass"), NOW).move == "roll_back"


def test_the_last_step_ends_in_verification_and_that_in_completion():
    """100 % is not the end: gates without a baseline keep watching, and harm there still takes back."""
    plan = _plan(verify_s=300)
    ended = look(plan, _at(2, reached_ago_s=60), _seen(100, "pass"), NOW)
    assert ended.move == "verify"
    assert verifying(plan, ended.run, _seen(100, "pass"), NOW + timedelta(seconds=299)).move == "stay"
    assert verifying(plan, ended.run, _seen(100, "pass"), NOW + timedelta(seconds=300)).move == "complete"
    assert verifying(plan, ended.run, _seen(100, "fail"), NOW + timedelta(seconds=10)).move == "roll_back"
    assert verifying(plan, ended.run, _seen(100, "error"), NOW + timedelta(seconds=300)).move == "stay"


def test_verification_watches_the_exposure_too():
    """At 100 % a lost target holds, a drift is mended, and the time begins anew once the exposure stands again."""
    plan = _plan(verify_s=300)
    run = look(plan, _at(2, reached_ago_s=60), _seen(100, "pass"), NOW).run
    away = verifying(plan, run, Seen(units={UNIT.name: None}, answers=_seen(1, "pass").answers), NOW)
    assert away.run.hold is not None
    later = NOW + timedelta(seconds=299)
    drifted = verifying(plan, run, _seen(40, "pass"), later)
    assert [want.exposure for want in drifted.wants] == [Exposure(new_percent=100)]
    mended = verifying(plan, drifted.run, _seen(100, "pass"), later)
    assert mended.run.verify_started_at == later
    assert verifying(plan, mended.run, _seen(100, "pass"), NOW + timedelta(seconds=301)).move == "stay"
    assert verifying(plan, mended.run, _seen(100, "pass"), later + timedelta(seconds=300)).move == "complete"


def test_taking_back_needs_no_telemetry_and_ends_where_it_began():
    """From any exposure, without one gate answering: revert until the baseline is observed and old effects expired."""
    run = roll_back(_at(), "abort", NOW).run
    asked = taking_back(_plan(), run, _seen(1), NOW)
    assert [want.kind for want in asked.wants] == ["revert"]
    assert taking_back(_plan(), run, _seen(0, settled=False), NOW).move == "stay"
    assert taking_back(_plan(), run, _seen(0), NOW).move == "rolled_back"


def test_an_old_order_that_arrives_after_the_revert_is_reverted_again():
    """A revert that was carried out and did not last is another effect, not a repetition the target would ignore."""
    run = roll_back(_at(), "abort", NOW).run
    keys = [
        want.key("chg", 1)
        for reverts in ({}, {UNIT.name: 1}, {UNIT.name: 2})
        for want in taking_back(_plan(), run, _seen(1, reverts=reverts), NOW).wants
    ]
    assert keys == [f"chg/1/revert/{UNIT.name}{again}" for again in ("", "/1", "/2")]


def test_a_rollback_that_cannot_finish_says_so_at_its_deadline():
    """The budget is over and a unit is elsewhere: rollback failed, with each unit's state."""
    run = roll_back(_at(), "abort", NOW).run
    ruling = taking_back(_plan(rollback_budget_s=60), run, Seen(units={}), NOW + timedelta(seconds=60))
    assert ruling.move == "rollback_failed"
    assert ruling.facts[0][1]["units"] == {UNIT.name: "no answer"}


def test_units_go_back_in_reverse_order_and_a_stuck_one_stops_only_what_it_needs():
    """web needs api: web goes first; api waits for it; db, which nobody needs, does not wait."""
    units = [replace(UNIT, name=name, needs=needs) for name, needs in (("web", ("api",)), ("api", ()), ("db", ()))]
    steps = tuple(replace(_expose(10), unit=unit.name) for unit in units)
    plan = Plan(units=tuple(units), steps=steps, allowance_share=0.005)
    baselines = {unit.name: Baseline(new_percent=0, digest="sha256:old") for unit in units}
    run = roll_back(replace(_at(), baselines=baselines), "abort", NOW).run
    there = _seen(10).units[UNIT.name]
    back = _seen(0).units[UNIT.name]
    all_out = Seen(units=dict.fromkeys(("web", "api", "db"), there))
    assert {want.unit for want in taking_back(plan, run, all_out, NOW).wants} == {"web", "db"}
    web_back = Seen(units={"web": back, "api": there, "db": back})
    assert {want.unit for want in taking_back(plan, run, web_back, NOW).wants} == {"api"}


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((), "plan-length"),
        ((Ask(group="sre", expires_s=1),), "plan-order"),
        ((_expose(50), _expose(10)), "plan-step-back"),
        ((replace(_expose(100), gates=(ERRORS,)),), "plan-no-gate"),
        ((replace(_expose(1), gates=()),), "plan-no-gate"),
        ((_expose(1, least_s=0.0),), "plan-bake"),
        ((_expose(1, most_s=1.0),), "plan-bake"),
        ((replace(_expose(1), gates=(Gate(id="x", kind="burn_rate", slo="s"),)),), "gate-cannot-fail"),
        ((replace(_expose(1), gates=(Gate(id="x", kind="canary"),)),), "gate-cannot-fail"),
        ((replace(_expose(1), unit="elsewhere"),), "plan-unit"),
        (tuple(_expose(1) for _ in range(1_001)), "plan-length"),
    ],
)
def test_a_plan_that_could_advance_blind_is_refused(steps, code: str):
    """Each way to advance without evidence that other tools allow is refused when the plan is made."""
    with pytest.raises(Refused) as refusal:
        Plan(units=(UNIT,), steps=steps, allowance_share=0.005)
    assert refusal.value.code == code


def test_plan_and_run_survive_being_stored():
    """What is written is what is read, byte for byte."""
    plan = _plan(_expose(10), Ask(group="sre", expires_s=60), _expose(100))
    assert read_plan(plan.stored()) == plan
    held = look(_plan(), _at(reached_ago_s=600), _seen(1, "error"), NOW).run
    assert read_run(held.stored()) == held
    assert canonical(read_run(held.stored()).stored()) == canonical(held.stored())


_outcomes = st.lists(st.sampled_from(["pass", "fail", "inconclusive", "error"]), max_size=3)


@given(
    looks=st.lists(
        st.tuples(
            _outcomes,
            st.sampled_from([0.0, 1.0, 50.0, 100.0, None]),
            st.sampled_from(["sha256:new", "sha256:other"]),
            st.integers(min_value=1, max_value=400),
            st.booleans(),
        ),
        max_size=40,
    ),
    then=st.sampled_from(["extend", "ask", "rollback"]),
)
def test_no_story_moves_a_step_without_its_evidence(looks, then: str):
    """Whatever is seen in whatever order: a step ends only when every gate passes and the exposure stands."""
    plan = _plan(on_inconclusive=then, on_inconclusive_hold_s=30, on_error_hold_s=60, ask_expires_s=50)
    run = begin(plan, _at(), NOW).run
    now = NOW
    for outcomes, percent, digest, seconds, answered in looks:
        now += timedelta(seconds=seconds)
        seen = _seen(percent or 0.0, *outcomes, digest=digest, answered_by="dev-a" if answered else None)
        if percent is None:
            seen = replace(seen, units={UNIT.name: None})
        ruling = look(plan, run, seen, now)
        if ruling.move == "roll_back":
            return
        if ruling.run.step != run.step or ruling.move == "verify":
            step = plan.steps[run.step]
            assert percent == step.percent
            assert digest == "sha256:new"
            asked = run.hold is not None and run.hold.asked_until is not None and answered
            assert (outcomes and set(outcomes) == {"pass"}) or (asked and "fail" not in outcomes)
            assert (now - (ruling.run.reached_at or run.reached_at or now)).total_seconds() >= 0
        if ruling.move == "verify":
            return
        run = ruling.run
