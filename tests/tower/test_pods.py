"""What the judge hands to the analysis of a deploy: both arms, and the pods that served them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from airboss.testing import ManualClock
from airboss.tower.judge import as_block
from airboss.watch.telemetry import Counts, SealedBlock


def _sealed(design: str) -> SealedBlock:
    start = ManualClock().now()
    groups = np.zeros((100, 6), np.int64)
    groups[3, :2], groups[7, :2] = (60, 2), (40, 1)
    arm = Counts(requests=100, bad=3, groups=groups)
    return SealedBlock(
        start=start,
        end=start + timedelta(seconds=2),
        change_id="chg_1",
        design=design,  # type: ignore[arg-type]
        attempt=1,
        step=0,
        percent=50.0,
        canary=arm,
        baseline=Counts(requests=9, bad=0),
        saturated=False,
        late=0,
    )


def test_pods_of_a_deploy_reach_the_analysis():
    """Each pod comes with its requests and bad ones; an arm that does not tell its pods apart comes without."""
    block = as_block(_sealed("deploy"), 0.5)
    assert [(pod.requests, pod.bad) for pod in block.canary.pods] == [(60, 2), (40, 1)]
    assert block.baseline.pods == ()


def test_hash_groups_of_a_ramp_are_no_pods():
    """The same columns hold hash groups of people in a ramp; they are never taken for pods."""
    assert as_block(_sealed("ramp"), 0.5).canary.pods == ()
