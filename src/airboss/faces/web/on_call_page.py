"""The page for whoever is on call: what moves, what burns, whom to suspect, and one way back for each change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.faces.reads import on_call_view
from airboss.faces.web import acts, gates, weighing
from airboss.faces.web.change_views import Exposure
from airboss.faces.web.frame import Frame
from airboss.faces.web.render import percent
from airboss.faces.web.standing import page_state
from airboss.faces.web.views import Action, Shell, State
from airboss.faces.web.visits import Visit
from airboss.faces.web.words import sentence
from airboss.kernel.clock import parse_rfc3339
from airboss.people.access import Action as Act
from airboss.people.access import require

View = Mapping[str, Any]

HERE: Final = "/on-call"
_BACK: Final = ("rollback", "abort", "retry", "mitigated")


class Card(TypedDict):
    """One change that moves, or may still be taken back. `next` is what happens if nobody does anything."""

    id: str
    href: str
    title: str
    about: list[str]
    state: State
    suspected: str
    exposure: Exposure | None
    next: str
    since: datetime | None
    actions: list[Action]


class Burning(TypedDict):
    """An objective that burns, with the changes that are suspected of it, as (title, address)."""

    where: str
    state: State
    suspects: list[tuple[str, str]]


class OnCallPage(TypedDict):
    """What somebody on call sees first. `calm` is the sentence where nothing moves and nothing burns."""

    shell: Shell
    live: str
    position: int
    state: State
    burning: list[Burning]
    moving: list[Card]
    lately: list[Card]
    more: bool


class OnCall:
    """Handlers of the page of whoever is on call."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def page(self, visit: Visit) -> Response:
        """Show what moves and what burns. Queries as `on_call_view`, and eight for the bar."""
        return self._frame.page(visit, "on_call", self._page(visit))

    def live(self, visit: Visit) -> Response:
        """Show the part of it that moves."""
        return self._frame.page(visit, "on_call_live", self._page(visit, waiting=0))

    def _page(self, visit: Visit, *, waiting: int | None = None) -> OnCallPage:
        house, now = self._frame.house, self._frame.house.clock.now()
        require(visit.actor, Act.CHANGE_READ)
        with house.store.read() as connection:
            found = on_call_view(house, connection, visit.actor, now)
        return on_call_page(found, shell=self._frame.shell(visit, waiting=waiting))


def on_call_page(found: View, *, shell: Shell) -> OnCallPage:
    """Return the page, from its read view."""
    moving = [_card(one, shell=shell) for one in found["moving"]]
    burning: list[Burning] = [
        {
            "where": f"{one['service']} in {one['environment']}, owned by {one['owner']}",
            "state": {
                "tone": "harmed" if one["budget_left"] <= 0 or one["burn"] >= 14.4 else "needs",
                "word": "Spent" if one["budget_left"] <= 0 else "Burns",
                "sentence": sentence(one["sentence"]),
            },
            "suspects": [(change["title"], f"/changes/{change['id']}") for change in one["suspects"]],
        }
        for one in found["burning"]
    ]
    return {
        "shell": shell,
        "live": "/api/v1/events",
        "position": found["position"],
        "state": _glance(found),
        "burning": burning,
        "moving": moving,
        "lately": [_card(one, shell=shell) for one in found["lately"]],
        "more": found["more"],
    }


def _glance(found: View) -> State:
    """Return everything in one sentence."""
    moving, burning = len(found["moving"]), len(found["burning"])
    moves = "Nothing moves" if not moving else "One change moves" if moving == 1 else f"{moving} changes move"
    burns = "nothing burns" if not burning else "one objective burns" if burning == 1 else f"{burning} objectives burn"
    stuck = sum(one["phase"] == "rollback_failed" for one in found["moving"])
    if stuck:
        what = "One change" if stuck == 1 else f"{stuck} changes"
        return {"tone": "harmed", "word": "Stuck", "sentence": f"{what} could not be taken back. {moves}, {burns}."}
    if burning:
        return {"tone": "harmed", "word": "Burning", "sentence": f"{moves}, {burns}."}
    return {"tone": "well", "word": "Moving" if moving else "Quiet", "sentence": f"{moves}, {burns}."}


def _card(view: View, *, shell: Shell) -> Card:
    href = f"/changes/{view['id']}"
    suspected = view["suspected"]
    return {
        "id": view["id"],
        "href": href,
        "title": view["title"],
        "about": [
            ", ".join(view["services"]),
            f"owned by {view['owner']['person'] or view['owner']['team']}",
        ],
        "state": page_state(view, now=shell["now"]),
        "suspected": "" if suspected is None else f"Suspected: {suspected['sentence']}, and this change is out there.",
        "exposure": gates.exposure(view),
        "next": follows(view),
        "since": None if view["started_at"] is None else parse_rfc3339(view["started_at"]),
        "actions": [_here(one, view["id"]) for one in acts.actions(view, href) if one["name"] in _BACK],
    }


def _here(action: Action, change: str) -> Action:
    """Return an action of a change for a page that shows several: its own name, and the way back to here."""
    return {**action, "name": f"{action['name']}-{change}", "hidden": {**action["hidden"], "next": HERE}}


def follows(view: View) -> str:
    """Return what happens next if nobody does anything."""
    phase, rollout = view["phase"], view["rollout"]
    if phase == "rollback_failed":
        return f"Nothing more is tried by itself. {sentence(weighing.way_back(view))}"
    if phase == "rolling_back":
        return (
            "Going back. It counts as back once every unit is observed at its baseline; until then it is tried again. "
            "If a unit does not get there in time, this page says so."
        )
    if phase in ("completed", "reviewing", "closed"):
        return "It is on for everybody. Taking it back now is still possible."
    if phase == "verifying":
        return "It is on for everybody and watched a while longer. Harm takes it back by itself."
    if rollout is None or phase == "validating":
        return "It begins as soon as what was approved is checked again."
    ahead = next(
        (one for one in rollout["steps"][rollout["step"] :] if one["kind"] == "expose" and one["percent"] is not None),
        None,
    )
    goes = "it is watched at 100 % and then done" if ahead is None else f"it goes on to {percent(ahead['percent'])}"
    if rollout["paused"]:
        return f"It stays here until somebody resumes it; then {goes}. Harm still takes it back by itself."
    return f"When every gate of this step passes, {goes}. Harm takes it back by itself."
