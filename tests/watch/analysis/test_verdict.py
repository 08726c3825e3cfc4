"""Verdicts on small worlds: harm is convicted, harmlessness certified, and want of evidence passes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Invalid
from airboss.watch.analysis import (
    BIN_COUNT,
    ArmCounts,
    Block,
    Design,
    Kind,
    Metric,
    Outcome,
    PodCounts,
    StepContext,
    alpha_of_attempt,
    decide,
    histogram_of,
    new_step,
    reopen,
    start,
    to_json,
    update,
)

ERRORS = Metric(name="checkout-errors", kind=Kind.RATIO, label="errors")
LATENCY = Metric(name="checkout-latency", kind=Kind.LATENCY, quantile=0.95, margin=0.2, label="latency")
RAMP = (0.01, 0.10, 0.50)


def step_of(index: int, allowance: float = 0.005) -> StepContext:
    shares = (*RAMP, 1.0)
    return StepContext(
        index=index,
        share_canary=shares[index],
        next_share=shares[index + 1],
        allowance=allowance,
        is_last_before_full=index == len(RAMP) - 1,
    )


def fold(state, rows):
    for block in rows:
        state = update(state, block)
    return state


def walk(world, metrics, *, most=400):
    """Take a world up the ramp until a step fails or all pass; return the outcome and (share, blocks) of each step."""
    state = start(metrics, 0.01, 0.01)
    trail = []
    for index, share in enumerate(RAMP):
        state = new_step(state, step_of(index))
        world.next_step()
        for number in range(1, most + 1):
            state = update(state, world.block(share))
            verdict = decide(state, deadline_passed=number == most)
            if verdict.outcome is not Outcome.CONTINUE:
                break
        trail.append((share, number, verdict))
        if verdict.outcome is not Outcome.PASS:
            return state, trail
    return state, trail


def test_a_harmless_ramp_is_certified_at_every_step(people):
    """With no effect, sticky users and some who always fail, evidence of harmlessness ends each step."""
    _, trail = walk(people(1), [ERRORS, LATENCY])
    assert [share for share, _, _ in trail] == list(RAMP)
    assert trail[-1][2].outcome is Outcome.PASS, trail[-1][2].sentence
    assert "harmless" in trail[-1][2].sentence


def test_a_harmful_ramp_is_convicted_before_it_reaches_half(people):
    """Errors from 0.2 % to 3 % and 30 % slower are convicted at 1 or 10 %, and the sentence carries the numbers."""
    _, trail = walk(people(2, harm=15.0, slower=1.3), [ERRORS, LATENCY])
    share, _, verdict = trail[-1]
    assert verdict.outcome is Outcome.FAIL
    assert share <= 0.10
    assert "harm, " in verdict.sentence
    assert "times the baseline" in verdict.sentence


def test_slowness_alone_is_convicted(people):
    """A p95 30 % slower with unchanged errors is harm by the latency metric alone."""
    _, trail = walk(people(3, slower=1.3), [ERRORS, LATENCY])
    verdict = trail[-1][2]
    assert verdict.outcome is Outcome.FAIL
    assert {m.metric: m.outcome for m in verdict.metrics}["checkout-latency"] is Outcome.FAIL


def test_a_faster_canary_is_never_harm(people):
    """The latency test is of one side: improvement is not held against a change."""
    state = new_step(start([LATENCY], 0.01, 0.01), step_of(1))
    world = people(4, slower=0.5)
    state = fold(state, (world.block(0.10) for _ in range(40)))
    assert decide(state).log_e_harm < 0.0


def test_the_state_stays_small(people):
    """After a whole ramp the stored state of two metrics is a few kilobytes."""
    state, _ = walk(people(1), [ERRORS, LATENCY])
    assert len(canonical(to_json(state))) < 8_000


def test_below_a_hundred_people_it_holds(blocks):
    """Fewer than 100 people in an arm are never called harmless, and the sentence says how many more are needed."""
    state = new_step(start([ERRORS], 0.01, 0.5), step_of(1, allowance=0.25))
    state = fold(state, blocks([(0, 0)] * 9, 0.10, 100))
    verdict = decide(state)
    assert verdict.outcome is Outcome.CONTINUE
    assert "too-few-subjects" in verdict.reasons
    assert verdict.needed_canary == 10
    assert "hold: 10 more canary users" in verdict.sentence
    assert decide(state, deadline_passed=True).outcome is Outcome.INCONCLUSIVE
    state = update(state, list(blocks([(0, 0)] * 10, 0.10, 100))[-1])
    assert decide(state).outcome is Outcome.PASS


def test_obvious_harm_does_not_wait_for_a_hundred_people(blocks):
    """The level is exact at any count: 12 of 20 canary users failing convicts at once."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(0))
    state = fold(state, blocks([(6, 4), (6, 4)], 0.01, 1000))
    assert decide(state).outcome is Outcome.FAIL


