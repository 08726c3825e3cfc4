"""The three stories, each as it would be told: what people do, what the server does with it, what is checked.

1  A good change goes out without a person: policy clears it, evidence ends each step.
2  A change of medium risk waits for another person; if it harms, it is convicted, taken back and stays blocked.
3  The server is killed in the middle of a ramp and comes back: nothing lost, repeated or skipped, and nobody notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from airboss.demo import arms
from airboss.demo.people import ENGINEER, OWNER
from airboss.demo.scene import Followed, Scene, Story
from airboss.demo.server import READY_S

Told: TypeAlias = Generator[None, None, None]

READ_S: Final = 2.0
"""How long an approver reads before they vote."""
STAND_S: Final = 3.0
"""How long the exposure stands before the server is killed."""
AWAY_S: Final = 3.0
FOLLOW_S: Final = 3.0
"""How long services may take to follow flags again once the server is back."""
DECIDED_S: Final = 30.0
BEFORE: Final = ("", "draft", "in_review")
"""Phases in which policy has not spoken yet."""


def stories(promises: Sequence[str]) -> list[Story]:
    """Return the stories before they are told."""
    told = (("cleared", "search"), ("judged", "pay"), ("outage", "checkout"))
    return [
        Story(number=number, name=name, promise=promise, service=service)
        for number, ((name, service), promise) in enumerate(zip(told, promises, strict=True), start=1)
    ]


def tell(scene: Scene, story: Story, all_: Sequence[Story]) -> Told:
    """Tell one story. Raises StoryStuck where it does not go on, and Refused where the server would not have it."""
    match story.name:
        case "cleared":
            yield from _cleared(scene, story)
        case "judged":
            yield from _judged(scene, story)
        case "outage":
            yield from _outage(scene, story, [one for one in all_ if one is not story])
        case _:
            raise AssertionError(story.name)


def _cleared(scene: Scene, story: Story) -> Told:
    change = story.change = yield from scene.proposed(story.service)
    yield from _approved(scene, story, change)
    yield from scene.ended(change)
    story.settled = True


def _approved(scene: Scene, story: Story, change: Followed) -> Told:
    """Wait until policy has spoken; where it asks for people, let one read and vote."""
    yield from scene.until("the decision", lambda: change.phase not in BEFORE, most_s=DECIDED_S)
    if change.phase != "awaiting_approval":
        return
    story.note = f"{OWNER} reads it"
    yield from scene.rest(READ_S)
    body = {"verdict": "approve", "comment": "small steps, and a way back", "seen": change.view["digest"]}
    yield from scene.asked(lambda: scene.people[OWNER].post(f"/changes/{change.id}/votes", body))
    story.found |= {"proposed_by": ENGINEER, "approved_by": OWNER, "approved_at": time.time()}
    story.note = ""


# -- 2 -------------------------------------------------------------------------------------------------------------


def _judged(scene: Scene, story: Story) -> Told:
    change = story.change = yield from scene.proposed(story.service)
    yield from _approved(scene, story, change)
    yield from scene.ended(change)
    story.settled = True
    if change.outcome != "rolled back":
        return
    story.note = "proposed again unchanged, to see whether it would be let through"
    again = story.again = yield from scene.proposed(story.service)
    yield from scene.until("the answer to the second proposal", lambda: _answered(again), most_s=DECIDED_S)
    story.note = ""


def _answered(again: Followed) -> bool:
    """Return whether policy has spoken about a change: it is held with a reason, or it went on."""
    decided = again.view.get("decision") is not None
    return decided and (again.phase != "in_review" or again.view["sentence"].startswith("Refused"))


# -- 3 -------------------------------------------------------------------------------------------------------------


def _outage(scene: Scene, story: Story, others: Sequence[Story]) -> Told:
    change = story.change = yield from scene.proposed(story.service)
    yield from _approved(scene, story, change)
    url = scene.world.urls[story.service]
    yield from scene.until(
        "the middle of the ramp", lambda: change.outcome is not None or _in_the_middle(change, others)
    )
    if change.outcome is not None:
        story.settled = True
        return
    before = yield from scene.aside(lambda: arms.ask(url))
    step, percent = change.rollout["step"], _observed(change)
    scene.up = False
    scene.server.kill()
    killed = time.time()
    story.note = f"SIGKILL: control, ingest and policy worker are dead, at {percent:g} %"
    yield from scene.rest(AWAY_S)
    away = yield from scene.aside(lambda: arms.ask(url))
    scene.server.start()
    yield from scene.until("the server", scene.server.ready, most_s=READY_S)
    back = time.time()
    scene.up = True
    story.note = f"the server is back after {back - killed:.1f} s"
    yield from scene.asked(lambda: change.look(scene.people[ENGINEER]))
    yield from scene.rest(FOLLOW_S)
    after = yield from scene.aside(lambda: arms.ask(url))
    story.found |= {
        "killed_at": killed,
        "back_at": back,
        "step": step,
        "percent": percent,
        "arms": _compared(before, away, after, sticky=scene.means.sticky),
    }
    yield from scene.ended(change)
    story.settled = True


def _in_the_middle(change: Followed, others: Sequence[Story]) -> bool:
    """Return whether the ramp stands where killing the server tells most: at 10 % once the others' verdicts are in, else
    at 50 %.
    """
    rollout = change.rollout
    if change.phase != "rolling_out" or rollout.get("reached_at") is None or rollout["step"] < 2:
        return False
    stood_s = time.time() - datetime.fromisoformat(rollout["reached_at"]).timestamp()
    ready = rollout["step"] >= 3 or any(one.name == "judged" and one.settled for one in others)
    return stood_s >= STAND_S and ready


def _observed(change: Followed) -> float:
    return float(change.rollout["units"][0]["observed_pct"] or 0.0)


def _compared(before: dict[str, str], away: dict[str, str], after: dict[str, str], *, sticky: bool) -> dict[str, Any]:
    """Return whether customers kept their side while the server was away, and none went back when it returned.

    Where a router throws dice for each request, customers have no side to keep: only their answers count.
    """
    changed, back = (arms.moved(before, away)[0], arms.moved(away, after)[1]) if sticky else (0, 0)
    return {
        "customers": len(before),
        "sticky": sticky,
        "on_while_away": sum(variant == "on" for variant in away.values()),
        "on_before": sum(variant == "on" for variant in before.values()),
        "changed_while_away": changed,
        "went_back_after": back,
        "unanswered": sum(not variant for asked in (before, away, after) for variant in asked.values()),
    }


def expected_outcome(story: Story, fault: str) -> str:
    """Return how a correct system must let a story end."""
    return "rolled back" if story.name == "judged" and fault != "none" else "completed"


Teller = Callable[[Scene, Story, Sequence[Story]], Told]
