"""Which counts each design judges, and why that keeps the level.

**The ramp test.** In a ramp the arm of each distinct subject is an independent hash draw with a share f we set
ourselves. Judge requests, and sticky users break the null: with 3,000 users whose error rates have CV 4, request-level
tests false-alarm at 7 % in ten minutes and 17 % in an hour, since one unlucky arm holds the few users who fail all the
time. So the unit is the randomised subject, and each subject counts once:

*Harm, errors.* Let the k subjects whose *first bad request of this attempt* falls into a block be pooled over arms. If
the new side does nothing, who they are and when they fail does not depend on their hash, so their arms are k
independent draws: c | k ~ Bin(k, f) **exactly**, whatever the per-user rates are: sticky users, heavy tails,
clients that always fail, base rates that move by the hour, a shock common to all. Because a subject counts once per
attempt, earlier blocks say nothing about its hash, and because the exposure of a step is chosen from the past, f may
change between blocks: e-values multiply over all blocks and steps of an attempt. Nothing is assumed about how many
subjects were seen, so nothing needs to be estimated. (With harm_ratio th0 > 1 the counts are, given the rates, a draw
with odds th0·f : 1−f at most; harmed subjects are used up faster, which errs on the side of no alarm.)

*Harm, latency.* One value a subject, the duration of its first request of this attempt: under the null each value's
arm is an independent draw with share f, and the histogram e-value (`histogram.py`) has expectation 1 exactly.

*Harmless, fresh in each step.* Over subjects first seen in this step: was that first request bad, how long did it
take. The non-inferiority factor has expectation exactly 1 at the margin for each subject, whatever its own rate
(`ratio.py`); the ceiling test needs only that the mean rate of arriving subjects is at least the ceiling
(`ceiling.py`). What is certified is the rate over *people's first requests in the step*, each person weighing one.
Assumed: being exposed in an earlier step does not decide whether a subject comes back in this one; the split check
(`first_seen` against f) says so when it does, or when one arm's telemetry is lost.

**Deploys.** No subject is randomised, so requests are counted, with f = n/(n+m) from the block itself. Where telemetry
tells pods of equal size apart the harm test is the pod-exchangeability e-value (`groups.py`), robust to pods that differ.
Elsewhere it is the plain test and the verdict says "not robust to pod differences".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from airboss.watch.analysis.bins import BIN_COUNT, Counts
from airboss.watch.analysis.groups import Pods, comparable
from airboss.watch.analysis.model import ArmCounts, Block, Design

_NOTHING: Counts = np.zeros(BIN_COUNT, dtype=np.int64)
_NOTHING.setflags(write=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArmUnits:
    """One arm of a block in the design's unit: `seen`, `bad`, `hist` for harm; `step_*` for harmlessness."""

    seen: int
    bad: int
    hist: Counts
    step_seen: int
    step_bad: int
    step_hist: Counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counted:
    """A block as the tests see it.

    `share`: f for events. `hist_share`, `step_hist_share`: f for durations, which a deploy takes from the values that
    were reported (0 when there were none). `pods`: both arms' pods, None unless they are comparable.
    """

    share: float
    hist_share: float
    step_hist_share: float
    canary: ArmUnits
    baseline: ArmUnits
    pods: Pods | None


def count(block: Block, design: Design) -> Counted | None:
    """Return the block in the design's unit, or None when one arm of a deploy had no requests."""
    match design:
        case Design.RAMP:
            return Counted(
                share=block.share_canary,
                hist_share=block.share_canary,
                step_hist_share=block.share_canary,
                canary=_subjects(block.canary),
                baseline=_subjects(block.baseline),
                pods=None,
            )
        case Design.DEPLOY:
            both = block.canary.requests + block.baseline.requests
            if block.canary.requests == 0 or block.baseline.requests == 0:
                return None
            canary, baseline = _requests(block.canary), _requests(block.baseline)
            values = int(canary.hist.sum()) + int(baseline.hist.sum())
            value_share = int(canary.hist.sum()) / values if values else 0.0
            return Counted(
                share=block.canary.requests / both,
                hist_share=value_share,
                step_hist_share=value_share,
                canary=canary,
                baseline=baseline,
                pods=_pods(block),
            )


def _subjects(arm: ArmCounts) -> ArmUnits:
    return ArmUnits(
        seen=arm.first_seen,
        bad=arm.first_bad,
        hist=_or_nothing(arm.first_hist),
        step_seen=arm.subjects,
        step_bad=arm.subjects_bad,
        step_hist=_or_nothing(arm.subjects_hist),
    )


def _requests(arm: ArmCounts) -> ArmUnits:
    hist = _or_nothing(arm.hist)
    return ArmUnits(seen=arm.requests, bad=arm.bad, hist=hist, step_seen=arm.requests, step_bad=arm.bad, step_hist=hist)


def _pods(block: Block) -> Pods | None:
    """Return both arms' pods where their sizes agree, a question about requests and never about outcomes."""
    mine, others = block.canary.pods, block.baseline.pods
    both = (*mine, *others)
    if not mine or not others or not comparable([pod.requests for pod in both]):
        return None
    histograms = [pod.hist for pod in both if pod.hist is not None]
    return Pods(
        chosen=len(mine),
        requests=np.array([pod.requests for pod in both], dtype=np.int64),
        bad=np.array([pod.bad for pod in both], dtype=np.int64),
        hist=np.stack(histograms) if len(histograms) == len(both) else None,
    )


def _or_nothing(histogram: Counts | None) -> Counts:
    return _NOTHING if histogram is None else histogram