def test_no_data_is_never_a_pass(blocks):
    """An empty state and one of empty blocks stay undecided, and are inconclusive at the deadline."""
    state = new_step(start([ERRORS, LATENCY], 0.01, 0.01), step_of(0))
    assert decide(state).outcome is Outcome.CONTINUE
    empty = Block(start_us=0, end_us=1, share_canary=0.01, canary=ArmCounts(), baseline=ArmCounts())
    state = update(state, empty)
    assert decide(state).outcome is Outcome.CONTINUE
    assert decide(state, deadline_passed=True).outcome is Outcome.INCONCLUSIVE


def test_a_step_starts_afresh_but_harm_goes_on(blocks):
    """Certification of one exposure says nothing about the next; suspicion is carried on."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(0))
    state = fold(state, blocks([(0, 2)] * 30, 0.01, 1000))
    assert decide(state).outcome is Outcome.PASS
    suspicion = decide(state).log_e_harm
    state = new_step(state, step_of(1))
    assert decide(state).outcome is Outcome.CONTINUE
    assert decide(state).log_e_harm == suspicion


def test_near_zero_errors_certify_on_the_last_step(blocks):
    """With no errors at all a relative margin can never certify; the allowance can."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(2))
    state = fold(state, blocks([(0, 0)] * 20, 0.50, 200))
    assert decide(state).outcome is Outcome.PASS


def test_without_allowance_and_errors_it_says_what_is_missing(blocks):
    """When nothing can certify a step the verdict says so rather than promising a number."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(0, allowance=0.0))
    state = fold(state, blocks([(0, 2)] * 30, 0.01, 1000))
    verdict = decide(state)
    assert verdict.outcome is Outcome.CONTINUE
    assert verdict.needed_canary is None


def test_a_split_that_is_not_the_designed_one_blocks_the_pass(blocks):
    """If half of the canary's telemetry is lost, counts alone look harmless; the split check holds them back."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(1))
    for number in range(60):
        arm = ArmCounts(first_seen=5, subjects=5)
        rest = ArmCounts(first_seen=90, subjects=90)
        state = update(
            state,
            Block(start_us=number, end_us=number + 1, share_canary=0.10, canary=arm, baseline=rest),
        )
    assert "split-mismatch" in decide(state).reasons
    state = fold(state, [Block(start_us=100, end_us=101, share_canary=0.10, canary=ArmCounts(subjects=5000), baseline=ArmCounts(subjects=45_000))])  # fmt: skip
    verdict = decide(state)
    assert verdict.metrics[0].outcome is Outcome.PASS
    assert verdict.outcome is Outcome.CONTINUE


