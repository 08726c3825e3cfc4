"""Rows of a calibration: what was measured, the goal it is held against, and whether it is reached.

`goal` says what is asked of a row, in words; None where nothing is (a counter-example, or a figure for comparison), and
then `reached` is None too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.special import betaincinv

from airboss.kernel.canonical import Json
from airboss.watch.analysis.bins import Counts

Row = dict[str, Json]

SLACK: Final = 1.2
"""A level counts as shown when the upper limit of the measured rate lies below so many times it."""
PLAN_TOLERANCE: Final = 0.15


def clopper_pearson(hits: int, runs: int, confidence: float = 0.99) -> tuple[float, float]:
    """Return exact one-sided lower and upper limits, each at `confidence`, of a probability seen `hits` in `runs` times."""
    low = float(betaincinv(hits, runs - hits + 1, 1.0 - confidence)) if hits else 0.0
    high = float(betaincinv(hits + 1, runs - hits, confidence)) if hits < runs else 1.0
    return low, high


def error_row(name: str, hits: int, runs: int, level: float, *, claimed: bool, strict: bool) -> Row:
    """Return a row of an error rate. Its goal is that nothing shows it to lie above its level or, when `strict`, that the
    upper limit lies below 1.2 times the level.
    """
    low, high = clopper_pearson(hits, runs)
    goal = f"upper limit at most {SLACK * level:g}" if strict else f"lower limit at most {level:g}"
    reached = high <= SLACK * level if strict else low <= level
    return {
        "world": name,
        "runs": runs,
        "errors": hits,
        "rate": hits / runs,
        "low": low,
        "high": high,
        "level": level,
        "claimed": claimed,
        "goal": goal if claimed else None,
        "reached": reached if claimed else None,
    }


def delay_row(
    name: str, found: Counts, canary_per_look: int, bound: float, *, most: float | None = None, healthy: int = 0
) -> Row:
    """Return a row of delays, canary units from the beginning of harm (after `healthy` looks) to the conviction.

    `most`: the goal, as a multiple of the bound. Alarms before the harm are told apart and in no mean.
    """
    early = (found > 0) & (found <= healthy)
    detected = found > healthy
    delay = (found[detected] - healthy) * canary_per_look
    mean = float(delay.mean()) if len(delay) else None
    whole = bool((detected | early).all())
    return {
        "world": name,
        "runs": len(found),
        "detected": float((detected | early).mean()),
        "alarms_before": float(early.mean()),
        "mean_canary_units": mean,
        "median_canary_units": float(np.median(delay)) if len(delay) else None,
        "bound": bound,
        "times_bound": None if mean is None else mean / bound,
        "goal": None if most is None else f"mean at most {most:g} times the bound",
        "reached": None if most is None else whole and mean is not None and mean <= most * bound,
    }


def beside_row(row: Row, plain: Row, most: float) -> Row:
    """Return a delay row with how many times the plain test's mean it needs, which may be `most` times."""
    mine, other = row["mean_canary_units"], plain["mean_canary_units"]
    if not isinstance(mine, float) or not isinstance(other, float):
        return {**row, "times_plain": None, "goal": f"at most {most:g} times the plain test's mean", "reached": False}
    return {
        **row,
        "times_plain": mine / other,
        "goal": f"mean at most {most:g} times the plain test's",
        "reached": mine <= most * other,
    }


def plan_row(name: str, need: int, found: Counts, unit: int) -> Row:
    """Return a row of a planned number of canary units beside the mean measured, `unit` of which came at a look."""
    measured = float(found[found > 0].mean() * unit)
    return {
        "claim": name,
        "planned": need,
        "measured_mean": measured,
        "certified": float((found > 0).mean()),
        "off": need / measured - 1.0,
        "goal": f"within {100 * PLAN_TOLERANCE:.0f} % of the mean measured",
        "reached": abs(need / measured - 1.0) <= PLAN_TOLERANCE and bool((found > 0).all()),
    }
