"""The histogram grid."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from airboss.watch.analysis import BIN_COUNT, bin_of, bins, edge_us, histogram_of, quantile_us


@given(st.floats(1.0, 1e10))
def test_a_duration_lies_in_its_bin(micros):
    """Lower edge ≤ duration < upper edge, up to rounding at an edge."""
    index = int(bin_of(micros))
    assert edge_us(index) <= micros * (1 + 1e-9)
    assert index == BIN_COUNT - 1 or micros < edge_us(index + 1) * (1 + 1e-9)


def test_the_ends_are_clamped():
    """Nothing falls off the grid: zero goes into the first bin, a week into the last."""
    assert bin_of([0.0, 0.3, 1.0, 7 * 86_400e6]).tolist() == [0, 0, 0, BIN_COUNT - 1]


def test_margins_round_down():
    """A margin is never claimed wider than what is tested: 10 % is one bin, 20 % two, 5 % none."""
    assert [bins.bins_of_margin(d) for d in (0.05, 0.0906, 0.10, 0.20, 1.0, 3.0)] == [0, 1, 1, 2, 8, 16]


@given(st.lists(st.floats(10.0, 1e8), min_size=5, max_size=300), st.sampled_from([0.5, 0.9, 0.95]))
def test_quantiles_are_within_a_bin(durations, quantile):
    """A quantile read from the histogram is within one bin of the sample's."""
    exact = float(np.quantile(durations, quantile, method="inverted_cdf"))
    read = quantile_us(histogram_of(durations), quantile)
    assert read is not None
    assert exact / 1.0906 <= read <= exact * 1.0906


def test_an_empty_histogram_has_no_quantile():
    """No data is said, not made up."""
    assert quantile_us(np.zeros(BIN_COUNT, dtype=np.int64), 0.95) is None