def test_blocks_are_folded_once_and_in_order(blocks):
    """A block seen again or out of order is refused; strata of one interval may follow each other."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(0))
    first, second = blocks([(0, 1), (0, 1)], 0.01, 1000)
    state = update(state, first)
    with pytest.raises(Invalid):
        update(state, first)
    europe = Block(
        start_us=first.start_us,
        end_us=first.end_us,
        share_canary=0.01,
        canary=first.canary,
        baseline=first.baseline,
        stratum="eu",
    )
    state = update(state, europe)
    state = update(state, second)
    with pytest.raises(Invalid):
        update(state, first)


def test_updating_leaves_the_old_state_alone(blocks):
    """Folding is pure: replaying from a stored state gives the same answer."""
    state = new_step(start([ERRORS, LATENCY], 0.01, 0.01), step_of(0))
    before = to_json(state)
    for block in blocks([(1, 3)], 0.01, 1000):
        update(state, block)
    assert to_json(state) == before


def test_alpha_is_split_over_units_and_halved_for_retries(blocks):
    """Three units, a retry and a reopened state each ask for correspondingly more evidence."""
    assert decide(start([ERRORS], 0.01, 0.01, units=3)).log_harm_threshold == pytest.approx(np.log(300.0))
    assert [alpha_of_attempt(0.01, k) for k in (1, 2, 3)] == [0.01, 0.005, 0.0025]
    assert reopen([ERRORS], 0.01, 0.01).alpha == 0.005


def test_many_metrics_share_one_level(blocks):
    """One convicting metric among ten must bring ten times the evidence: the family-wise error is held."""
    rows = [(4, 1)] * 2
    alone = new_step(start([ERRORS], 0.01, 0.01), step_of(0))
    among = new_step(
        start([ERRORS, *(Metric(name=f"m{i}", kind=Kind.LATENCY) for i in range(9))], 0.01, 0.01), step_of(0)
    )
    first = decide(fold(alone, blocks(rows, 0.01, 1000)))
    tenth = decide(fold(among, blocks(rows, 0.01, 1000)))
    assert tenth.log_e_harm == pytest.approx(np.logaddexp(first.log_e_harm, np.log(9.0)) - np.log(10.0), abs=1e-6)


def test_every_critical_metric_must_be_certified(blocks):
    """Errors that are shown harmless do not carry a latency of which nothing is known, unless the gate can do without it."""
    rows = [(0, 2)] * 30
    for critical, outcome in ((True, Outcome.CONTINUE), (False, Outcome.PASS)):
        latency = Metric(name="latency", kind=Kind.LATENCY, critical=critical)
        state = new_step(start([ERRORS, latency], 0.01, 0.01), step_of(0))
        verdict = decide(fold(state, blocks(rows, 0.01, 1000)))
        assert verdict.metrics[0].outcome is Outcome.PASS
        assert verdict.outcome is outcome


def test_a_ceiling_certifies_where_a_relative_margin_never_can(blocks):
    """Without errors and without an allowance only a rate that is fine whatever the baseline does shows harmlessness; it
    shares its β with the other ways.
    """
    rows = [(0, 0)] * 20
    step = step_of(2, allowance=0.0)
    without = decide(fold(new_step(start([ERRORS], 0.01, 0.01), step), blocks(rows, 0.50, 200)))
    ceiled = Metric(name="errors", kind=Kind.RATIO, ceiling=0.01)
    with_one = decide(fold(new_step(start([ceiled], 0.01, 0.01), step), blocks(rows, 0.50, 200)))
    assert (without.outcome, with_one.outcome) == (Outcome.CONTINUE, Outcome.PASS)
    assert with_one.metrics[0].log_e_safe < 2_000 * 0.0101 - np.log(2.0)


def test_strata_are_compared_inside_themselves(blocks):
    """A canary that gets more of the region in which everything fails more often is no harm (Simpson): region by region the arms
    are alike. Pooled into one block the same counts convict.
    """

    def arm(seen, bad):
        return ArmCounts(requests=seen, bad=bad)

    apart = pooled = new_step(start([ERRORS], 0.01, 0.01, design=Design.DEPLOY), step_of(1))
    for number in range(10):
        at = {"start_us": number, "end_us": number + 1, "share_canary": 0.1}
        for stratum, mine, rest in (("eu", arm(100, 5), arm(100, 5)), ("us", arm(50, 0), arm(1000, 1))):
            apart = update(apart, Block(canary=mine, baseline=rest, stratum=stratum, **at))
        pooled = update(pooled, Block(canary=arm(150, 5), baseline=arm(1100, 6), **at))
    assert decide(apart).outcome is not Outcome.FAIL
    assert decide(pooled).outcome is Outcome.FAIL


def test_a_block_is_judged_by_what_was_known_before_it(people):
    """Thresholds, tilts and bets for a block come from blocks before it: what a block says moves none of them for itself."""
    world = people(5)
    state = new_step(start([ERRORS, LATENCY], 0.01, 0.01), step_of(1))
    for _ in range(20):
        state = update(state, world.block(0.1))
    block = world.block(0.1)
    slow = replace(
        block,
        baseline=replace(block.baseline, subjects_hist=np.roll(block.baseline.subjects_hist, 40), subjects_bad=50),
    )
    usual, other = update(state, block), update(state, slow)
    # The baseline's durations and failures of the step are evidence for nothing in the harm test of the attempt.
    assert [track.threshold_bin for track in usual.tracks] == [track.threshold_bin for track in other.tracks]
    for one, two in zip(usual.tracks, other.tracks, strict=True):
        assert np.array_equal(one.harm_main, two.harm_main)
    later = world.block(0.1)
    assert not np.array_equal(update(usual, later).tracks[1].harm_main, update(other, later).tracks[1].harm_main)


@pytest.mark.parametrize(
    ("canary", "baseline", "share"),
    [
        ([0, 1, 2, 1, 0, 0], [0] * 6, 0.10),
        ([100] * 7 + [1] * 3, [1] * 10, 0.50),
        ([1, 0] * 5, [0] * 10, 0.10),
        ([3, 0] * 5, [0] * 10, 0.50),
    ],
)
def test_what_kayenta_misses_is_caught(blocks, canary, baseline, share):
    """Sparse counters, outliers and half-empty series that the Mann–Whitney judge passes are convicted here."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(1))
    state = fold(state, blocks(list(zip(canary, baseline, strict=True)), share, 1000))
    assert decide(state).outcome is Outcome.FAIL


