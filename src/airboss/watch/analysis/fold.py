"""Folding one sealed block into a state. Pure: the old state stays as it is.

Everything a block is judged with (tilts, thresholds, bets, foretold rates) comes from blocks before it; only
afterwards does the block itself become part of the past. That is what keeps every process a martingale.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from airboss.kernel.errors import Invalid
from airboss.watch.analysis import ceiling, excess, groups, harmless, histogram, interval, mixture, ratio
from airboss.watch.analysis.bins import Counts, Floats
from airboss.watch.analysis.counting import Counted, count
from airboss.watch.analysis.model import Block, Design, Kind, Metric, StepContext
from airboss.watch.analysis.state import (
    SPLIT_RATIOS,
    State,
    Tally,
    Track,
    excess_of,
    margin_bins,
    threshold_of,
)

RECENT: Final = 5_000
"""Past durations that are surely remembered; from twice as many on, half are forgotten. Enough for any p95 or p99."""
TELLING: Final = 100
"""A block of so many durations shows whether the world is another one."""
MOVED: Final = 0.5
STALE_BINS: Final = 3
"""By how many bins (an eighth of a doubling each, so 30 %) the foretold quantile may move before τ is fixed anew."""


def update(state: State, block: Block) -> State:
    """Return the state with one more sealed block.

    Raises Invalid (`block-out-of-order`) for a block that was folded before or lies before the last one; several
    strata of one interval may follow each other.
    """
    if state.step is None:
        raise Invalid("begin a step before folding blocks", code="analysis-no-step")
    same = (block.start_us, block.end_us) == (state.last_start_us, state.last_end_us)
    if (same and block.stratum in state.last_strata) or (not same and block.start_us < state.last_end_us):
        raise Invalid(
            f"block {block.start_us}–{block.end_us} is not after the last one, which ended at {state.last_end_us}",
            code="block-out-of-order",
            way_out="fold each sealed block once, in order",
        )
    looks = state.looks + 1
    counted = count(block, state.design)
    tracks = state.tracks
    split = state.split
    if counted is not None:
        tracks = tuple(
            _fold(metric, track, counted, state.step, looks + state.looks_ahead)
            for metric, track in zip(state.metrics, state.tracks, strict=True)
        )
        if state.design is Design.RAMP:
            seen = counted.canary.seen
            split = split + ratio.log_e(seen, seen + counted.baseline.seen, counted.share, SPLIT_RATIOS, 1.0)
    return replace(
        state,
        tracks=tracks,
        split=split,
        looks=looks,
        last_start_us=block.start_us,
        last_end_us=block.end_us,
        last_strata=(*state.last_strata, block.stratum) if same else (block.stratum,),
    )


def _fold(metric: Metric, track: Track, counted: Counted, step: StepContext, looks: int) -> Track:
    match metric.kind:
        case Kind.RATIO:
            return _fold_ratio(metric, track, counted, step, looks)
        case Kind.LATENCY:
            return _fold_latency(metric, track, counted, step, looks)


def _fold_ratio(metric: Metric, track: Track, counted: Counted, step: StepContext, looks: int) -> Track:
    canary, baseline, tally = counted.canary, counted.baseline, track.tally
    both = canary.bad + baseline.bad
    robust, main, late = track.robust, track.harm_main, track.harm_late
    if robust is None:
        # Decided once, by what the first block brings: switching between two tests later would spend alpha twice.
        robust = counted.pods is not None and metric.harm_ratio == 1.0
        main, late = mixture.begin(len(groups.LAMBDAS) if robust else len(ratio.HARM_RATIOS))
    main, late = mixture.advance(main, late, looks, _harm_log_e(metric, counted, robust=robust, width=len(main)))

    share, allowed = counted.share, excess_of(step)
    past = {"past_bad": tally.past_bad, "past_seen": tally.past_seen}
    safe_excess, safe_ceiling, safe_pods = track.safe_excess, track.safe_ceiling, track.safe_pods
    if allowed > 0.0:
        if robust and counted.pods is not None:
            pods = counted.pods
            bets = harmless.bets_for(**past, excess=allowed)
            safe_pods = safe_pods + harmless.excess_log_e(pods.bad, pods.requests, pods.chosen, allowed, bets)
        safe_excess = safe_excess + excess.log_e(
            canary.step_bad,
            canary.step_seen,
            baseline.step_bad,
            share=share,
            excess=allowed,
            bets=excess.bets_for(**past, share=share, excess=allowed),
        )
    if metric.ceiling is not None:
        safe_ceiling = safe_ceiling + ceiling.log_e(canary.step_bad, canary.step_seen, **past, ceiling=metric.ceiling)
    step_bad = canary.step_bad + baseline.step_bad
    safe_relative = track.safe_relative + ratio.log_e(
        canary.step_bad, step_bad, share, ratio.SAFE_RATIOS, 1.0 + metric.margin
    )
    return replace(
        track,
        robust=robust,
        harm_main=main,
        harm_late=late,
        likelihood=track.likelihood + interval.likelihood_gain(canary.bad, both, share),
        safe_excess=safe_excess,
        safe_ceiling=safe_ceiling,
        safe_pods=safe_pods,
        safe_relative=safe_relative,
        apart=_apart(track, robust=robust, judged=counted.pods is not None),
        tally=_add(tally, counted),
    )


def _harm_log_e(metric: Metric, counted: Counted, *, robust: bool, width: int) -> Floats:
    if not robust:
        bad = counted.canary.bad
        return ratio.log_e(
            bad, bad + counted.baseline.bad, counted.share, ratio.HARM_RATIOS * metric.harm_ratio, metric.harm_ratio
        )
    pods = counted.pods
    return np.zeros(width) if pods is None else groups.log_e(groups.scores(pods.bad, pods.requests), pods.chosen)


def _fold_latency(metric: Metric, track: Track, counted: Counted, step: StepContext, looks: int) -> Track:
    canary, baseline = counted.canary, counted.baseline
    robust, main, late = track.robust, track.harm_main, track.harm_late
    if robust is None:
        # Decided once, by what the first block brings, as for errors.
        robust = counted.pods is not None and counted.pods.hist is not None
        main, late = mixture.begin(len(groups.LATENCY_LOG_WEIGHTS) if robust else histogram.TILT_COUNT)
    harm = _latency_log_e(counted, track.past, robust=robust, width=len(main))
    main, late = mixture.advance(main, late, looks, harm)

    threshold = _threshold(metric, track)
    safe, step_canary, step_baseline = track.safe_relative, track.step_canary, track.step_baseline
    safe_pods = track.safe_pods
    if threshold != track.threshold_bin:
        # What is shown is counted from the moment τ stands; the evidence goes on, for each block is judged by its own τ.
        step_canary, step_baseline = np.zeros_like(step_canary), np.zeros_like(step_baseline)
    if threshold is not None:
        raised = threshold + margin_bins(metric, step)
        beyond = int(canary.step_hist[raised:].sum())
        over = int(baseline.step_hist[threshold:].sum())
        share = counted.step_hist_share
        if 0.0 < share < 1.0:
            foretold = tail_ratio(track.past, threshold, raised)
            alternatives = np.concatenate(([foretold], ratio.TAIL_RATIOS))
            safe = safe + ratio.log_e(beyond, beyond + over, share, alternatives, 1.0)
            if robust:
                safe_pods = safe_pods + _tail_by_pods(counted.pods, threshold, raised, foretold)
            step_canary = step_canary + canary.step_hist
            step_baseline = step_baseline + baseline.step_hist
    return replace(
        track,
        robust=robust,
        harm_main=main,
        harm_late=late,
        safe_relative=safe,
        safe_pods=safe_pods,
        apart=_apart(track, robust=robust, judged=counted.pods is not None and counted.pods.hist is not None),
        threshold_bin=threshold,
        step_canary=step_canary,
        step_baseline=step_baseline,
        past=remembered(track.past, baseline.step_hist),
        tally=_add(track.tally, counted),
    )


def _latency_log_e(counted: Counted, past: Counts, *, robust: bool, width: int) -> Floats:
    canary, baseline, pods = counted.canary.hist, counted.baseline.hist, counted.pods
    if past.sum() < histogram.WARM_UP or not (canary.any() or baseline.any()):
        return np.zeros(width)
    foretold = histogram.foretell(past)
    if robust:
        if pods is None or pods.hist is None:
            return np.zeros(width)
        return groups.latency_log_e(pods.hist, pods.requests, pods.chosen, foretold)
    if not 0.0 < counted.hist_share < 1.0:
        return np.zeros(width)
    return histogram.log_e(canary, baseline, counted.hist_share, foretold)


def _tail_by_pods(pods: groups.Pods | None, threshold: int, raised: int, foretold: float) -> Floats:
    """Return log e of the quantile margin by pods; 0 where the block's pods do not agree or did not tell durations."""
    if pods is None or pods.hist is None:
        return np.zeros(len(harmless.LOG_WEIGHTS))
    beyond = pods.hist[:, threshold:].sum(axis=-1)
    beyond[: pods.chosen] = pods.hist[: pods.chosen, raised:].sum(axis=-1)
    return harmless.tail_log_e(beyond, pods.hist.sum(axis=-1), pods.chosen, harmless.tail_bets_for(foretold))


