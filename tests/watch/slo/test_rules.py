"""Budgets and burn gates: right numbers, and never a number made of nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.errors import Invalid, Unavailable
from airboss.testing.telemetry import ListedExposures
from airboss.watch.slo import (
    FAST,
    RULES_30D,
    Answer,
    Before,
    BurnAnswer,
    BurnRule,
    GateAnswer,
    Indicator,
    IndicatorKind,
    Objective,
    Objectives,
    Slo,
    budget,
    budget_use,
    check_rule,
    compare,
    effective_limit_us,
    events,
    judge_burn,
    rules_for,
    rules_of_gate,
    span,
    unite,
)
from airboss.watch.telemetry import TelemetryReader, TelemetrySettings, WindowCounts, bin_index, open_bucket_store

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
OBJECTIVE = Objective(name="no errors", target=0.999, limit_us=None)
STATUS = Indicator(name="errors", kind=IndicatorKind.STATUS, service="checkout", environment=None)
DURATION = Indicator(name="latency", kind=IndicatorKind.DURATION, service="checkout", environment=None)
SLO = Slo(
    name="availability",
    service="checkout",
    indicator=STATUS,
    indicator_ref=None,
    window=timedelta(days=28),
    objectives=(OBJECTIVE,),
)


def counts(
    window: timedelta, total: int, bad: int, *, observed: timedelta | None = None, hist: np.ndarray | None = None
) -> WindowCounts:
    return WindowCounts(
        window=window,
        start=NOW - window,
        end=NOW,
        total=total,
        bad=bad,
        hist=hist,
        observed=window if observed is None else observed,
    )


def test_a_budget_is_spent_by_summed_events() -> None:
    """Half of the allowed bad events is half of the budget, whatever the hours they fell in."""
    status = budget(SLO, OBJECTIVE, STATUS, counts(SLO.window, 1_000_000, 500))
    assert status.known
    assert status.spent == pytest.approx(0.5)
    assert status.left == pytest.approx(0.5)
    assert "50.0% of its budget left: 500 of 1,000,000" in status.sentence


def test_an_overspent_budget_is_negative_and_not_cut_off() -> None:
    """Three times the budget leaves minus two budgets."""
    left = budget(SLO, OBJECTIVE, STATUS, counts(SLO.window, 1_000_000, 3_000)).left
    assert left == pytest.approx(-2)


def test_no_events_is_an_unknown_budget() -> None:
    """Without events the budget is neither full nor NaN: it is unknown."""
    status = budget(SLO, OBJECTIVE, STATUS, counts(SLO.window, 0, 0))
    assert (status.known, status.spent, status.left) == (False, None, None)
    assert "unknown" in status.sentence


def test_what_was_not_observed_is_told() -> None:
    """A budget over a window that was mostly not watched says so."""
    status = budget(SLO, OBJECTIVE, STATUS, counts(SLO.window, 100, 0, observed=timedelta(hours=2)))
    assert "Only 2 h of it were observed" in status.sentence


def test_durations_are_counted_by_bins_and_never_too_kindly() -> None:
    """What took longer than the limit is bad; a limit inside a bin counts that whole bin as bad, one on an edge is exact."""
    hist = np.bincount(bin_index(np.array([1_000.0, 300_000.0, 310_000.0, 900_000.0])), minlength=288)
    window = counts(timedelta(hours=1), 4, 0, hist=hist)
    inside = Objective(name="fast", target=0.9, limit_us=305_000.0)
    assert events(DURATION, inside, window) == (4, 3)
    assert 280_000 < (effective_limit_us(inside) or 0) <= 305_000
    edge = Objective(name="fast", target=0.9, limit_us=2.0**18)
    assert effective_limit_us(edge) == 2.0**18
    assert events(DURATION, edge, window) == (4, 3)
    assert events(DURATION, Objective(name="slow", target=0.9, limit_us=1e12), window) == (4, 0)
    assert events(DURATION, inside, counts(timedelta(days=28), 4, 0)) is None
    assert not budget(SLO, inside, DURATION, counts(timedelta(days=28), 4, 0)).known


def judge(
    long: tuple[int, int],
    short: tuple[int, int],
    *,
    age_s: float | None = 5,
    observed_s: float = 300,
    rule: BurnRule = FAST,
) -> BurnAnswer:
    return judge_burn(
        SLO,
        OBJECTIVE,
        STATUS,
        rule,
        long=counts(rule.long, *long),
        short=counts(rule.short, *short, observed=timedelta(seconds=observed_s)),
        newest=None if age_s is None else NOW - timedelta(seconds=age_s),
        now=NOW,
        max_age=timedelta(seconds=60),
    )


@pytest.mark.parametrize(
    ("long", "short", "expected"),
    [
        ((10_000, 10), (1_000, 1), Answer.PASS),
        ((10_000, 144), (1_000, 100), Answer.FAIL),
        ((10_000, 143), (1_000, 100), Answer.PASS),
        ((10_000, 500), (1_000, 14), Answer.PASS),
        ((10_000, 0), (1_000, 0), Answer.PASS),
        ((99, 99), (50, 50), Answer.INCONCLUSIVE),
        ((100, 2), (10, 2), Answer.INCONCLUSIVE),
        ((100, 3), (10, 3), Answer.FAIL),
        ((1_000, 900), (0, 0), Answer.INCONCLUSIVE),
        ((0, 0), (0, 0), Answer.INCONCLUSIVE),
    ],
)
def test_the_burn_gate(long: tuple[int, int], short: tuple[int, int], expected: Answer) -> None:
    """Both windows must burn at the factor; little traffic and few bad events decide nothing."""
    answer = judge(long, short)
    assert answer.answer is expected
    assert (answer.total_long, answer.bad_long, answer.total_short, answer.bad_short) == (*long, *short)
    assert answer.bound == 14.4
    assert answer.sentence.startswith("availability ")
    assert "nan" not in answer.sentence


@pytest.mark.parametrize("age_s", [None, 61.0])
def test_stale_data_is_an_error_even_if_it_looks_bad(age_s: float | None) -> None:
    """Old or absent samples neither pass nor fail: the gate cannot see."""
    answer = judge((10_000, 5_000), (1_000, 500), age_s=age_s)
    assert answer.answer is Answer.ERROR
    assert answer.age == (None if age_s is None else timedelta(seconds=age_s))


def test_a_receiver_that_was_away_decides_nothing() -> None:
    """When the short window was mostly not watched, its counts are not evidence."""
    assert judge((10_000, 5_000), (1_000, 500), observed_s=100).answer is Answer.INCONCLUSIVE


def test_durations_that_are_not_kept_are_an_error() -> None:
    """A duration objective over a window without histograms cannot be judged."""
    answer = judge_burn(
        SLO, Objective(name="fast", target=0.999, limit_us=1e5), DURATION, FAST, long=counts(FAST.long, 1000, 0),
        short=counts(FAST.short, 100, 0), newest=NOW, now=NOW, max_age=timedelta(seconds=60),
    )  # fmt: skip
    assert answer.answer is Answer.ERROR


def test_a_gate_that_cannot_fail_is_refused() -> None:
    """At a target of 90 % everything bad burns ten times as fast as allowed, so 14.4 would never be reached."""
    with pytest.raises(Invalid) as caught:
        check_rule(FAST, Objective(name="lax", target=0.9, limit_us=None))
    assert caught.value.code == "burn-rule-cannot-fail"
    assert "10" in caught.value.detail
    with pytest.raises(Invalid):
        check_rule(BurnRule(name="odd", factor=2, long=FAST.short, short=FAST.long), OBJECTIVE)
    for rule in RULES_30D:
        check_rule(rule, OBJECTIVE)


def test_rules_scale_with_the_window() -> None:
    """For a week's budget the same share of it burns at a factor 30/7 times smaller; 30 days give the table itself."""
    assert [rule.factor for rule in rules_for(timedelta(days=30))] == [14.4, 6.0, 3.0, 1.0]
    assert rules_for(timedelta(days=7))[0].factor == pytest.approx(14.4 * 7 / 30)


