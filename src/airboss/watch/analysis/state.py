"""What is remembered between blocks: a few kilobytes, whole and serialisable.

Life of a state: `start` opens an attempt; `new_step` begins a step's harmlessness afresh while harm goes on; blocks are
folded by `fold.update`; `verdict.decide` reads. A retry of the same digest is a new attempt at `alpha_of_attempt`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from airboss.kernel.errors import Invalid
from airboss.watch.analysis import ceiling, excess, harmless, histogram, interval, mixture, ratio
from airboss.watch.analysis.bins import BIN_COUNT, Counts, Floats, bins_of_margin, quantile_bin
from airboss.watch.analysis.model import Design, Kind, Metric, StepContext

FORMAT: Final = 2
WIDEST_LATENCY_MARGIN: Final = 3.0
"""No step accepts a canary quantile above four times the baseline's, however small the next exposure is."""

SPLIT_RATIOS: Final[Floats] = np.array([0.5, 0.7, 0.85, 1.2, 1.45, 2.0])
"""Alternatives of the split check; a true split within some 7 % of the design never trips it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts for display, for bets and for the least sample. `*_bad` over the attempt, `step_*` since the step began.

    `step_*_bad` are first-in-step requests that were bad; `step_*_hit` are harm events (first bad in the attempt) in the
    step; `past_*` are the baseline's step units over all steps, from which bets and alternatives are foretold.
    """

    canary_bad: int = 0
    baseline_bad: int = 0
    canary_seen: int = 0
    baseline_seen: int = 0
    step_canary_seen: int = 0
    step_baseline_seen: int = 0
    step_canary_bad: int = 0
    step_baseline_bad: int = 0
    step_canary_hit: int = 0
    step_baseline_hit: int = 0
    past_seen: int = 0
    past_bad: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """One metric's processes. Arrays are log e-values per alternative; what a metric has no use for is empty.

    `robust` (deploys): whether the tests are those by pods; None until the first block decides it. `apart`: how many of the
    newest blocks those tests could not judge, because the pods' requests did not agree. `safe_pods`: harmlessness by pods.
    `threshold_bin`: the latency threshold τ as a bin edge, fixed from the past at the start of a step, and anew when the
    past has moved away from it; None while warming up. `step_canary`, `step_baseline`: counts since τ was fixed;
    `past`: baseline counts of earlier blocks, of which older ones are forgotten.
    """

    harm_main: Floats
    harm_late: Floats
    safe_relative: Floats
    safe_excess: Floats
    safe_ceiling: Floats
    safe_pods: Floats
    likelihood: Floats
    tally: Tally = field(default_factory=Tally)
    robust: bool | None = None
    apart: int = 0
    threshold_bin: int | None = None
    past: Counts
    step_canary: Counts
    step_baseline: Counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """All that is known of one attempt on one unit. `alpha` is for the attempt and is split over `units`.

    `looks_ahead`: how much further than `looks` the late start's law stands (of a state an older version stored).
    """

    design: Design
    alpha: float
    beta: float
    units: int
    metrics: tuple[Metric, ...]
    tracks: tuple[Track, ...]
    split: Floats
    step: StepContext | None = None
    looks: int = 0
    looks_ahead: int = 0
    last_start_us: int = 0
    last_end_us: int = 0
    last_strata: tuple[str, ...] = ()

    @property
    def unit_alpha(self) -> float:
        """The false-alarm budget of this unit."""
        return self.alpha / self.units


def start(
    metrics: Sequence[Metric], alpha: float, beta: float, units: int = 1, *, design: Design = Design.RAMP
) -> State:
    """Return the state of a new attempt. Raises Invalid for no metrics, equal names, or levels outside (0, 0.5]."""
    if not metrics:
        raise Invalid("a canary gate needs at least one metric", code="analysis-no-metrics")
    if len({metric.name for metric in metrics}) != len(metrics):
        raise Invalid("two metrics have the same name", code="analysis-metric-twice")
    if not (0.0 < alpha <= 0.5 and 0.0 < beta <= 0.5 and units >= 1):
        raise Invalid(f"alpha {alpha}, beta {beta}, units {units}", code="analysis-levels")
    return State(
        design=design,
        alpha=alpha,
        beta=beta,
        units=units,
        metrics=tuple(metrics),
        tracks=tuple(_track(metric) for metric in metrics),
        split=np.zeros(len(SPLIT_RATIOS)),
    )


