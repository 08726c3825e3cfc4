"""A small world of people for the analysis: who comes, in which arm, what happens to them, counted as telemetry counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from airboss.watch.analysis import ArmCounts, Block, histogram_of

SECOND = 1_000_000


@dataclass
class People:
    """`users` sticky people with hashes; `block` lets `requests` of them come and returns the counted block."""

    seed: int
    users: int = 20_000
    base: float = 0.002
    harm: float = 1.0
    slower: float = 1.0
    broken: int = 3
    sigma: float = 0.5
    now: int = 0
    seen: set[int] = field(default_factory=set)
    hit: set[int] = field(default_factory=set)
    step_seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.hashes = self.rng.random(self.users)

    def next_step(self) -> None:
        self.step_seen = set()

    def block(self, share: float, requests: int = 1000) -> Block:
        who = self.rng.integers(0, self.users, requests)
        canary = self.hashes[who] < share
        rate = np.where(who < self.broken, 1.0, self.base * np.where(canary, self.harm, 1.0))
        bad = self.rng.random(requests) < rate
        duration = 80_000.0 * self.rng.lognormal(0.0, self.sigma, requests) * np.where(canary, self.slower, 1.0)
        start = self.now
        self.now += 2 * SECOND
        arms = [self._arm(who[mask], bad[mask], duration[mask]) for mask in (canary, ~canary)]
        return Block(start_us=start, end_us=self.now, share_canary=share, canary=arms[0], baseline=arms[1])

    def _arm(self, who: np.ndarray, bad: np.ndarray, duration: np.ndarray) -> ArmCounts:
        first, first_bad, subjects, subjects_bad = [], 0, [], 0
        for person, is_bad, micros in zip(who.tolist(), bad.tolist(), duration.tolist(), strict=True):
            if person not in self.seen:
                self.seen.add(person)
                first.append(micros)
            if person not in self.step_seen:
                self.step_seen.add(person)
                subjects.append(micros)
                subjects_bad += is_bad
            if is_bad and person not in self.hit:
                self.hit.add(person)
                first_bad += 1
        return ArmCounts(
            requests=len(who),
            bad=int(bad.sum()),
            hist=histogram_of(duration),
            first_seen=len(first),
            first_bad=first_bad,
            first_hist=histogram_of(first),
            subjects=len(subjects),
            subjects_bad=subjects_bad,
            subjects_hist=histogram_of(subjects),
        )


@pytest.fixture
def people() -> Callable[..., People]:
    """Makes a world from a seed."""
    return People


def _blocks(rows: list[tuple[int, int]], share: float, units: int) -> Iterator[Block]:
    for number, (canary, baseline) in enumerate(rows):
        mine = max(round(units * share), canary)
        others = max(units - mine, baseline)
        arm = ArmCounts(
            requests=mine, bad=canary, first_seen=mine, first_bad=canary, subjects=mine, subjects_bad=canary
        )
        rest = ArmCounts(
            requests=others, bad=baseline, first_seen=others, first_bad=baseline, subjects=others, subjects_bad=baseline
        )
        yield Block(
            start_us=number * SECOND, end_us=(number + 1) * SECOND, share_canary=share, canary=arm, baseline=rest
        )


@pytest.fixture
def blocks() -> Callable[[list[tuple[int, int]], float, int], Iterator[Block]]:
    """Makes blocks from rows of (canary bad, baseline bad) at a share, with `units` people in both arms together."""
    return _blocks