def test_four_against_none_at_even_split_is_held_not_passed(blocks):
    """At 1:1, four errors against none happen by chance one time in sixteen: no conviction, and no pass either."""
    state = new_step(start([ERRORS], 0.01, 0.01), step_of(2))
    rows = list(zip([0, 1, 2, 1, 0, 0], [0] * 6, strict=True))
    state = fold(state, blocks(rows, 0.50, 100))
    assert decide(state).outcome is Outcome.CONTINUE


def deploy_block(number, bad, others, size=100, pods=True):
    """A block of one canary pod of 100 requests and a baseline pod of `size` requests for each of `others`."""
    mine = (PodCounts(pod="c0", requests=100, bad=bad),) if pods else ()
    rest = tuple(PodCounts(pod=f"b{n}", requests=size, bad=count) for n, count in enumerate(others)) if pods else ()
    return Block(
        start_us=number,
        end_us=number + 1,
        share_canary=0.1,
        canary=ArmCounts(requests=100, bad=bad, pods=mine),
        baseline=ArmCounts(requests=size * len(others), bad=sum(others), pods=rest),
    )


def test_a_verdict_keeps_the_histograms_it_was_made_from(people):
    """Counts and histograms of the step go with each verdict, so that another margin can be tried on them years later."""
    world = people(5)
    state = new_step(start([ERRORS, Metric(name="latency", kind=Kind.LATENCY)], 0.01, 0.01), step_of(1))
    for _ in range(20):
        state = update(state, world.block(0.1))
    errors, latency = (dict(one) for one in decide(state).as_json()["metrics"])
    assert errors["canary_hist"] is None
    for arm, track in (("canary", state.tracks[1].step_canary), ("baseline", state.tracks[1].step_baseline)):
        packed = latency[f"{arm}_hist"]
        whole = np.zeros(BIN_COUNT, dtype=np.int64)
        whole[packed["from"] : packed["from"] + len(packed["counts"])] = packed["counts"]
        assert (whole == track).all()
        assert 0 < whole.sum() <= latency["numbers"][f"{arm}_seen"]


def test_a_deploy_with_pods_uses_the_robust_test():
    """Pods of equal size make the verdict robust; harm in the canary pod is convicted."""
    state = new_step(start([ERRORS], 0.01, 0.01, design=Design.DEPLOY), step_of(1))
    for number in range(40):
        state = update(state, deploy_block(number, 8, [2] * 9))
    verdict = decide(state)
    assert verdict.outcome is Outcome.FAIL
    assert "not-robust-to-pod-differences" not in verdict.reasons


@pytest.mark.parametrize(("size", "pods"), [(100, False), (300, True)])
def test_a_deploy_without_comparable_pods_says_so(size, pods):
    """No pods told apart, or pods of other sizes than the canary's: the plain test judges, and the verdict says it."""
    state = new_step(start([ERRORS], 0.01, 0.01, design=Design.DEPLOY), step_of(1))
    for number in range(40):
        state = update(state, deploy_block(number, 8, [2] * 9, size, pods))
    verdict = decide(state)
    assert verdict.outcome is Outcome.FAIL
    assert "not robust to pod differences" in verdict.sentence


def test_a_deploy_without_harm_is_called_harmless_by_pods():
    """Pods that differ from block to block and agree on the whole: harmless, and robustly so; the need shrinks to it."""
    state = new_step(start([ERRORS], 0.01, 0.01, design=Design.DEPLOY), step_of(1))
    rng = np.random.default_rng(3)
    needs = []
    for number in range(120):
        mine, *others = rng.poisson(rng.gamma(4.0, 0.05, 10)).tolist()
        state = update(state, deploy_block(number, mine, others))
        verdict = decide(state)
        needs.append(verdict.needed_canary)
        if verdict.outcome is Outcome.PASS:
            break
    assert verdict.outcome is Outcome.PASS
    assert verdict.reasons == ()
    assert "not robust" not in verdict.sentence
    assert needs[-1] == 0
    assert needs[1] > needs[-2] > 0