@given(
    total=st.integers(1, 10**9), share=st.floats(0, 1), cuts=st.lists(st.floats(0, 1), max_size=5), target=st.floats(0.5, 0.99999)
)  # fmt: skip
def test_left_and_spent_make_one(total: int, share: float, cuts: list[float], target: float) -> None:
    """Whatever the counts, spent and left are finite and add to one, and more bad events never leave more."""
    objective = Objective(name="x", target=target, limit_us=None)
    bad = int(total * share)
    status = budget(SLO, objective, STATUS, counts(SLO.window, total, bad))
    assert status.spent is not None
    assert status.left is not None
    assert status.spent + status.left == pytest.approx(1)
    for cut in cuts:
        less = budget(SLO, objective, STATUS, counts(SLO.window, total, int(bad * cut))).left
        assert less is not None
        assert less >= status.left


def test_a_store_that_does_not_answer_is_an_error_of_the_gate(tmp_path: object) -> None:
    """The gate answers error when telemetry is away; a budget raises, for it has no answer to give."""
    store = open_bucket_store(f"sqlite:///{tmp_path}/no/such/folder.db")
    objectives = Objectives(TelemetryReader(store, ListedExposures(), TelemetrySettings()))
    answer = objectives.burn(SLO, STATUS, "production", now=NOW)
    assert answer.answer is Answer.ERROR
    assert "does not answer" in answer.sentence
    with pytest.raises(Unavailable):
        objectives.budgets(SLO, STATUS, "production", now=NOW)
    store.close()


