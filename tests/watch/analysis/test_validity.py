"""A small fixed-seed calibration: only validity is asserted, never how fast anything is."""

from __future__ import annotations

import numpy as np
import pytest

from airboss.kernel.errors import Invalid
from airboss.watch.analysis import calibrate, histogram_of, interval
from airboss.watch.analysis import simulate as worlds
from airboss.watch.analysis.bins import quantile_bin
from airboss.watch.analysis.rows import clopper_pearson
from airboss.watch.analysis.simulate import Crowd
from airboss.watch.analysis.trials import pod_duration_looks, pod_excess_looks, pod_looks, pod_quantile_looks

ROWS = ("false_alarms", "false_certification", "detection", "late_change", "planned")


@pytest.fixture(scope="module")
def report():
    """One calibration for all questions of this file."""
    return calibrate(seed=7, runs=300, looks=150)


def test_no_level_is_broken(report):
    """In every null world, sticky users, pod noise and common shocks among them, no lower limit lies above its level."""
    broken = [
        row
        for row in (*report["false_alarms"], *report["false_certification"])
        if row["claimed"] and row["low"] > row["level"]
    ]
    assert broken == []
    assert report["ok"]


def test_the_same_seed_gives_the_same_report():
    """Calibration is a function of its arguments."""
    assert calibrate(seed=3, runs=50, looks=20) == calibrate(seed=3, runs=50, looks=20)


def test_a_section_alone_says_the_same():
    """A row has chance of its own: asked for alone it is what it is in the whole report; an unknown section is refused."""
    alone = calibrate(seed=7, runs=300, looks=150, only=["planned"])
    assert alone["planned"] == calibrate(seed=7, runs=300, looks=20, only=["planned", "false_alarms"])["planned"]
    assert alone["false_alarms"] == []
    with pytest.raises(Invalid) as refusal:
        calibrate(only=["speed"])
    assert refusal.value.code == "calibration-section"


def test_requests_of_sticky_users_break_the_level_and_subjects_do_not():
    """The known failure that the ramp test answers: the same crowd, judged by requests, false-alarms far above α."""
    shares = worlds.ramp_shares(300)
    by_request = worlds.harm_looks(worlds.sticky_requests(np.random.default_rng(1), Crowd(), shares, 200), 200, 0.01)
    by_subject = worlds.harm_looks(worlds.sticky_subjects(np.random.default_rng(1), Crowd(), shares, 600), 600, 0.01)
    assert clopper_pearson(int((by_request > 0).sum()), 200)[0] > 0.05
    assert clopper_pearson(int((by_subject > 0).sum()), 600)[0] <= 0.01


def test_pod_noise_breaks_the_plain_test():
    """The known failure that the group test answers: per-arm gamma noise drives the plain ratio test far above α."""
    rng = np.random.default_rng(2)

    def plain():
        for counts in worlds.pod_noise(rng, runs=200, looks=150, groups=10, mean=10.0, spread=0.5):
            yield counts[:, 0], counts[:, 1:].sum(axis=1), 0.1

    assert (worlds.harm_looks(plain(), 200, 0.01) > 0).mean() > 0.1


def test_pod_noise_does_not_break_the_test_by_pods(report):
    """The same noise judged by pods: one canary pod, three of ten, and pods of unequal size keep the level."""
    rows = [row for row in report["false_alarms"] if "pod" in row["world"] and row["claimed"]]
    assert len(rows) == 4
    assert all(row["low"] <= row["level"] for row in rows)
    few = pod_looks(np.random.default_rng(6), 400, 120, 0.01, chosen=5)
    assert clopper_pearson(int((few > 0).sum()), 400)[0] <= 0.01


def test_pod_noise_breaks_the_plain_allowance_test_and_not_the_one_by_pods():
    """Where pods differ, totals certify harm at the bound far above β; comparing pods holds the level, at any number."""
    worse = {"base": 0.1, "allowed": 0.01, "harmful": True}
    plain = pod_excess_looks(np.random.default_rng(11), 300, 200, 0.01, by_pods=False, **worse)
    assert clopper_pearson(int((plain > 0).sum()), 300)[0] > 0.03
    for chosen in (1, 5):
        found = pod_excess_looks(np.random.default_rng(12), 600, 200, 0.01, chosen=chosen, **worse)
        assert clopper_pearson(int((found > 0).sum()), 600)[0] <= 0.01


