"""A little of the fuzzer in every run, always with the same seeds: that it still runs, and finds nothing.

How to run it for longer, and where findings go, is said in `fuzz.py`.
"""

from __future__ import annotations

import random

import pytest
from tests.watch.telemetry.fuzz import attempt, new_ingest, seeds

from airboss.watch.telemetry import ProtobufReader


@pytest.mark.parametrize("seed", range(4))
def test_broken_bodies_are_counted_or_refused_and_nothing_else(seed: int) -> None:
    """Cut, spliced and flipped bodies of all signals in both encodings: columns that fit, or a refusal with its place."""
    chance, reader, ingest, bodies = random.Random(seed), ProtobufReader(), new_ingest(), seeds()
    for _ in range(1_500):
        attempt(chance, bodies, reader, ingest)
