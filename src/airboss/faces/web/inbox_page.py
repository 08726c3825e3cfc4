"""The inbox of approvals: one row a change, with why it waits, for whom, since when, and what changed since the last look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NotRequired

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.faces.reads import inbox_view
from airboss.faces.web.frame import Frame
from airboss.faces.web.views import Change, Empty, Shell, State
from airboss.faces.web.visits import Visit
from airboss.faces.web.weighing import changes_told
from airboss.faces.web.words import listed, sentence
from airboss.kernel.clock import parse_rfc3339
from airboss.people.access import Action, require

View = Mapping[str, Any]

FIELDS_MOST: Final = 4


class WaitingRow(TypedDict):
    """One change that waits for a word: of the reader where `decide` leads to the card, else of somebody else."""

    href: str
    title: str
    state: State
    services: list[str]
    requester: str
    why: str
    waits_for: str
    since: datetime
    until: datetime
    looked: NotRequired[str]
    """What to know of the reader's last look, in words."""
    changed: NotRequired[list[Change]]
    decide: NotRequired[str]


class InboxPage(TypedDict):
    """What waits for the reader, and what waits for others."""

    shell: Shell
    mine: list[WaitingRow]
    others: list[WaitingRow]
    empty: NotRequired[Empty]


class Inbox:
    """Handler of the inbox."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def show(self, visit: Visit) -> Response:
        """List what waits for approval. Queries as `inbox_view`."""
        house = self._frame.house
        require(visit.actor, Action.CHANGE_READ)
        with house.store.read() as connection:
            found = inbox_view(house, connection, visit.actor)
        shell = self._frame.shell(visit, waiting=len(found["items"]))
        return self._frame.page(visit, "inbox", inbox_page(found, shell=shell))


def inbox_page(found: View, *, shell: Shell) -> InboxPage:
    """Return the page of an inbox, as reads give it."""
    page: InboxPage = {
        "shell": shell,
        "mine": [_mine(one) for one in found["items"]],
        "others": [_row(one) for one in found["others"]],
    }
    if not found["items"]:
        page["empty"] = {
            "heading": "Nothing waits for you",
            "sentence": "What needs your word appears here, and as a number in the bar. From a terminal the same list is:"
            if not found["others"]
            else "The changes below wait for other people. From a terminal the same list is:",
            "command": "airboss inbox",
        }
    return page


def _row(one: View) -> WaitingRow:
    change, approval = one["change"], one["approval"]
    return {
        "href": f"/changes/{change['id']}",
        "title": change["title"],
        "state": {"tone": "waiting", "word": f"{one['tier'] or 'unknown'} risk"},
        "services": change["services"],
        "requester": change["owner_team"],
        "why": " ".join(sentence(words) for words in one["why"]),
        "waits_for": _waits_for(approval["missing"]),
        "since": parse_rfc3339(approval["opened_at"]),
        "until": parse_rfc3339(approval["expires_at"]),
    }


def _mine(one: View) -> WaitingRow:
    row = _row(one)
    row["state"] = {"tone": "needs", "word": row["state"]["word"]}
    row["decide"] = f"{row['href']}#decide"
    since = one["changed_since"]
    if since is None:
        row["looked"] = "You have not looked at it yet."
    else:
        changed = changes_told(since, most=FIELDS_MOST)
        row["looked"] = "Changed since you last looked:" if changed else "Nothing changed since you last looked."
        row["changed"] = changed
    return row


def _waits_for(missing: list[View]) -> str:
    return listed(
        [f"{one['count']} of {one['group']} ({listed(one['may'], 'or') or 'nobody can sit there'})" for one in missing]
    )
