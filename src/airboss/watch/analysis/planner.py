"""Before the start: how many units a step needs, how long that takes at this traffic, and what it could miss.

If the canary is harmless, a test gains I nats for each canary unit on average, so it certifies after about

  need = (log(1/β) + log(1/w)) / I

canary units, w being the weight of the leading alternative (`ratio.py`, `excess.py`, `ceiling.py`). Gains: kl(p ‖ c)
for a ceiling c; the best bet's growth for an allowed excess, which is nearly kl(p ‖ p + δ) while the baseline is much
the larger arm and some 15 % less at 1:1, where the baseline has to be learnt as well; p_b·(th·f+1−f)/f · kl(th·f/(th·f+1−f) ‖ th0·f/(th0·f+1−f)) for a ratio, with th = 1 and th0 = 1 + margin for errors,
th = P(X > (1+d)τ)/P(X > τ) and th0 = 1 for a quantile margin. Where a ratio metric may be certified in k ways (last
step before 100 %, a ceiling of its own) each pays log k. The least sample of 100 units an arm always holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from airboss.watch.analysis import ceiling, excess, ratio
from airboss.watch.analysis.bins import BINS_PER_DOUBLING, Counts, quantile_bin
from airboss.watch.analysis.fold import tail_ratio
from airboss.watch.analysis.model import Kind, Metric, StepContext
from airboss.watch.analysis.state import excess_of, margin_bins
from airboss.watch.analysis.verdict import LEAST_UNITS

HARM_COST: Final = math.log(6.0)
"""What the mixture costs a conviction over knowing the alternative, in nats: measured (`calibrate`, detection)."""

ASSUMED_SIGMA: Final = 0.8
"""Spread of log durations where no history is known: wide, so the plan rather promises too little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What arrives at both arms together: units a second, and how many distinct subjects there are, if that is known.

    With a population N of people sending `per_s` requests a second, the distinct ones seen after t seconds are about
    N·(1 − exp(−per_s·t/N)); without one, each unit counts as new.
    """

    per_s: float
    population: int | None = None

    def seconds_to(self, units: int) -> float | None:
        """Return how long until `units` distinct units have been seen; None if they never will."""
        if self.per_s <= 0.0:
            return None
        if self.population is None:
            return units / self.per_s
        if units >= self.population:
            return None
        return -self.population / self.per_s * math.log1p(-units / self.population)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """What one metric of one step needs. `None` units: cannot be certified; `None` seconds: not at this traffic.

    `ceiling`: the rate it will be held against (ratio). `missed_ratio`: harm smaller than this multiple of the
    baseline's event rate (for latency: of the share of values beyond the quantile) would mostly go unconvicted in the
    step; None where no harm below 1,000 times would be seen.
    """

    metric: str
    needed_canary: int | None
    needed_total: int | None
    seconds: float | None
    ceiling: float | None
    missed_ratio: float | None
    sentence: str


def plan_step(
    metrics: Sequence[Metric],
    step: StepContext,
    traffic: Traffic,
    *,
    alpha: float,
    beta: float,
    base_rates: Mapping[str, float],
    base_hists: Mapping[str, Counts] | None = None,
) -> tuple[StepPlan, ...]:
    """Return one plan a metric. `base_rates`: expected bad rate of each ratio metric; `base_hists`: past durations (288,)."""
    plans = []
    for metric in metrics:
        if metric.kind is Kind.RATIO:
            base = base_rates.get(metric.name, 0.0)
            limit = max(base + excess_of(step), metric.ceiling or 0.0)
            needed, events = _ratio_need(metric, step, base, beta), base
        else:
            limit = None
            hist = (base_hists or {}).get(metric.name)
            needed, events = latency_need(metric, step, beta, hist), 1.0 - metric.quantile
        plans.append(_plan(metric, step, traffic, needed=needed, limit=limit, events=events, alpha=alpha))
    return tuple(plans)


def ceiling_need(base_rate: float, limit: float, beta: float) -> int | None:
    """Return the canary units that certify a rate below `limit` when it is `base_rate`; None if it is not below."""
    if base_rate >= limit:
        return None
    lead = float(ceiling.LOG_WEIGHTS[0])
    return math.ceil((-math.log(beta) - lead) / ceiling.information(min(base_rate, 0.8 * limit), limit))


def excess_need(base_rate: float, allowed: float, share: float, beta: float) -> int | None:
    """Return the canary units that certify an excess below `allowed` when there is none; None if nothing is allowed."""
    if allowed <= 0.0:
        return None
    lead = float(excess.LOG_WEIGHTS[0])
    return math.ceil((-math.log(beta) - lead) / excess.information(base_rate, allowed, share))


def margin_need(base_rate: float, margin: float, share: float, beta: float) -> int | None:
    """Return the canary units that certify ratio < 1 + margin when it is 1; None without any events."""
    if base_rate <= 0.0:
        return None
    lead = float(ratio.SAFE_LOG_WEIGHTS[0])
    return math.ceil((-math.log(beta) - lead) / ratio.information(base_rate, 1.0, 1.0 + margin, share))


def latency_need(metric: Metric, step: StepContext, beta: float, hist: Counts | None = None) -> int | None:
    """Return the canary units that certify the step's quantile margin when nothing changed.

    Without a histogram durations are taken as lognormal with sigma 0.8.
    """
    shift = margin_bins(metric, step)
    if hist is not None and hist.sum() > 0:
        threshold = quantile_bin(hist, metric.quantile)
        over = float(hist[threshold:].sum() / hist.sum())
        tail = tail_ratio(hist, threshold, threshold + shift)
    else:
        over = 1.0 - metric.quantile
        moved = shift / BINS_PER_DOUBLING * math.log(2.0) / ASSUMED_SIGMA
        tail = float(ndtr(ndtri(over) - moved)) / over
    if shift == 0 or over == 0.0:
        return None
    lead = float(ratio.TAIL_LOG_WEIGHTS[0])
    return math.ceil((-math.log(beta) - lead) / ratio.information(over, tail, 1.0, step.share_canary))


def detectable_ratio(canary_units: int, base_rate: float, share: float, alpha: float) -> float | None:
    """Return the least harm ratio convicted on average within `canary_units`; None if none up to 1,000 is."""
    need = -math.log(alpha) + HARM_COST
    highest = min(1000.0, 1.0 / base_rate if base_rate > 0.0 else 1000.0)

    def gained(times: float) -> float:
        return canary_units * ratio.information(base_rate, times, 1.0, share)

    if base_rate <= 0.0 or gained(highest) < need:
        return None
    low, high = 0.0, math.log(highest)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if gained(math.exp(middle)) >= need else (middle, high)
    return math.exp(high)


def _ratio_need(metric: Metric, step: StepContext, base: float, beta: float) -> int | None:
    ways = 1 + (metric.ceiling is not None) + step.is_last_before_full
    paths = [excess_need(base, excess_of(step), step.share_canary, beta / ways)]
    if metric.ceiling is not None:
        paths.append(ceiling_need(base, metric.ceiling, beta / ways))
    if step.is_last_before_full:
        paths.append(margin_need(base, metric.margin, step.share_canary, beta / ways))
    return min((path for path in paths if path is not None), default=None)


def _plan(
    metric: Metric,
    step: StepContext,
    traffic: Traffic,
    *,
    needed: int | None,
    limit: float | None,
    events: float,
    alpha: float,
) -> StepPlan:
    name = metric.label or metric.name
    if needed is None:
        sentence = f"{name}: nothing can certify step {step.index + 1}: give an allowance or a wider margin"
        return StepPlan(
            metric=metric.name,
            needed_canary=None,
            needed_total=None,
            seconds=None,
            ceiling=limit,
            missed_ratio=None,
            sentence=sentence,
        )
    share = step.share_canary
    canary = max(needed, LEAST_UNITS, math.ceil(LEAST_UNITS * share / (1.0 - share)))
    total = math.ceil(canary / share)
    seconds = traffic.seconds_to(total)
    missed = detectable_ratio(canary, events, share, alpha)
    when = f"about {_span(seconds)}" if seconds is not None else "never at this traffic"
    what = "harm" if metric.kind is Kind.RATIO else f"a share of values beyond the p{100 * metric.quantile:.4g}"
    overlooked = f"{what} below {missed:.2g} times the baseline's could be missed" if missed else "harm could be missed"
    return StepPlan(
        metric=metric.name,
        needed_canary=canary,
        needed_total=total,
        seconds=seconds,
        ceiling=limit,
        missed_ratio=missed,
        sentence=f"{name}: {canary:,} canary units ({total:,} in all), {when}; {overlooked}",
    )


def _span(seconds: float) -> str:
    if seconds < 90.0:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400.0:
        return f"{math.ceil(seconds / 60.0)} min"
    return f"{seconds / 3600.0:.1f} h" if seconds < 172_800.0 else f"{np.ceil(seconds / 86_400.0):.0f} days"
