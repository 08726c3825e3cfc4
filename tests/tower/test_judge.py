"""What the judge hands to the analysis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pytest

from airboss.tower.judge import as_block
from airboss.watch.analysis import (
    Design,
    Kind,
    Metric,
    Outcome,
    StepContext,
    Verdict,
    decide,
    histogram_of,
    new_step,
    start,
    update,
)
from airboss.watch.telemetry import NUM_BINS, Counts, SealedBlock

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


def arm(*pods: tuple[int, int], unnamed: int = 0) -> Counts:
    groups = np.zeros((100, 6), np.int64)
    for number, (requests, bad) in enumerate(pods):
        groups[7 * number, :2] = requests, bad
    total = int(groups[:, 0].sum()) + unnamed
    return Counts(requests=total, bad=int(groups[:, 1].sum()), groups=groups)


def timed(*pods: np.ndarray, told: bool = True) -> Counts:
    """An arm whose pods answered with these histograms; `told`: by a receiver that keeps them by pod."""
    groups = np.zeros((100, 6), np.int64)
    groups[: len(pods), 0] = [hist.sum() for hist in pods]
    pairs = [(NUM_BINS * pod + place, hist[place]) for pod, hist in enumerate(pods) for place in np.flatnonzero(hist)]
    return Counts(
        requests=int(groups[:, 0].sum()),
        hist=np.sum(pods, axis=0),
        groups=groups,
        pod_bins=np.array(pairs if told else [], np.int64).reshape(-1, 2),
    )


def sealed(design: Literal["ramp", "deploy"], canary: Counts, baseline: Counts, look: int = 0) -> SealedBlock:
    return SealedBlock(
        start=AT + timedelta(seconds=2 * look),
        end=AT + timedelta(seconds=2 * look + 2),
        change_id="chg_x",
        attempt=1,
        step=0,
        percent=10.0,
        design=design,
        canary=canary,
        baseline=baseline,
        saturated=False,
        late=0,
    )


def test_the_pods_of_a_deploy_are_told_apart() -> None:
    """Each pod comes with its own requests and keeps its name from block to block."""
    block = as_block(sealed("deploy", arm((50, 1)), arm((51, 0), (49, 2))), 0.33)
    assert [(pod.requests, pod.bad) for pod in block.canary.pods] == [(50, 1)]
    assert [(pod.pod, pod.requests, pod.bad) for pod in block.baseline.pods] == [("0", 51, 0), ("7", 49, 2)]


@pytest.mark.parametrize(("design", "unnamed"), [("ramp", 0), ("deploy", 1)])
def test_groups_that_are_no_pods_are_not_taken_for_any(design: Literal["ramp", "deploy"], unnamed: int) -> None:
    """A ramp's groups are people's hashes; and where one request names no pod, nobody knows all of them."""
    block = as_block(sealed(design, arm((50, 1), unnamed=unnamed), arm((51, 0), (49, 2), unnamed=unnamed)), 0.33)
    assert block.canary.pods == block.baseline.pods == ()


def judged(slower: float, *, told: bool = True) -> Verdict:
    """Judge the latency of one new pod beside four old ones, whose every block is faster or slower by some 20 %."""
    chance = np.random.default_rng(5)
    latency = Metric(name="latency", kind=Kind.LATENCY, margin=0.5)
    context = StepContext(index=0, share_canary=0.2, next_share=1.0, allowance=0.0, is_last_before_full=True)
    state = new_step(start([latency], 0.01, 0.05, design=Design.DEPLOY), context)
    for look in range(60):
        pods = [
            histogram_of(20_000 * factor * chance.lognormal(0.0, 0.5, 50) * chance.lognormal(0.0, 0.2))
            for factor in (slower, 1.0, 1.0, 1.0, 1.0)
        ]
        block = sealed("deploy", timed(pods[0], told=told), timed(*pods[1:], told=told), look)
        state = update(state, as_block(block, 0.2))
    return decide(state)


def test_the_latency_of_a_deploy_is_judged_by_pods() -> None:
    """Where receivers tell durations by pod, pods that differ convict nobody, and a release twice as slow is convicted."""
    fine, slow = judged(1.0), judged(2.0)
    assert fine.outcome is not Outcome.FAIL
    assert slow.outcome is Outcome.FAIL
    assert all("not-robust-to-pod-differences" not in verdict.reasons for verdict in (fine, slow))


def test_latency_by_totals_says_what_it_is_not() -> None:
    """Of a receiver that told no durations by pod, totals are compared, which pods that differ sway: the verdict says so."""
    verdict = judged(1.0, told=False)
    assert "not-robust-to-pod-differences" in verdict.reasons
    assert "not robust to pod differences" in verdict.metrics[0].sentence
