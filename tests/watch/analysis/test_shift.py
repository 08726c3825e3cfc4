"""A service whose durations move after the start (a calm hour, a scaled-out fleet) is judged by what it is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from airboss.watch.analysis import (
    Kind,
    Metric,
    Outcome,
    StepContext,
    decide,
    histogram,
    histogram_of,
    new_step,
    start,
    update,
)
from airboss.watch.analysis.fold import RECENT, remembered

LATENCY = Metric(name="p95", kind=Kind.LATENCY, quantile=0.95, margin=0.2)
SMALL = StepContext(index=0, share_canary=0.01, next_share=0.10, allowance=0.005, is_last_before_full=False)
LATER = StepContext(index=1, share_canary=0.10, next_share=0.50, allowance=0.005, is_last_before_full=False)


def _passes_after(
    people: Callable[..., Any], seed: int, factor: float, *, slower: float = 1.0, most: int = 150
) -> int | None:
    """Run twenty blocks at 1 %, let all durations move by `factor`, and return how many blocks at 10 % it takes to pass."""
    world = people(seed=seed, users=200_000, slower=slower)
    state = new_step(start((LATENCY,), 0.01, 0.05), SMALL)
    for _ in range(20):
        state = update(state, _moved(world.block(0.01), 1.0))
    world.next_step()
    state = new_step(state, LATER)
    for count in range(1, most + 1):
        state = update(state, _moved(world.block(0.10), factor))
        if decide(state).outcome is Outcome.PASS:
            return count
    return None


def _moved(block: Any, factor: float) -> Any:
    """Return a block whose durations are all `factor` times as long: whole bins, eight to a doubling."""
    bins = round(8 * np.log2(factor))

    def arm(counts: Any) -> Any:
        names = ("hist", "first_hist", "subjects_hist")
        return replace(counts, **{name: np.roll(getattr(counts, name), bins) for name in names})

    return replace(block, canary=arm(block.canary), baseline=arm(block.baseline))


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_harmless_change_is_certified_after_everything_moved(people, factor):
    """Four times faster or slower for everybody: the step takes little longer than it would have taken anyway."""
    still = [_passes_after(people, seed, 1.0) for seed in range(4)]
    moved = [_passes_after(people, seed, factor) for seed in range(4)]
    assert None not in still
    assert None not in moved
    assert np.mean([found for found in moved if found]) < 3 * np.mean([found for found in still if found]) + 15


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_a_canary_beyond_its_margin_is_not_certified_by_a_shift(people, factor):
    """With the canary 60 % slower than the baseline (the step allows 40 %), a common move lets almost none through: β is 5 %."""
    passed = [_passes_after(people, seed, factor, slower=1.6, most=40) for seed in range(40)]
    assert sum(found is not None for found in passed) <= 5


def test_a_long_past_is_forgotten_and_its_shape_stays():
    """What is remembered is bounded and of the same shape; another world is learnt anew at once."""
    rng = np.random.default_rng(3)
    past = np.zeros_like(histogram_of([1.0]))
    for _ in range(200):
        past = remembered(past, histogram_of(80_000 * rng.lognormal(0, 0.5, 700)))
    assert RECENT <= past.sum() < 2 * RECENT
    whole = histogram_of(80_000 * np.random.default_rng(4).lognormal(0, 0.5, 200_000))
    share = np.cumsum(past) / past.sum() - np.cumsum(whole) / whole.sum()
    assert float(np.abs(share).max()) < 0.02
    again = remembered(past, histogram_of(20_000 * rng.lognormal(0, 0.5, 700)))
    assert again.sum() == 700, "four times faster is another world"
    few = remembered(past, histogram_of(20_000 * rng.lognormal(0, 0.5, 50)))
    assert few.sum() == past.sum() + 50, "fifty values are no proof of one"


@pytest.mark.parametrize("bins", [1, 2, 3])
@pytest.mark.parametrize("first", [0, 5, 130])
def test_a_service_that_always_takes_equally_long_can_still_be_convicted(bins, first):
    """A law of one or two bins leaves no tilt without a number, and a canary 50 % slower is found under it."""
    past = np.zeros(288, dtype=np.int64)
    past[first : first + bins] = 600 // bins
    foretold = histogram.foretell(past)
    assert np.isfinite(foretold.log_tilts).all()
    slow = np.zeros(288, dtype=np.int64)
    slow[first + bins + 4] = 30
    e = histogram.log_e(slow, past, 0.05, foretold)
    assert np.isfinite(e).all()
    assert e.max() > np.log(100)
