"""The analysis room: from sealed counts of canary and baseline to a verdict that may be asked at every block.

Pure: no I/O, no clock, no chance of its own. Called by the tower (one state per attempt and unit, folded once a sealed
block, stored with the judgement), by the planner at submit, and by `airboss analysis calibrate`.

    state = start(metrics, alpha, beta)             # an attempt; alpha split over `units`
    state = new_step(state, StepContext(...))       # at each exposure; harm goes on, harmlessness begins afresh
    state = update(state, Block(...))               # each sealed block, once, in order
    verdict = decide(state, deadline_passed=False)  # fail | pass | continue | inconclusive, in numbers and words
    stored = to_json(state); state = from_json(stored)

Reading order: `counting` (what is counted and why the ramp test is exact), `ratio`, `histogram`, `groups`, `harmless`,
`excess`, `ceiling`, `mixture` (the e-values), `state`, `fold`, `verdict`, then `planner`, `interval`, `simulate`, `trials`,
`calibrate`, `rows`.
"""

from airboss.watch.analysis.bins import BIN_COUNT, bin_of, edge_us, histogram_of, quantile_us
from airboss.watch.analysis.calibrate import SECTIONS, calibrate
from airboss.watch.analysis.codec import from_json, to_json
from airboss.watch.analysis.fold import update
from airboss.watch.analysis.model import (
    ArmCounts,
    Block,
    Design,
    Kind,
    Metric,
    MetricVerdict,
    Outcome,
    PodCounts,
    StepContext,
    Verdict,
)
from airboss.watch.analysis.planner import StepPlan, Traffic, detectable_ratio, plan_step
from airboss.watch.analysis.state import State, alpha_of_attempt, new_step, reopen, start
from airboss.watch.analysis.verdict import decide

NUM_BINS = BIN_COUNT

__all__ = [
    "BIN_COUNT",
    "NUM_BINS",
    "SECTIONS",
    "ArmCounts",
    "Block",
    "Design",
    "Kind",
    "Metric",
    "MetricVerdict",
    "Outcome",
    "PodCounts",
    "State",
    "StepContext",
    "StepPlan",
    "Traffic",
    "Verdict",
    "alpha_of_attempt",
    "bin_of",
    "calibrate",
    "decide",
    "detectable_ratio",
    "edge_us",
    "from_json",
    "histogram_of",
    "new_step",
    "plan_step",
    "quantile_us",
    "reopen",
    "start",
    "to_json",
    "update",
]
