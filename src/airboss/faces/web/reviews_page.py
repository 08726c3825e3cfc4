"""Open reviews: what each ended change came to, and the way to close it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NotRequired

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.faces.reads import reviews_view
from airboss.faces.web.frame import Frame
from airboss.faces.web.views import Empty, Shell, State
from airboss.faces.web.visits import Visit
from airboss.faces.web.words import lasting, sentence
from airboss.kernel.clock import parse_rfc3339
from airboss.people.access import Action, may, require

View = Mapping[str, Any]

_OUTCOMES: Final[Mapping[str, State]] = {
    "completed": {"tone": "well", "word": "completed"},
    "rolled back": {"tone": "harmed", "word": "rolled back"},
    "rollback failed": {"tone": "harmed", "word": "rollback failed"},
}


class ReviewRow(TypedDict):
    """One open review: how it ended, by what it was convicted, the figures, and where it is closed."""

    href: str
    title: str
    state: State
    services: list[str]
    sentence: str
    convicted_by: list[str]
    figures: list[str]
    opened_at: datetime
    close: NotRequired[str]


class ReviewsPage(TypedDict):
    """The open reviews, oldest first."""

    shell: Shell
    rows: list[ReviewRow]
    empty: NotRequired[Empty]


class ReviewList:
    """Handler of the open reviews."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def show(self, visit: Visit) -> Response:
        """List the open reviews. Two queries whatever their number, and those of the inbox."""
        house = self._frame.house
        require(visit.actor, Action.CHANGE_READ)
        with house.store.read() as connection:
            found = reviews_view(house, connection, visit.actor)
        page = reviews_page(found, shell=self._frame.shell(visit), closes=may(visit.actor, Action.REVIEW_CLOSE))
        return self._frame.page(visit, "reviews", page)


def reviews_page(found: Sequence[View], *, shell: Shell, closes: bool) -> ReviewsPage:
    """Return the page of open reviews, as reads give them; `closes` says whether the reader may close one."""
    page: ReviewsPage = {"shell": shell, "rows": [_row(one, closes=closes) for one in found]}
    if not found:
        page["empty"] = {
            "heading": "No review is open",
            "sentence": "A change that was taken back, or was not small, is reviewed when it ends: its facts answer five "
            "questions, people correct and close it. Changes that ended are in the list.",
            "command": "airboss change list --phase reviewing",
        }
    return page


def _row(one: View, *, closes: bool) -> ReviewRow:
    href = f"/changes/{one['change']}"
    row: ReviewRow = {
        "href": href,
        "title": one["title"],
        "state": _OUTCOMES.get(str(one["outcome"]), {"tone": "waiting", "word": str(one["outcome"])}),
        "services": one["services"],
        "sentence": sentence(one["sentence"]),
        "convicted_by": [gate.partition(":")[2] or gate for gate in one["convicted_by"]],
        "figures": _figures(one),
        "opened_at": parse_rfc3339(one["opened_at"]),
    }
    if closes:
        row["close"] = f"{href}#review"
    return row


def _figures(one: View) -> list[str]:
    told = [
        f"{words} after {lasting(one[name])}"
        for name, words in (("detection_s", "convicted"), ("rollback_s", "back"))
        if one[name] is not None
    ]
    if one["harm"] is not None:
        how = "measured" if one["harm"]["how"] == "measured" else "estimated"
        told.append(f"about {one['harm']['requests']:,.0f} users harmed, {how}")
    return told
