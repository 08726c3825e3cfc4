"""What is drawn: one bar, steps and gates that are told apart without colour."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from airboss.demo.means import Ramps
from airboss.demo.scene import Followed
from airboss.demo.stories import stories
from airboss.faces.cli.draw import bar, whole
from airboss.faces.cli.stage import Lines, board
from airboss.faces.cli.words import ago, percent, seconds, short_id, tone, word
from airboss.kernel.clock import parse_rfc3339

GATE = {"gate": "canary:checkout-errors", "kind": "canary", "numbers": {}, "age_s": 2.0}
STEP = {"kind": "expose", "least_s": 5, "most_s": 120, "ended_after_s": None, "gates": []}


def view(**more: Any) -> dict[str, Any]:
    """A change in the middle of its ramp."""
    steps = [
        {**STEP, "percent": 1.0, "state": "done", "ended_after_s": 41.3},
        {
            **STEP,
            "percent": 10.0,
            "state": "now",
            "gates": [
                {**GATE, "outcome": "inconclusive", "sentence": "1,240 more canary users needed to call it harmless"}
            ],
        },
        {**STEP, "percent": 100.0, "state": "ahead"},
    ]
    rollout = {
        "units": [{"observed_pct": 10.0}],
        "wanted_pct": 10.0,
        "steps": steps,
        "hold": None,
        "paused": False,
        "mode": "progressing",
    }
    return {
        "id": "chg_01kq3z8x5wf6vtd0c1m2n3p4q5",
        "title": "New VAT engine for everybody",
        "phase": "rolling_out",
        "outcome": None,
        "sentence": "Watching at 10 %",
        "approval": None,
        "review": None,
        "rollout": rollout,
        **more,
    }


def drawn(renderable: Any, *, terminal: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=terminal, highlight=False).print(renderable)
    return out.getvalue()


def test_the_bar_shows_what_is_exposed():
    """Observed exposure is filled, the rest is not; a small exposure is still seen, and none is not."""
    assert bar(view(), width=40).plain.count("█") == 4
    one = view()
    one["rollout"]["units"][0]["observed_pct"] = one["rollout"]["wanted_pct"] = 1.0
    assert bar(one, width=40).plain.count("█") == 1
    assert "█" not in bar(view(rollout=None), width=40).plain


def test_what_is_wanted_is_told_apart_from_what_is_there():
    """While the exposure moves, the bar and its words say both."""
    moving = view()
    moving["rollout"]["wanted_pct"] = 50.0
    text = bar(moving, width=40).plain
    assert (text.count("█"), text.count("▒")) == (4, 16)
    assert "10 %, 50 % wanted" in text


def test_a_change_is_understood_without_colour_and_within_80_columns():
    """State, steps and gates are words and marks; nothing needs colour, and nothing is wider than a terminal."""
    text = drawn(whole(view()))
    assert "\x1b" not in text
    assert "● rolling out" in text
    assert "✓ 1 %" in text
    assert "▸ 10 %" in text
    assert "○ undecided canary:checkout-errors" in text
    assert max(map(len, text.splitlines())) <= 80


def test_colour_is_left_out_where_it_is_not_wanted(monkeypatch):
    """NO_COLOR is honoured on a terminal too."""
    assert "\x1b[1;32m" in drawn(whole(view()), terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in drawn(whole(view()), terminal=True)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, ("well", "rolling out")),
        ({"phase": "rolling_back"}, ("harmed", "rolling back")),
        ({"phase": "reviewing", "outcome": "rolled back"}, ("harmed", "rolled back")),
        ({"phase": "closed", "outcome": "completed"}, ("well", "completed")),
        ({"phase": "awaiting_approval", "approval": {"may_vote": True}}, ("needs", "awaiting approval")),
        ({"phase": "awaiting_approval", "approval": {"may_vote": False}}, ("waiting", "awaiting approval")),
        ({"phase": "draft", "rollout": None}, ("waiting", "draft")),
    ],
)
def test_there_are_four_states(more, told):
    """Every phase is going well, waiting, in need of the reader, or harmed; and has its own word."""
    assert (tone(view(**more)), word(view(**more))) == told


def test_numbers_have_units():
    """Spans, shares and ages are short and never bare numbers."""
    assert [seconds(value) for value in (None, 41.3, 600, 10_800, 259_200)] == ["–", "41 s", "10 min", "3 h", "3 d"]
    assert percent(None) == "–"
    assert percent(0.5) == "0.5 %"
    now = parse_rfc3339("2026-11-23T10:00:00Z")
    assert ago("2026-11-23T09:59:00.000000Z", now) == "60 s ago"
    assert short_id("chg_01kq3z8x5wf6vtd0c1m2n3p4q5") == "2n3p4q5"[-7:].rjust(8, "m")


def test_the_board_of_the_demo_fits_a_terminal():
    """Three changes, their bars and their latest facts stand in 24 lines of 80 columns."""
    told = stories(Ramps.promises)
    facts = [{"at": "2026-11-23T08:00:00.000000Z", "text": "Step 2 of 4: to 10 %, for at least 5 s " * 3}] * 5
    for story in told:
        story.change = Followed(id="chg_01kq3z8x5wf6vtd0c1m2n3p4q5", view=view(), facts=facts)
    told[2].note = "SIGKILL: control, ingest and policy worker are dead, at 10 %"
    lines = drawn(board(told, elapsed_s=61, up=False)).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "server dead" in lines[0]


def test_piped_the_demo_tells_each_fact_once(capsys):
    """In a log every fact is one line, told when it is new."""
    told = stories(Ramps.promises)
    fact = {"at": "2026-11-23T08:00:00.000000Z", "text": "Rollout started"}
    told[0].change = Followed(id="chg_1", view=view(), facts=[fact])
    lines = Lines(quiet=False)
    for _ in range(3):
        lines.show(told, elapsed_s=1, up=True)
    assert capsys.readouterr().out == "[1] 08:00:00  Rollout started\n"


def test_what_the_change_cost_the_budget_is_said_beneath_its_steps() -> None:
    """The loss of each objective while the change was out, the canary's part of it, and the alerts that burn."""
    during = {"sentence": "availability lost 3.1% of its budget in 90 s.", "canary": {"bad": 41, "total": 1200}}
    alerts = [
        {"answer": "fail", "severity": "page", "sentence": "availability burns 31x over 1 h."},
        {"answer": "pass", "severity": "ticket", "sentence": "all is well."},
    ]
    silent = {"during": None, "windows": []}
    told = drawn(whole(view(objectives=[{"during": during, "windows": alerts}, silent])))
    assert "availability lost 3.1% of its budget in 90 s. Its canary: 41 of 1,200." in told
    assert "Page: availability burns 31x over 1 h." in told
    assert "all is well" not in told