def test_a_receiver_that_has_just_started_may_say_that_nothing_burns() -> None:
    """Not burning needs only a little watching, because it is asked again each second; burning needs the window."""
    assert judge((10_000, 1), (1_000, 0), observed_s=30).answer is Answer.PASS
    assert judge((10_000, 1), (1_000, 0), observed_s=10).answer is Answer.INCONCLUSIVE
    assert judge((10_000, 5_000), (1_000, 500), observed_s=30).answer is Answer.INCONCLUSIVE


SHARES = {"fast": (10, 10), "slow": (10, 10), "daily": (10, 10), "creeping": (10, 10)}
"""Bad events of a thousand over the long and the short window of each pair: none of them burns (the target is 99 %)."""
NINETY_NINE = Objective(name="no errors", target=0.99, limit_us=None)


def gate(
    exposed: timedelta,
    above: float = 14.4,
    before: Mapping[str, Before] | None = None,
    *,
    compared: bool = False,
    **bad: tuple[int, int],
) -> GateAnswer:
    """Return what a burn gate says of pairs with so many bad events of a thousand, for a change that is out so long."""
    found = []
    for rule in rules_of_gate(above):
        long, short = (SHARES | bad | {"creeping": bad.get("creeping", (9, 9))})[rule.name]
        said = judge_burn(
            SLO, NINETY_NINE, STATUS, rule, long=counts(rule.long, 1000, long), short=counts(rule.short, 1000, short),
            newest=NOW, now=NOW, max_age=timedelta(seconds=60),
        )  # fmt: skip
        found.append((rule, said))
    return unite(found, exposed, before or {}, compared=compared)


