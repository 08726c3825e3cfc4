"""The shop's truth is what the demo says it is, so that its verdicts can be checked against it."""

from __future__ import annotations

import statistics

import pytest

from airboss.demo.load import LEGACY_BUILD, quantile
from airboss.demo.nature import FAULTS, REFUSED_BUILD, SERVICES, SHOCK_SLOWER, Nature


class _Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _draws(fault: str, *, new: bool, at: float = 0.0, count: int = 40_000) -> tuple[float, float]:
    """Return (share of bad, p95 in seconds)."""
    hand = _Hand()
    nature = Nature(SERVICES["pay"], FAULTS[fault], seed=5, phase_s=30, monotonic=hand)
    hand.now = at
    drawn = [nature.draw(b"user-%06d" % number, b"4.0", new=new) for number in range(count)]
    return statistics.fmean(bad for _, bad in drawn), quantile(sorted(seconds for seconds, _ in drawn), 0.95)


def test_the_severe_fault_is_the_one_the_demo_announces() -> None:
    """Errors go from 0.2 % to 3 %, and the 95th percentile rises by 30 %, for exposed customers only."""
    old_errors, old_p95 = _draws("severe", new=False)
    new_errors, new_p95 = _draws("severe", new=True)
    assert old_errors == pytest.approx(0.002, abs=0.0008)
    assert new_errors == pytest.approx(0.03, abs=0.003)
    assert new_p95 / old_p95 == pytest.approx(1.3, abs=0.02)


def test_without_a_fault_both_arms_are_alike() -> None:
    """A healthy change must be healthy, or the demo would convict the innocent."""
    assert _draws("none", new=True) == _draws("none", new=False)


def test_the_common_shock_hits_both_arms() -> None:
    """What slows everybody must not be blamed on the change."""
    calm, shocked = (_draws("none", new=False, at=at)[1] for at in (0.0, 32.0))
    assert shocked / calm == pytest.approx(SHOCK_SLOWER)
    assert _draws("none", new=True, at=32.0) == _draws("none", new=False, at=32.0)


def test_some_clients_always_fail() -> None:
    """The old build that the load sends is the one that the shop refuses, in either arm."""
    nature = Nature(SERVICES["pay"], FAULTS["none"], seed=5, phase_s=30, monotonic=_Hand())
    assert LEGACY_BUILD.encode() == REFUSED_BUILD
    assert all(nature.draw(b"user-000001", REFUSED_BUILD, new=new)[1] for new in (True, False) for _ in range(50))
