"""What every page is made of, and several share: plain dictionaries, so that a page can be rendered and looked at without a server.

Read views build these; templates only lay them out. Everything a person reads is a finished sentence here, in the words of
the glossary; a template never decides what a number means. Times are aware datetimes, shares are percents (0 to 100),
numbers that people read are text with their unit ("0.21 %", "34 ms").

Conventions:
- `tone` is one of the four states, the only ones a page shows: `well` (going well), `waiting`, `needs` (needs you) and
  `harmed`. Each has its own icon and colour; the word always stands beside it.
- an `Action` is a form: it works without JavaScript, and only those the reader may take are listed.
- every time is shown relative with the absolute in the title, from `Shell.now`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

Tone: TypeAlias = Literal["well", "waiting", "needs", "harmed"]


class State(TypedDict):
    """Where something stands: `word` is one or two words, `sentence` says what it waits for and what can be done."""

    tone: Tone
    word: str
    sentence: NotRequired[str]


class NavItem(TypedDict):
    """One entry of the top bar. `count` is shown when it is above 0 (things that wait for the reader)."""

    label: str
    href: str
    current: bool
    count: NotRequired[int]


class Shell(TypedDict):
    """What every page has. `user` is the reader's handle, None when signed out; `sign_out` is where that form posts."""

    now: datetime
    user: str | None
    role: NotRequired[str]
    nav: list[NavItem]
    more: NotRequired[list[NavItem]]
    """What the menu at the end of the bar leads to."""
    version: str
    demo: NotRequired[bool]
    """A page of a demo server says so at the top."""
    flash: NotRequired[State]
    """What the last action came to, told once."""


class Field(TypedDict):
    """One line of words an action may be given. `rows` above 1 makes it a text area."""

    name: str
    label: str
    required: bool
    rows: NotRequired[int]
    hint: NotRequired[str]


class Action(TypedDict):
    """Something the reader may do now, as a form.

    `hidden` carries what the command must name (the expected version, the digest that was seen). `confirm` is what happens
    next, in a sentence; with it the first press opens the sentence and the second one does it. `key` is a shortcut (`a`, `r`).
    """

    name: str
    label: str
    href: str
    hidden: dict[str, str]
    look: Literal["primary", "plain", "danger"]
    confirm: NotRequired[str]
    confirm_label: NotRequired[str]
    fields: NotRequired[list[Field]]
    key: NotRequired[str]


class Fault(TypedDict):
    """What is wrong with a form: the field it stands at, and words with the way out."""

    field: str
    words: str


class Empty(TypedDict):
    """What an empty page teaches: the one next step, and the command to copy for it."""

    heading: str
    sentence: str
    command: NotRequired[str]


class ChangeRow(TypedDict):
    """One change in a list. `exposure` is observed, in percent, None while nothing is exposed."""

    id: str
    href: str
    title: str
    state: State
    kind: str
    services: list[str]
    owner: str
    tier: str | None
    exposure: float | None
    moved_at: datetime


class Objective(TypedDict):
    """An objective at stake: `left` is the error budget left in percent (negative when overspent), `burn` the rate now."""

    name: str
    target: str
    left_percent: float | None
    burn: str
    state: State


class Change(TypedDict):
    """What is different from what the reader saw last: one field of the change."""

    field: str
    was: str
    now: str
