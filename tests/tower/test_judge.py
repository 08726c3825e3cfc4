"""What the judge hands to the analysis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pytest

from airboss.tower.judge import as_block
from airboss.watch.telemetry import Counts, SealedBlock

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


def arm(*pods: tuple[int, int], unnamed: int = 0) -> Counts:
    groups = np.zeros((100, 6), np.int64)
    for number, (requests, bad) in enumerate(pods):
        groups[7 * number, :2] = requests, bad
    total = int(groups[:, 0].sum()) + unnamed
    return Counts(requests=total, bad=int(groups[:, 1].sum()), groups=groups)


def sealed(design: Literal["ramp", "deploy"], canary: Counts, baseline: Counts) -> SealedBlock:
    return SealedBlock(
        start=AT,
        end=AT + timedelta(seconds=2),
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