@pytest.mark.parametrize(
    ("pairs", "exposed", "expected", "by"),
    [
        ({}, timedelta(hours=9), Answer.PASS, "fast"),
        ({"fast": (150, 150)}, timedelta(seconds=9), Answer.FAIL, "fast"),
        ({"slow": (70, 70)}, timedelta(minutes=30), Answer.FAIL, "slow"),
        ({"slow": (70, 70)}, timedelta(minutes=29), Answer.INCONCLUSIVE, "slow"),
        ({"slow": (70, 50)}, timedelta(hours=9), Answer.PASS, "fast"),
        ({"slow": (50, 70)}, timedelta(hours=9), Answer.PASS, "fast"),
        ({"daily": (40, 40)}, timedelta(hours=2), Answer.INCONCLUSIVE, "daily"),
        ({"daily": (40, 40)}, timedelta(hours=1), Answer.PASS, "fast"),
        ({"creeping": (11, 11)}, timedelta(hours=6), Answer.INCONCLUSIVE, "creeping"),
        ({"creeping": (11, 11)}, timedelta(hours=5), Answer.PASS, "fast"),
        ({"creeping": (11, 11), "slow": (70, 70)}, timedelta(hours=6), Answer.FAIL, "slow"),
    ],
)
def test_a_gate_listens_to_every_pair_of_windows(
    pairs: dict[str, tuple[int, int]], exposed: timedelta, expected: Answer, by: str
) -> None:
    """A leak too slow for the hour stops the rollout by a longer pair: it fails where a person would be paged and the
    change was out for the short window, holds where it burnt before that or is worth a ticket."""
    came_to = gate(exposed, **pairs)
    assert (came_to.answer, came_to.said.rule) == (expected, by)


RULE = rules_of_gate(14.4)[0]


