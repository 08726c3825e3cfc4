"""Planned sample sizes: the design's figures, and what traffic makes of them."""

from __future__ import annotations

import math

import pytest

from airboss.watch.analysis import Kind, Metric, StepContext, Traffic, detectable_ratio, plan_step, planner

ERRORS = Metric(name="errors", kind=Kind.RATIO)
LATENCY = Metric(name="latency", kind=Kind.LATENCY, margin=0.2)


@pytest.mark.parametrize(("limit", "figure"), [(0.052, 115), (0.012, 746), (0.007, 1919)])
def test_ceilings_need_what_the_design_says(limit, figure):
    """5.2, 1.2 and 0.7 % from 0.2 % need 115, 746 and 1,919 canary units at β = .01, within 15 %."""
    assert planner.ceiling_need(0.002, limit, 0.01) == pytest.approx(figure, rel=0.15)


@pytest.mark.parametrize(
    ("share", "allowed", "figure", "within"),
    [(0.01, 0.05, 115, 0.15), (0.1, 0.01, 746, 0.15), (0.5, 0.005, 1919, 0.17)],
)
def test_an_unknown_baseline_costs_little(share, allowed, figure, within):
    """The allowance test, which must learn the baseline too, needs nearly the same; at 1:1 it pays 16 % for it."""
    assert planner.excess_need(0.002, allowed, share, 0.01) == pytest.approx(figure, rel=within)


def test_a_relative_margin_at_few_errors_is_hopeless():
    """A 20 % margin at 0.2 % errors and a 1 % canary needs more than a hundred thousand canary requests."""
    need = planner.margin_need(0.002, 0.2, 0.01, 0.01)
    assert need is not None
    assert need == pytest.approx(163_000, rel=0.15)


def step(share=0.1, next_share=0.5, allowance=0.005, last=False):
    return StepContext(
        index=1, share_canary=share, next_share=next_share, allowance=allowance, is_last_before_full=last
    )


def test_the_plan_tells_time_and_what_it_could_miss():
    """Units become seconds at the traffic given, and the least convictable harm is told."""
    errors, latency = plan_step(
        [ERRORS, LATENCY], step(), Traffic(per_s=400.0), alpha=0.01, beta=0.01, base_rates={"errors": 0.002}
    )
    assert errors.needed_total == math.ceil(errors.needed_canary / 0.1)
    assert errors.seconds == pytest.approx(errors.needed_total / 400.0)
    assert errors.missed_ratio is not None
    assert 2.0 < errors.missed_ratio < 20.0
    assert "harm below" in errors.sentence
    assert latency.needed_canary >= 100


def test_sticky_people_run_out():
    """With a known population the wait grows as newcomers get rare, and a need beyond it is told as never."""
    few = Traffic(per_s=400.0, population=50_000)
    assert few.seconds_to(7_500) > 7_500 / 400.0
    assert few.seconds_to(50_000) is None
    assert Traffic(per_s=0.0).seconds_to(1) is None


def test_nothing_certifies_without_allowance():
    """No allowance before the last step cannot be certified, and the plan says so."""
    (plan,) = plan_step(
        [ERRORS], step(allowance=0.0), Traffic(per_s=1.0), alpha=0.01, beta=0.01, base_rates={"errors": 0.002}
    )
    assert plan.needed_canary is None
    assert "allowance" in plan.sentence


def test_more_people_find_smaller_harm():
    """The least detectable harm falls with the sample, and is unknown where there are no errors to compare."""
    ratios = [detectable_ratio(n, 0.002, 0.1, 0.01) for n in (200, 1_000, 10_000)]
    assert all(ratio is not None for ratio in ratios)
    assert ratios == sorted(ratios, reverse=True)
    assert detectable_ratio(1_000, 0.0, 0.1, 0.01) is None