def test_pods_that_do_no_harm_are_certified():
    """Pods that differ do not hide harmlessness, of errors or of latency, whichever number of pods runs the canary."""
    for chosen in (1, 5):
        good = pod_excess_looks(
            np.random.default_rng(13), 40, 600, 0.01, base=0.02, allowed=0.01, harmful=False, chosen=chosen
        )
        assert (good > 0).all()
    assert (pod_quantile_looks(np.random.default_rng(14), 40, 200, 0.01, margin=0.2, harmful=False) > 0).all()


def test_pods_slower_or_faster_by_chance_convict_no_latency():
    """Each pod 15 % faster or slower by chance in every block: totals convict the canary's, comparing pods does not."""
    noisy = {"spread": 0.15, "values": 60}
    plain = pod_duration_looks(np.random.default_rng(15), 40, 60, 0.01, by_pods=False, **noisy)
    by_pods = pod_duration_looks(np.random.default_rng(15), 100, 60, 0.01, **noisy)
    assert clopper_pearson(int((plain > 0).sum()), 40)[0] > 0.03
    assert clopper_pearson(int((by_pods > 0).sum()), 100)[0] <= 0.01


def test_harm_is_found_by_pods():
    """Pods that differ do not hide a canary that fails four times as often, whichever number of pods runs it."""
    for chosen in (1, 5):
        found = pod_looks(np.random.default_rng(8), 60, 200, 0.01, harm=4.0, chosen=chosen)
        assert (found > 0).all()


def test_the_confidence_sequence_covers_at_all_looks():
    """The true ratio leaves the 99 % confidence sequence at any of 60 looks in at most about 1 % of runs."""
    rng = np.random.default_rng(4)
    runs, missed = 300, 0
    odds = 2.0 * 0.1 / (2.0 * 0.1 + 0.9)
    for _ in range(runs):
        likelihood = np.zeros(len(interval.GRID))
        for _look in range(60):
            both = int(rng.poisson(4.0))
            likelihood = likelihood + interval.likelihood_gain(int(rng.binomial(both, odds)), both, 0.1)
            low, high = interval.ratio_bounds(likelihood, 0.01)
            if (low is not None and low > 2.0) or (high is not None and high < 2.0):
                missed += 1
                break
    assert clopper_pearson(missed, runs)[0] <= 0.01


def test_quantile_bounds_bracket_the_truth():
    """A canary 30 % slower has a quantile-ratio sequence around 1.3, in bins."""
    rng = np.random.default_rng(5)
    canary = histogram_of(80_000 * 1.3 * rng.lognormal(0, 0.5, 4_000))
    baseline = histogram_of(80_000 * rng.lognormal(0, 0.5, 36_000))
    low, high = interval.quantile_ratio_bounds(canary, baseline, quantile_bin(baseline, 0.95), 0.1, 0.01)
    assert low is not None
    assert high is not None
    assert 1.09 < low <= 1.3 <= high < 1.7


def test_the_report_is_what_the_level_needs(report):
    """Every claimed world has its exact limits, and the counter-example of sticky requests is kept in view."""
    assert {row["claimed"] for row in report["false_alarms"]} == {True, False}
    assert all(row["low"] <= row["rate"] <= row["high"] for row in report["false_alarms"])
    assert all(row["detected"] == 1.0 for row in (*report["detection"], *report["late_change"]))


def test_every_row_says_its_goal_or_that_it_has_none(report):
    """Goal and whether it is reached come together; what is missed is named, and nothing else is."""
    rows = [row for name in ROWS for row in report[name]]
    assert all((row["goal"] is None) == (row["reached"] is None) for row in rows)
    assert report["missed"] == [row.get("world") or row["claim"] for row in rows if row["reached"] is False]
    assert [row["goal"] for row in report["late_change"]] == ["mean at most 2.7 times the bound", None]
