"""Broken files are refused with a place and a reason; what a long run found stays found."""

from __future__ import annotations

from random import Random

import pytest
from tests.fuzz.mutations import broken
from tests.fuzz.run import ROOT, corpus, reader, wrong

CALENDAR = (ROOT / "examples/calendar.yaml").read_bytes()
PACK = (ROOT / "examples/policy.yaml").read_bytes()


@pytest.mark.parametrize(
    ("data", "old", "new"),
    [
        (CALENDAR, b"FREQ=WEEKLY;BYDAY=MO,TU,WE,TH", b"FREQ=YEARLY;BYDAY=99MO"),
        (PACK, b"layer: organisation ", b"layer: [organisation] "),
        (PACK, b"at: submit", b"at: {submit: 1}"),
        (PACK, b"fired: [", b"fired: [{a: b}, "),
    ],
)
def test_what_fuzzing_found_is_refused_in_place(data, old, new):
    """A weekday beyond the year's end, and a list or mapping where one word is wanted, are mistakes at their line."""
    assert old in data
    with reader() as read:
        assert wrong(read, data.replace(old, new, 1), "f.yaml") is None


def test_what_is_quoted_of_a_file_is_bounded():
    """A version of five thousand letters is refused in a sentence somebody can read: both its ends, and what is left out."""
    with reader() as read:
        assert wrong(read, b"apiVersion: " + b"a" * 5_000 + b"\nkind: Template\n", "f.yaml") is None


def test_broken_files_are_refused_in_place():
    """Two hundred files broken at random are each read, or refused with a place and a reason, within moments."""
    chance, files = Random(11), corpus()
    with reader() as read:
        for _ in range(200):
            data, name = broken(chance, files)
            said = wrong(read, data, name)
            assert said is None or said.startswith("a reason of"), said