def was(short: int, since: int, *, events: int = 1000, rule: BurnRule = RULE) -> Before:
    """Return the comparison of a pair with so many bad events of a thousand before a change was out, and since."""
    later = counts(timedelta(minutes=10), events, since * events // 1000)
    return compare(
        rule, NINETY_NINE, STATUS, before=counts(rule.short, 1000, short), since=later, recent=later
    )  # fmt: skip


@pytest.mark.parametrize(
    ("short", "since", "compared", "expected", "patient"),
    [
        (20, 200, False, Answer.FAIL, False),  # 2× before is no burn: it is new
        (143, 300, False, Answer.FAIL, False),  # just under the bound before
        (200, 200, False, Answer.INCONCLUSIVE, True),  # it burnt, and burns on
        (200, 340, False, Answer.INCONCLUSIVE, True),  # 14× came on top
        (200, 344, False, Answer.FAIL, False),  # 14.4× came on top
        (200, 150, False, Answer.INCONCLUSIVE, True),  # it is getting better
        (200, 200, True, Answer.PASS, False),  # and a canary beside its baseline is harmless
        (200, 900, True, Answer.INCONCLUSIVE, True),  # it got worse, but not by the canary
        (20, 200, True, Answer.FAIL, False),  # a new burn fails, whatever a canary says
    ],
)
def test_a_burn_that_began_before_takes_nothing_back(
    short: int, since: int, compared: bool, expected: Answer, patient: bool
) -> None:
    """What burnt before the change was out is not held against it, until what came on top is beyond the bound by itself;
    the verdict says both numbers. A burn that began after fails as ever.
    """
    before = was(short, since)
    came_to = gate(timedelta(minutes=10), fast=(200, max(since, 150)), before={"fast": before}, compared=compared)
    assert (came_to.answer, came_to.patient) == (expected, patient)
    if before.began:
        assert f"burnt {short / 10:.3g}× in the 5 min before the change was out" in came_to.sentence
        assert f"{since / 10:.3g}× since" in came_to.sentence


def test_the_slower_pairs_do_not_convict_for_a_burn_before_them_either() -> None:
    """Six hours of leak that had begun before stop the rollout and convict nobody, however long the change is out."""
    slow = rules_of_gate(14.4)[1]
    leak = {"slow": was(70, 70, rule=slow)}
    assert gate(timedelta(hours=9), slow=(70, 70)).answer is Answer.FAIL
    held = gate(timedelta(hours=9), before=leak, slow=(70, 70))
    assert (held.answer, held.patient) == (Answer.INCONCLUSIVE, True)
    worse = gate(timedelta(hours=9), before={"slow": was(70, 140, rule=slow)}, slow=(140, 140))
    assert worse.answer is Answer.FAIL


def test_a_new_burn_is_not_hidden_by_an_old_one() -> None:
    """One pair burnt before and another did not: the new one decides."""
    both = gate(timedelta(hours=1), before={"fast": was(200, 200)}, fast=(200, 200), slow=(70, 70))
    assert (both.answer, both.said.rule) == (Answer.FAIL, "slow")


def test_too_little_before_is_no_burn_before() -> None:
    """A service that was hardly watched before the start gets no benefit of the doubt; too little since says nothing."""
    few = counts(RULE.short, 4, 2)
    later = counts(timedelta(minutes=10), 1000, 200)
    assert not compare(RULE, NINETY_NINE, STATUS, before=few, since=later, recent=later).began
    assert not compare(RULE, NINETY_NINE, STATUS, before=counts(RULE.short, 0, 0), since=later, recent=later).began
    assert not was(200, 900, events=50).worse


def test_the_slower_pairs_of_a_gate_keep_the_proportions_of_its_bound() -> None:
    """Half the bound for an hour is half of it for every pair, but no pair burns while the budget lasts; without another
    bound it is the Workbook's table.
    """
    assert rules_of_gate(14.4) == RULES_30D
    assert [round(rule.factor, 6) for rule in rules_of_gate(7.2)] == [7.2, 3.0, 1.5, 1.0]
    assert [(span(rule.long), span(rule.short), rule.severity) for rule in RULES_30D] == [
        ("1h", "5m", "page"),
        ("6h", "30m", "page"),
        ("1d", "2h", "ticket"),
        ("3d", "6h", "ticket"),
    ]


def test_a_slower_pair_never_lets_go_on_what_the_hour_does_not() -> None:
    """Where the gate's own pair is inconclusive or in error, passing longer windows change nothing."""
    fast = FAST
    stale = judge((10_000, 0), (1_000, 0), age_s=None)
    little = judge((50, 0), (10, 0))
    calm = judge((10_000, 0), (1_000, 0))
    for own in (stale, little):
        came_to = unite([(fast, own), (RULES_30D[1], calm)], timedelta(hours=9))
        assert (came_to.said, came_to.answer, came_to.patient) == (own, own.answer, False)
    assert stale.answer is Answer.ERROR
    assert little.answer is Answer.INCONCLUSIVE


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), min_size=1, max_size=4), st.integers(0, 10**7))
def test_what_a_change_cost_is_the_bad_part_of_the_whole_budget(pieces: list[tuple[int, float]], more: int) -> None:
    """Over several attempts: bad events over what the objective's window allows; unknown without events, never zero."""
    minute = timedelta(minutes=1)
    during = [counts(minute, total, int(total * share)) for total, share in pieces]
    total, bad = sum(one.total for one in during), sum(one.bad for one in during)
    use = budget_use(SLO, OBJECTIVE, STATUS, during=during, period=counts(SLO.window, total + more, bad))
    assert (use.total, use.bad) == (total, bad)
    if total == 0:
        assert (use.spent, use.burn) == (None, None)
        assert "unknown" in use.sentence
    else:
        assert use.spent == pytest.approx(bad / ((total + more) * OBJECTIVE.allowed))
        assert use.burn == pytest.approx(bad / total / OBJECTIVE.allowed)


def test_what_durations_cost_is_unknown_where_they_are_not_kept() -> None:
    """No number is made of windows without histograms."""
    fast = Objective(name="fast", target=0.999, limit_us=1e5)
    one = counts(timedelta(hours=1), 1000, 0)
    use = budget_use(SLO, fast, DURATION, during=[one], period=one)
    assert (use.spent, use.burn) == (None, None)
    assert "not kept" in use.sentence
