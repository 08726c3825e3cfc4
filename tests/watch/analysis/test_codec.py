"""The stored state is the state."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Invalid
from airboss.watch.analysis import (
    BIN_COUNT,
    ArmCounts,
    Block,
    Design,
    Kind,
    Metric,
    StepContext,
    decide,
    from_json,
    new_step,
    start,
    to_json,
    update,
)

METRICS = [
    Metric(name="errors", kind=Kind.RATIO, ceiling=0.01, weight=2.0),
    Metric(name="latency", kind=Kind.LATENCY, critical=False),
]
STEP = StepContext(index=0, share_canary=0.1, next_share=0.5, allowance=0.005, is_last_before_full=False)


@st.composite
def arms(draw):
    seen = draw(st.integers(0, 400))
    bad = draw(st.integers(0, seen))
    hist = np.zeros(BIN_COUNT, dtype=np.int64)
    if seen and draw(st.booleans()):
        at = draw(st.integers(0, BIN_COUNT - 8))
        hist[at : at + 8] = draw(st.lists(st.integers(0, 80), min_size=8, max_size=8))
    return ArmCounts(
        requests=seen,
        bad=bad,
        hist=hist,
        first_seen=seen,
        first_bad=bad,
        first_hist=hist,
        subjects=seen,
        subjects_bad=bad,
        subjects_hist=hist,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(arms(), arms()), max_size=6), st.sampled_from(list(Design)))
def test_a_state_survives_storage_at_every_block(rows, design):
    """Written to canonical bytes and read back after each block, a state goes on exactly as one never stored."""
    state = stored = new_step(start(METRICS, 0.01, 0.02, units=2, design=design), STEP)
    for number, (canary, baseline) in enumerate(rows):
        block = Block(start_us=number, end_us=number + 1, share_canary=0.1, canary=canary, baseline=baseline)
        state = update(state, block)
        stored = update(from_json(json.loads(canonical(to_json(stored)))), block)
    assert canonical(to_json(stored)) == canonical(to_json(state))
    assert decide(stored) == decide(state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value | {"format": 3},
        lambda _: {},
        lambda value: value | {"tracks": []},
        lambda value: value | {"alpha": "much"},
        lambda value: {key: item for key, item in value.items() if key != "split"},
    ],
)
def test_what_cannot_be_read_is_refused(damage):
    """Another format or a damaged state is refused with the way out, never half read."""
    value = to_json(start(METRICS, 0.01, 0.01))
    with pytest.raises(Invalid) as refusal:
        from_json(damage(value))
    assert refusal.value.code == "analysis-state-unreadable"