def test_totals_that_look_harmless_are_not_where_pods_cannot_be_compared():
    """A deploy judged by pods whose pods stop being comparable stands still, and says since how many blocks and why."""
    state = new_step(start([ERRORS], 0.01, 0.01, design=Design.DEPLOY), step_of(1))
    state = update(state, deploy_block(0, 0, [0] * 9))
    before = decide(state).metrics[0]
    for number in range(1, 80):
        state = update(state, deploy_block(number, 0, [0] * 9, size=300))
    verdict = decide(state)
    assert verdict.outcome is Outcome.CONTINUE
    assert verdict.reasons == ("pods-not-comparable", "underpowered")
    assert "79 blocks are not judged: the requests of its pods differ by more than 20 %" in verdict.sentence
    assert verdict.metrics[0].log_e_safe == before.log_e_safe
    assert "pods-not-comparable" not in decide(update(state, deploy_block(80, 0, [0] * 9))).reasons


def test_without_an_allowance_harmlessness_by_totals_says_so():
    """Where nothing may be in excess only totals can certify a deploy; harm stays judged by pods, and the verdict says it."""
    step = StepContext(index=1, share_canary=0.1, next_share=1.0, allowance=0.0, is_last_before_full=True)
    state = new_step(start([ERRORS], 0.01, 0.01, design=Design.DEPLOY), step)
    state = update(state, deploy_block(0, 2, [2] * 9))
    assert state.tracks[0].robust
    assert "not-robust-to-pod-differences" in decide(state).reasons


def _timed_pods(rng, number, canary_us):
    """A block of ten equal pods that tell their durations."""

    def arm(pods, usual):
        told = [
            PodCounts(
                pod=str(pod), requests=80, bad=0, hist=histogram_of(usual * rng.lognormal(0.05 * rng.normal(), 0.5, 80))
            )
            for pod in pods
        ]
        return ArmCounts(requests=80 * len(told), hist=sum(pod.hist for pod in told), pods=tuple(told))

    return Block(
        start_us=number,
        end_us=number + 1,
        share_canary=0.1,
        canary=arm(range(1), canary_us),
        baseline=arm(range(1, 10), 80_000.0),
    )


@pytest.mark.parametrize(("slower", "outcome"), [(1.0, Outcome.PASS), (1.6, Outcome.FAIL)])
def test_latency_of_a_deploy_is_judged_by_pods(slower, outcome):
    """Pods that tell their durations: harm and harmlessness of latency both come from comparing them."""
    latency = Metric(name="latency", kind=Kind.LATENCY, margin=0.2)
    state = new_step(start([latency], 0.01, 0.01, design=Design.DEPLOY), step_of(1))
    rng = np.random.default_rng(9)
    for number in range(150):
        state = update(state, _timed_pods(rng, number, slower * 80_000.0))
        verdict = decide(state)
        if verdict.outcome is not Outcome.CONTINUE:
            break
    assert verdict.outcome is outcome
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Metric(name="x", kind=Kind.LATENCY, margin=0.05),
        lambda: Metric(name="x", kind=Kind.RATIO, margin=0.0),
        lambda: Metric(name="x", kind=Kind.RATIO, ceiling=0.9),
        lambda: Metric(name="x", kind=Kind.RATIO, weight=0.0),
        lambda: start([], 0.01, 0.01),
        lambda: start([ERRORS, ERRORS], 0.01, 0.01),
        lambda: start([ERRORS], 0.0, 0.01),
        lambda: Block(start_us=0, end_us=1, share_canary=1.0, canary=ArmCounts(), baseline=ArmCounts()),
        lambda: ArmCounts(bad=-1),
        lambda: PodCounts(pod="p", requests=1, bad=2),
        lambda: PodCounts(pod="p", requests=1, bad=1, hist=np.zeros(3, dtype=np.int64)),
        lambda: ArmCounts(hist=np.zeros(3, dtype=np.int64)),
    ],
)
def test_what_cannot_be_judged_is_refused(make):
    """A margin below a bin, a block with one arm, negative counts and the like never get into a process."""
    with pytest.raises(Invalid):
        make()


def test_a_verdict_is_json(people):
    """The evidence of a verdict goes into facts as canonical JSON."""
    _, trail = walk(people(1), [ERRORS, LATENCY])
    for _, _, verdict in trail:
        canonical(verdict.as_json())
