"""The demo's report tells good from bad: what must fail the demo does, in numbers taken from the record."""

from __future__ import annotations

import json
from typing import Any

from airboss.demo import arms
from airboss.demo.means import Ramps
from airboss.demo.report import coverage, detection, lines, recorded, served, steps
from airboss.demo.scene import Followed
from airboss.demo.stories import expected_outcome, stories

CHANGE = "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"
URL = "http://127.0.0.1:1/pay"


def fact(type_: str, second: int, **body: Any) -> dict[str, Any]:
    return {"type": type_, "at": f"2026-11-23T08:00:{second:02d}.000000Z", "body": body}


def expose(step: int, percent: float, second: int) -> list[dict[str, Any]]:
    return [
        fact("step.started", second, step=step, kind="expose", percent=percent, least_s=5, most_s=120),
        fact("exposure.reached", second + 1, step=step, percent=percent),
    ]


HARMED = [
    *expose(1, 1.0, 0),
    fact("step.ended", 10, step=1, after_s=9.0),
    *expose(2, 10.0, 10),
    fact("harm.convicted", 20, step=2, after_s=9.0, gates=[{"gate": "canary:pay-errors", "sentence": "harm"}]),
    fact("rollback.ended", 22, took_s=2.0),
]


def journal(facts: list[dict[str, Any]], moves: list[float]) -> list[dict[str, Any]]:
    ours = [{"subject": CHANGE, "subject_seq": seq, **one} for seq, one in enumerate(facts, start=1)]
    flag = [
        {
            "subject": "flag/pay.button",
            "subject_seq": seq,
            "type": "flag.exposed",
            "body": {"percent": one, "change_id": CHANGE},
        }
        for seq, one in enumerate(moves, start=1)
    ]
    return [{"kind": "fact", "position": at, "fact": one} for at, one in enumerate([*ours, *flag])]


def test_steps_say_what_ended_them():
    """Evidence and harm are told apart, with how long each step took."""
    rows = steps(HARMED)
    assert [(row["percent"], row["ended_by"], row["ended_after_s"]) for row in rows] == [
        (1.0, "evidence", 9.0),
        (10.0, "harm", 9.0),
    ]


def test_detection_counts_from_the_first_exposure():
    """Time to detect runs from the first exposed customer, not from the step that convicted; the way back from the verdict."""
    found = detection(HARMED, {"median_s": 0.6, "max_s": 2.0})
    assert found is not None
    assert (found["time_to_detect_s"], found["time_to_roll_back_s"], found["export_delay_s"]) == (19.0, 2.0, 0.6)
    assert detection(HARMED[:4], None) is None


def test_what_customers_got_is_counted_by_them():
    """Only what the new side served in the time of the exposure counts; the fixed bake ends at the step that convicted."""
    start = 1795420801  # the first exposure.reached above
    seconds = [
        {"second": start + at, "target": URL, "variant": variant, "requests": requests, "bad": bad}
        for at in range(-10, 20)
        for variant, requests, bad in (("on", 10, 1), ("off", 90, 0))
    ]
    found = served(HARMED, [json.dumps(one) for one in seconds], URL, steps(HARMED))
    assert (found["new_side_requests"], found["new_side_bad"], found["new_side_bad_pct"]) == (200, 20, 10.0)
    assert found["fixed_bake"]["steps_pct"] == [1.0, 10.0]
    per_s = 2000 / 23
    assert found["fixed_bake"]["new_side_bad"] == round((0.01 + 0.1) * per_s * 300 * 0.1)


def test_a_whole_record_passes():
    """Gapless numbers, steps in order, the flag moved once to each exposure: nothing to say."""
    assert recorded(Followed(id=CHANGE), journal(HARMED, [1.0, 10.0]), "pay.button")["faults"] == []


def test_a_lost_a_repeated_and_a_skipped_thing_are_told():
    """Whatever a restart could do to the record is found in it."""
    twice = recorded(Followed(id=CHANGE), journal(HARMED, [1.0, 1.0, 10.0]), "pay.button")
    assert "exposure went to [1.0, 1.0, 10.0]" in twice["faults"][0]
    skipped = recorded(
        Followed(id=CHANGE), journal([*expose(1, 1.0, 0), *expose(3, 50.0, 5)], [1.0, 50.0]), "pay.button"
    )
    assert "steps were skipped or repeated: [1, 3]" in skipped["faults"]
    lost = journal(HARMED, [1.0, 10.0])
    del lost[2]
    faults = recorded(Followed(id=CHANGE), lost, "pay.button")["faults"]
    assert "the positions of the journal have gaps" in faults
    assert "the facts of the change have gaps" in faults


def test_customers_who_move_are_counted():
    """Leaving a side and going back to the old one are told apart; a new exposure only brings people over."""
    before = {"a": "on", "b": "off", "c": "off"}
    assert arms.moved(before, before) == (0, 0)
    assert arms.moved(before, {**before, "b": "on"}) == (1, 0)
    assert arms.moved(before, {**before, "a": "off"}) == (1, 1)


def test_coverage_is_that_of_the_time_of_the_split():
    """Spans from before and after the ramp do not count against it."""
    assert coverage([(1000, 100), (2000, 1090)]) == 99.0
    assert coverage([(1000, 100)]) is None


def test_only_the_fault_decides_how_story_two_must_end():
    """A healthy ramp that is taken back fails the demo, and so does a harmful one that is not."""
    told = {story.name: story for story in stories(Ramps.promises)}
    assert {fault: expected_outcome(told["judged"], fault) for fault in ("none", "mild", "severe")} == {
        "none": "completed",
        "mild": "rolled back",
        "severe": "rolled back",
    }
    assert expected_outcome(told["cleared"], "severe") == expected_outcome(told["outage"], "severe") == "completed"


def test_a_failure_is_shown_as_one():
    """What did not come out stands in the report where nobody overlooks it."""
    report = {
        "stories": [
            {
                "story": 1,
                "name": "cleared",
                "promise": "A good change flows without a person",
                "outcome": "rolled back",
                "steps": steps(HARMED),
                "failures": ["the change is rolled back, and must be completed"],
            }
        ],
        "coverage_while_split_pct": {"search": 99.9, "pay": None},
        "journal": {"entries": 10, "bytes": 1000},
        "verification": {"ok": False, "size": 10},
        "traffic": {"requests": 10, "per_s": 1},
        "as_expected": False,
        "failures": ["story 1: …"],
    }
    text = "\n".join(lines(report))
    assert "✕ 1" in text
    assert "FAILED: the change is rolled back, and must be completed" in text
    assert "NOT as it was recorded" in text