def new_step(state: State, step: StepContext) -> State:
    """Return the state at the start of a step: harm goes on, harmlessness begins afresh."""
    tracks = []
    for metric, track in zip(state.metrics, state.tracks, strict=True):
        tally = replace(
            track.tally,
            step_canary_seen=0,
            step_baseline_seen=0,
            step_canary_bad=0,
            step_baseline_bad=0,
            step_canary_hit=0,
            step_baseline_hit=0,
        )
        tracks.append(
            replace(
                track,
                safe_relative=np.zeros_like(track.safe_relative),
                safe_excess=np.zeros_like(track.safe_excess),
                safe_ceiling=np.zeros_like(track.safe_ceiling),
                safe_pods=np.zeros_like(track.safe_pods),
                tally=tally,
                threshold_bin=threshold_of(metric, track.past),
                step_canary=np.zeros_like(track.step_canary),
                step_baseline=np.zeros_like(track.step_baseline),
            )
        )
    return replace(state, step=step, tracks=tuple(tracks))


def reopen(
    metrics: Sequence[Metric], alpha_left: float, beta: float, units: int = 1, *, design: Design = Design.RAMP
) -> State:
    """Return a new state with half the alpha left, for one whose stored form this version cannot read.

    The closed process spent what it was given; halving at every reopening keeps the sum over all below 2·alpha.
    """
    return start(metrics, alpha_left / 2.0, beta, units, design=design)


def alpha_of_attempt(alpha: float, attempt: int) -> float:
    """Return the level of attempt 1, 2, … on one digest: alpha·2^−(attempt−1); all attempts together stay below 2·alpha."""
    if attempt < 1:
        raise Invalid("attempts are counted from 1", code="analysis-attempt")
    return float(alpha * 2.0 ** -(attempt - 1))


def threshold_of(metric: Metric, past: Counts) -> int | None:
    """Return the bin edge of the past baseline's quantile, or None while fewer than ten values lie beyond it."""
    if metric.kind is not Kind.LATENCY or int(past.sum()) < tail_warm_up(metric):
        return None
    return quantile_bin(past, metric.quantile)


def tail_warm_up(metric: Metric) -> int:
    """Return how many past baseline values fix a latency threshold: ten beyond the quantile, 1,000 at most."""
    return min(1000, math.ceil(10.0 / (1.0 - metric.quantile) - 1e-9))


def margin_bins(metric: Metric, step: StepContext) -> int:
    """Return the latency margin of a step in bins: d / next share, at most 3, rounded down (harm allowance)."""
    return bins_of_margin(min(metric.margin / step.next_share, WIDEST_LATENCY_MARGIN))


def excess_of(step: StepContext) -> float:
    """Return by how much the canary's rate may exceed the baseline's in this step: allowance / next share, ≤ one half."""
    return min(step.allowance / step.next_share, ceiling.HIGHEST)


def _track(metric: Metric) -> Track:
    is_ratio = metric.kind is Kind.RATIO
    main, late = mixture.begin(len(ratio.HARM_RATIOS) if is_ratio else histogram.TILT_COUNT)
    width = 0 if is_ratio else BIN_COUNT
    return Track(
        harm_main=main,
        harm_late=late,
        safe_relative=np.zeros(len(ratio.SAFE_RATIOS) if is_ratio else len(ratio.TAIL_RATIOS) + 1),
        safe_excess=np.zeros(len(excess.LOG_WEIGHTS) if is_ratio else 0),
        safe_ceiling=np.zeros(len(ceiling.LOG_WEIGHTS) if metric.ceiling is not None else 0),
        safe_pods=np.zeros(len(harmless.LOG_WEIGHTS)),
        likelihood=np.zeros(len(interval.GRID) if is_ratio else 0),
        past=np.zeros(width, dtype=np.int64),
        step_canary=np.zeros(width, dtype=np.int64),
        step_baseline=np.zeros(width, dtype=np.int64),
    )
