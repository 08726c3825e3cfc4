"""From a state to a verdict.

FAIL: Σ_i w_i·E_i(harm) ≥ 1/α. A weighted mean of e-values is an e-value under any dependence between the metrics, so
the family-wise level is α with no correction. A conviction needs no least sample: its level is exact at any count.

PASS: *every* critical metric's harmlessness e-value is ≥ 1/β now (intersection–union test: no correction), with at
least 100 units in each arm of the step. A ratio metric may be harmless in several ways: its excess is below the step's
allowance; its rate is below a ceiling of its own, if it has one; on the last step before 100 % its ratio is below the
relative margin. Its evidence is the mean of those e-values, which certifies falsely with probability ≤ β and is never
weaker than splitting β among the ways. Latency is harmless by its quantile margin.

Else CONTINUE, or INCONCLUSIVE once the caller's deadline has passed. Nothing passes for want of evidence.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from airboss.watch.analysis import ceiling, excess, groups, harmless, histogram, interval, mixture, ratio, sentences
from airboss.watch.analysis.bins import Counts, Floats, quantile_us
from airboss.watch.analysis.fold import tail_ratio
from airboss.watch.analysis.model import Design, Kind, Metric, MetricVerdict, Outcome, Packed, StepContext, Verdict
from airboss.watch.analysis.state import SPLIT_RATIOS, State, Track, excess_of, margin_bins

LEAST_UNITS: Final = 100
"""Units (subjects, requests) each arm of a step must have shown before it can be called harmless."""

SPLIT_ALPHA: Final = 0.001
"""Level of the split check: observed shares of new subjects against the design."""


def decide(state: State, *, deadline_passed: bool = False) -> Verdict:
    """Return the verdict on all blocks folded so far. Costs O(metrics × grid); never changes the state."""
    weights = np.array([metric.weight for metric in state.metrics])
    weights = weights / weights.sum()
    harm = np.array([_log_harm(track, metric, state.looks + state.looks_ahead) for metric, track in _pairs(state)])
    threshold = -math.log(state.unit_alpha)
    combined = float(mixture.log_sum(harm + np.log(weights)))
    convicted = combined >= threshold
    # A mean of e-values reaches 1/α only if one of them does; those, and only those, are named.
    outcomes = [Outcome.FAIL if convicted and log_e >= threshold else Outcome.CONTINUE for log_e in harm]
    mismatch = state.design is Design.RAMP and bool(
        mixture.log_sum(state.split - math.log(len(SPLIT_RATIOS))) >= -math.log(SPLIT_ALPHA)
    )
    verdicts = tuple(
        _judge(state, metric, track, outcome, float(log_e), deadline_passed=deadline_passed)
        for (metric, track), outcome, log_e in zip(_pairs(state), outcomes, harm, strict=True)
    )
    return _combine(state, verdicts, combined, convicted=convicted, mismatch=mismatch, deadline_passed=deadline_passed)


def _combine(
    state: State,
    verdicts: tuple[MetricVerdict, ...],
    combined: float,
    *,
    convicted: bool,
    mismatch: bool,
    deadline_passed: bool,
) -> Verdict:
    demanded = [v for metric, v in zip(state.metrics, verdicts, strict=True) if metric.critical] or list(verdicts)
    telling = [v for v in verdicts if not convicted or v.outcome is Outcome.FAIL]
    reasons = tuple(dict.fromkeys(reason for v in telling for reason in v.reasons))
    if mismatch:
        reasons = (*reasons, "split-mismatch")
    if convicted:
        outcome = Outcome.FAIL
    elif all(v.outcome is Outcome.PASS for v in demanded) and not mismatch:
        outcome = Outcome.PASS
    else:
        outcome = Outcome.INCONCLUSIVE if deadline_passed else Outcome.CONTINUE
    waiting = [] if convicted else [v for v in demanded if v.outcome is not Outcome.PASS]
    needs = [v.needed_canary for v in waiting]
    totals = [v.needed_total for v in waiting]
    open_needs = [need for need in needs if need is not None]
    open_totals = [need for need in totals if need is not None]
    known = len(open_needs) == len(needs)
    return Verdict(
        outcome=outcome,
        sentence=sentences.combined(outcome, verdicts, mismatch=mismatch),
        metrics=verdicts,
        log_e_harm=combined,
        log_harm_threshold=-math.log(state.unit_alpha),
        looks=state.looks,
        needed_canary=max(open_needs, default=0) if known else None,
        needed_total=max(open_totals, default=0) if known else None,
        reasons=reasons,
    )


def _judge(
    state: State, metric: Metric, track: Track, outcome: Outcome, log_harm: float, *, deadline_passed: bool
) -> MetricVerdict:
    tally = track.tally
    safe_threshold = -math.log(state.beta)
    log_safe = _log_safe(metric, track, state.step)
    short = _units_short(state)
    reasons: list[str] = []
    if short > 0 and outcome is not Outcome.FAIL:
        reasons.append("too-few-subjects" if state.design is Design.RAMP else "too-few-requests")
    not_robust = state.design is Design.DEPLOY and not (track.robust and _safe_by_pods(metric, track, state.step))
    if not_robust:
        reasons.append("not-robust-to-pod-differences")
    if track.apart:
        reasons.append("pods-not-comparable")
    if outcome is not Outcome.FAIL and short == 0 and log_safe >= safe_threshold:
        outcome = Outcome.PASS
    needed: int | None = 0
    warming = metric.kind is Kind.LATENCY and track.threshold_bin is None
    if outcome is Outcome.CONTINUE:
        reasons.append("warming-up" if warming else "underpowered")
        more = _canary_needed(state, metric, track, safe_threshold)
        needed = None if more is None else max(more, short, 1)
        if deadline_passed:
            outcome = Outcome.INCONCLUSIVE
    share = state.step.share_canary if state.step is not None else 1.0
    confidence = 1.0 - state.unit_alpha
    canary_rate, baseline_rate, best, low, high = _estimates(metric, track, share, state, outcome)
    facts = sentences.Facts(
        metric=metric,
        design=state.design,
        outcome=outcome,
        canary_rate=canary_rate,
        baseline_rate=baseline_rate,
        canary_seen=tally.step_canary_seen,
        baseline_seen=tally.step_baseline_seen,
        ratio=best,
        low=low,
        high=high,
        confidence=confidence,
        ceiling=_ceiling(metric, track, state.step),
        margin=_shown_margin(metric, state.step),
        needed=needed,
        short=short,
        warming=warming,
        not_robust=not_robust,
        apart=track.apart,
    )
    return MetricVerdict(
        metric=metric.name,
        kind=metric.kind,
        outcome=outcome,
        sentence=sentences.of_metric(facts),
        log_e_harm=log_harm,
        log_harm_threshold=-math.log(state.unit_alpha),
        log_e_safe=log_safe,
        log_safe_threshold=safe_threshold,
        ratio=best,
        ratio_low=low,
        ratio_high=high,
        confidence=confidence,
        canary_rate=canary_rate,
        baseline_rate=baseline_rate,
        ceiling=facts.ceiling,
        margin=facts.margin,
        numbers={
            "canary_seen": tally.step_canary_seen,
            "baseline_seen": tally.step_baseline_seen,
            "canary_bad": tally.step_canary_hit,
            "baseline_bad": tally.step_baseline_hit,
            "canary_first_bad": tally.step_canary_bad,
            "baseline_first_bad": tally.step_baseline_bad,
            "attempt_canary_seen": tally.canary_seen,
            "attempt_baseline_seen": tally.baseline_seen,
            "attempt_canary_bad": tally.canary_bad,
            "attempt_baseline_bad": tally.baseline_bad,
        },
        needed_canary=needed,
        needed_total=None if needed is None else math.ceil(needed / share),
        canary_hist=_packed(track.step_canary),
        baseline_hist=_packed(track.step_baseline),
        reasons=tuple(reasons),
    )


def _log_harm(track: Track, metric: Metric, looks: int) -> float:
    if metric.kind is Kind.LATENCY:
        weights = groups.LATENCY_LOG_WEIGHTS if track.robust else histogram.LOG_WEIGHTS
    else:
        weights = groups.LOG_WEIGHTS if track.robust else ratio.HARM_LOG_WEIGHTS
    return float(mixture.log_value(track.harm_main, track.harm_late, looks, weights))


def _log_safe(metric: Metric, track: Track, step: StepContext | None) -> float:
    if step is None:
        return 0.0
    if metric.kind is Kind.LATENCY and not track.robust:
        return float(mixture.log_sum(track.safe_relative + ratio.TAIL_LOG_WEIGHTS))
    ways = [float(mixture.log_sum(process + weights)) for process, weights in _ways(metric, track, step)]
    return float(mixture.log_sum(ways)) - math.log(len(ways))


def _ways(metric: Metric, track: Track, step: StepContext) -> list[tuple[Floats, Floats]]:
    """Return (log e-values, log weights) of each way in which a metric may be harmless in this step.

    By pods there is one way: the others compare totals, which one odd pod sways.
    """
    if _safe_by_pods(metric, track, step):
        return [(track.safe_pods, harmless.LOG_WEIGHTS)]
    ways = [(track.safe_excess, excess.LOG_WEIGHTS)]
    if metric.ceiling is not None:
        ways.append((track.safe_ceiling, ceiling.LOG_WEIGHTS))
    if step.is_last_before_full:
        ways.append((track.safe_relative, ratio.SAFE_LOG_WEIGHTS))
    return ways


def _safe_by_pods(metric: Metric, track: Track, step: StepContext | None) -> bool:
    """Say whether harmlessness is judged by pods. Where nothing is allowed in excess no test by pods can certify errors."""
    if not track.robust:
        return False
    return metric.kind is Kind.LATENCY or step is None or excess_of(step) > 0.0


def _units_short(state: State) -> int:
    """Return how many canary units are missing for 100 in each arm of the step."""
    tally = state.tracks[0].tally
    share = state.step.share_canary if state.step is not None else 0.5
    by_baseline = math.ceil((LEAST_UNITS - tally.step_baseline_seen) * share / (1.0 - share))
    return max(LEAST_UNITS - tally.step_canary_seen, by_baseline, 0)


def _canary_needed(state: State, metric: Metric, track: Track, threshold: float) -> int | None:
    """Return the canary units still needed if the canary is as good as the baseline; None if no number would do.

    need = (log(1/β) − log(w·e_now)) / I, with e_now of the leading alternative and I its expected gain for one unit.
    """
    step = state.step
    if step is None:
        return None
    if metric.kind is Kind.LATENCY:
        paths = [_latency_path(metric, track, step, threshold)]
    else:
        ways = _ways(metric, track, step)
        gains = _ratio_gains(metric, track, step)
        paths = [
            (threshold + math.log(len(ways)) - float(process[0] + weights[0]), gain)
            for (process, weights), gain in zip(ways, gains, strict=True)
        ]
    counts = [math.ceil(max(missing, 0.0) / gain) for missing, gain in paths if gain > 1e-12]
    return min(counts, default=None)


def _ratio_gains(metric: Metric, track: Track, step: StepContext) -> list[float]:
    """Return what each way of `_ways` gains for one canary unit if the canary does as the baseline did; 0: nothing."""
    tally = track.tally
    base = tally.past_bad / tally.past_seen if tally.past_seen else 0.0
    allowed = excess_of(step)
    if _safe_by_pods(metric, track, step):
        seen = tally.canary_seen + tally.baseline_seen
        return [harmless.excess_information(base, allowed, tally.canary_seen / seen if seen else step.share_canary)]
    gains = [excess.information(base, allowed, step.share_canary) if allowed > 0.0 else 0.0]
    if metric.ceiling is not None:
        gains.append(ceiling.information(base, metric.ceiling) if base < metric.ceiling else 0.0)
    if step.is_last_before_full:
        gains.append(ratio.information(base, 1.0, 1.0 + metric.margin, step.share_canary))
    return gains


def _latency_path(metric: Metric, track: Track, step: StepContext, threshold: float) -> tuple[float, float]:
    done = float(track.safe_relative[0] + ratio.TAIL_LOG_WEIGHTS[0])
    if track.robust:
        done = float(track.safe_pods[0] + harmless.LOG_WEIGHTS[0])
    tau = track.threshold_bin
    if tau is None:
        return threshold - done, 0.0
    over = float(track.past[tau:].sum()) / float(track.past.sum())
    tail = tail_ratio(track.past, tau, tau + margin_bins(metric, step))
    if track.robust:
        return threshold - done, harmless.tail_information(over, tail, step.share_canary)
    return threshold - done, ratio.information(over, tail, 1.0, step.share_canary)


def _ceiling(metric: Metric, track: Track, step: StepContext | None) -> float | None:
    """Return the rate the canary is held against, for display: past baseline + allowed excess, or its own ceiling."""
    if step is None or metric.kind is Kind.LATENCY:
        return None
    tally = track.tally
    base = tally.past_bad / tally.past_seen if tally.past_seen else 0.0
    return max(base + excess_of(step), metric.ceiling or 0.0)


def _shown_margin(metric: Metric, step: StepContext | None) -> float | None:
    if step is None:
        return None
    if metric.kind is Kind.LATENCY:
        return float(2.0 ** (margin_bins(metric, step) / 8.0) - 1.0)
    return metric.margin if step.is_last_before_full else None


Estimates = tuple[float | None, float | None, float | None, float | None, float | None]


def _estimates(metric: Metric, track: Track, share: float, state: State, outcome: Outcome) -> Estimates:
    """Return canary rate, baseline rate, ratio, low, high for display."""
    tally = track.tally
    if metric.kind is Kind.RATIO:
        # Each verdict shows the rate it is about: harm events when it convicts, first requests when it may certify.
        mine, others = tally.step_canary_bad, tally.step_baseline_bad
        if outcome is Outcome.FAIL:
            mine, others = tally.step_canary_hit, tally.step_baseline_hit
        canary = mine / tally.step_canary_seen if tally.step_canary_seen else None
        baseline = others / tally.step_baseline_seen if tally.step_baseline_seen else None
        low, high = (None, None) if track.robust else interval.ratio_bounds(track.likelihood, state.unit_alpha)
        best = interval.best_ratio(track.likelihood, any_bad=tally.canary_bad + tally.baseline_bad > 0)
        return canary, baseline, best, low, high
    slow = quantile_us(track.step_canary, metric.quantile)
    usual = quantile_us(track.step_baseline, metric.quantile)
    best = slow / usual if slow is not None and usual else None
    if track.threshold_bin is None or track.robust or not 0.0 < share < 1.0:
        return slow, usual, best, None, None
    if state.design is Design.DEPLOY:
        values = int(track.step_canary.sum()), int(track.step_baseline.sum())
        if not all(values):
            return slow, usual, best, None, None
        share = values[0] / sum(values)
    low, high = interval.quantile_ratio_bounds(
        track.step_canary, track.step_baseline, track.threshold_bin, share, state.unit_alpha
    )
    return slow, usual, best, low, high


def _packed(counts: Counts) -> Packed | None:
    used = np.flatnonzero(counts)
    return (int(used[0]), tuple(counts[used[0] : used[-1] + 1].tolist())) if len(used) else None


def _pairs(state: State) -> list[tuple[Metric, Track]]:
    return list(zip(state.metrics, state.tracks, strict=True))