def _apart(track: Track, *, robust: bool, judged: bool) -> int:
    return track.apart + 1 if robust and not judged else 0


def _threshold(metric: Metric, track: Track) -> int | None:
    """Return τ for the next block: the one in force, unless the past has moved so far that hardly anything lies beyond it,
    or nearly everything does. Then it is fixed anew; it is foretold all the same, so the process stays what it is.
    """
    found, kept = threshold_of(metric, track.past), track.threshold_bin
    if kept is None or found is None:
        return kept if found is None else found
    return kept if abs(found - kept) <= STALE_BINS else found


def remembered(past: Counts, fresh: Counts) -> Counts:
    """Return the past baseline with a block added; of a long past half is forgotten, so that it is that of lately, and all
    of it when the block shows another world (everything twice as fast or slow, say).

    Halved by cumulative counts: every quantile stays where it is, to within one value. Two laws are compared by the
    largest gap between their cumulative shares (Kolmogorov–Smirnov); among 100 values chance alone makes one of 0.14.
    """
    before, now = int(past.sum()), int(fresh.sum())
    if before and now >= TELLING:
        gap = np.abs(np.cumsum(past) / before - np.cumsum(fresh) / now).max()
        if gap > MOVED:
            return np.asarray(fresh.copy())
    both = past + fresh
    if int(both.sum()) < 2 * RECENT:
        return both
    return np.asarray(np.diff(np.cumsum(both) // 2, prepend=0))


def tail_ratio(past: Counts, threshold: int, raised: int) -> float:
    """Return the foretold P(X > raised)/P(X > threshold) of the past baseline, kept in [.02, .9]."""
    beyond = float(past[raised:].sum()) + 0.5
    over = float(past[threshold:].sum()) + 1.0
    return min(max(beyond / over, 0.02), 0.9)


def _add(tally: Tally, counted: Counted) -> Tally:
    canary, baseline = counted.canary, counted.baseline
    return Tally(
        canary_bad=tally.canary_bad + canary.bad,
        baseline_bad=tally.baseline_bad + baseline.bad,
        canary_seen=tally.canary_seen + canary.seen,
        baseline_seen=tally.baseline_seen + baseline.seen,
        step_canary_seen=tally.step_canary_seen + canary.step_seen,
        step_baseline_seen=tally.step_baseline_seen + baseline.step_seen,
        step_canary_bad=tally.step_canary_bad + canary.step_bad,
        step_baseline_bad=tally.step_baseline_bad + baseline.step_bad,
        step_canary_hit=tally.step_canary_hit + canary.bad,
        step_baseline_hit=tally.step_baseline_hit + baseline.bad,
        past_seen=tally.past_seen + baseline.step_seen,
        past_bad=tally.past_bad + baseline.step_bad,
    )
