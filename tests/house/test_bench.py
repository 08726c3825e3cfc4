"""The benchmarks' own arithmetic, and that what they can measure is there to be measured. No times: those are no tests."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from bench.subjects import SUBJECTS
from bench.table import MARKS, Effort, Row, Sample, between_marks, interleaved, over, printed

ROOT = Path(__file__).parents[2]


def test_every_subject_has_its_module_and_its_rows() -> None:
    """Each subject is a module of its own with `rows`, so that none is skipped for want of a file."""
    for name in SUBJECTS:
        found = find_spec(f"bench.{name}")
        assert found is not None
        assert found.origin is not None
        assert re.search(r"^def rows\(effort: Effort\)", Path(found.origin).read_text(), re.MULTILINE)


def test_ratios_are_taken_round_by_round() -> None:
    """Each round measures everybody once, beginning with another one, and a ratio compares what one round measured."""
    calls: list[str] = []

    def pace(name: str, times: float) -> float:
        busy = (1.0, 10.0, 2.0)[len(calls) // 2]  # how slow the machine is in this round
        calls.append(name)
        return busy * times

    found = interleaved({"ours": lambda: pace("ours", 1.0), "peer": lambda: pace("peer", 3.0)}, 3)
    assert calls == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert found["ours"] == Sample((1.0, 10.0, 2.0))
    assert over(found["peer"], found["ours"]) == Sample((3.0, 3.0, 3.0))


def test_a_sample_tells_its_median_and_middle_half() -> None:
    """A figure is shown as its median with its quartiles, and with its ends where there are too few for quartiles."""
    assert Sample((5.0, 1.0, 3.0)).told(0, "µs") == "3 (1–5) µs"
    assert Sample(tuple(float(n) for n in range(1, 10))).told(0) == "5 (3–7)"
    assert Sample((2.0,)).told(1, "s") == "2.0 s"
    assert (Effort().of(5, quick=1), Effort(quick=True).of(5, quick=1), Effort(full=True).of(5, quick=1, full=9)) == (
        5,
        1,
        9,
    )


def test_the_page_keeps_what_stands_around_its_table() -> None:
    """The table is a Markdown table with its notes beneath, and replaces only what is between the marks."""
    rows = [Row(what="a", ours="1 µs", goal="≤ 2 µs", reached=True, note="why"), Row(what="b", ours="2", reached=False)]
    page = between_marks(f"# Title\n{MARKS[0]}\nold\n{MARKS[1]}\nend\n", printed(rows))
    assert page.startswith("# Title\n")
    assert page.endswith(f"{MARKS[1]}\nend\n")
    assert "old" not in page
    assert "| a    | 1 µs | –    | –     | ≤ 2 µs | yes     |" in page
    assert "- a: why" in page
    with pytest.raises(ValueError, match="marks"):
        between_marks("# Title\n", "text")
    assert all(mark in (ROOT / "docs/benchmarks.md").read_text() for mark in MARKS)
