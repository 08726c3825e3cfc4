"""Follows a change until it has ended, or until it is decided, and says how that went.

On a terminal the page's picture is drawn anew each second; piped, each fact is one line. The change is asked for again when its
event stream says that it moved, each second while there is no stream; an answer that does not come costs one look.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from airboss.faces.cli.client import Api
from airboss.faces.cli.exit_codes import Exit, of_change, of_decision
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.pulse import Pulse
from airboss.faces.cli.screen import console, note, on_terminal, say

LOOK_S: Final = 1.0
PATIENCE_S: Final = 60.0
"""How long the server may be away before following it is given up."""
TOLD: Final = 6

Ended = Callable[[dict[str, Any]], Exit | None]


class Follower:
    """Looks at one change, bearing a server that is away for a while."""

    def __init__(self, api: Api, change_id: str) -> None:
        self._api = api
        self._id = change_id
        self._away_since: float | None = None
        self._shown = 0
        self.view: dict[str, Any] = {}

    def look(self) -> bool:
        """Read the change; return whether there is an answer. Raises Problem: another refusal, or away for too long."""
        try:
            self.view = self._api.get(f"/changes/{self._id}")
        except Problem as fault:
            if fault.exit_code is not Exit.UNAVAILABLE:
                raise
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > PATIENCE_S:
                raise
            return False
        self._away_since = None
        return True

    def news(self) -> list[dict[str, Any]]:
        """Return the facts that were recorded since the last call, oldest first."""
        facts: list[dict[str, Any]] = self._api.listed(f"/changes/{self._id}/facts")["items"]
        fresh = facts[self._shown :]
        self._shown = len(facts)
        return fresh


def watch(
    api: Api, change_id: str, *, timeout_s: float | None, until: Ended = of_change
) -> tuple[Exit, dict[str, Any]]:
    """Follow a change and return its exit code and last view. WAITING when `timeout_s` is over first."""
    follower = Follower(api, change_id)
    follow = _draw if on_terminal() else _tell
    with Pulse(api, change_id) as pulse:
        ended = follow(follower, pulse, until, None if timeout_s is None else time.monotonic() + timeout_s)
    return ended, follower.view


def decided(
    api: Api, change_id: str, *, timeout_s: float, people: bool, quiet: bool = False
) -> tuple[Exit, dict[str, Any]]:
    """Wait until policy, and with `people` whoever it asked, has decided. Return the exit code and the view."""
    follower = Follower(api, change_id)
    deadline = time.monotonic() + timeout_s
    told = ""
    with Pulse(api, change_id) as pulse:
        look = True
        while True:
            if look and follower.look():
                found = of_decision(follower.view)
                if found is not None and (found is not Exit.WAITING or not people):
                    return found, follower.view
                if told != follower.view["sentence"] and not quiet:
                    told = str(follower.view["sentence"])
                    note(told)
            if time.monotonic() >= deadline:
                return Exit.WAITING, follower.view
            look = pulse.wait(LOOK_S / 2)


def _tell(follower: Follower, pulse: Pulse, until: Ended, deadline: float | None) -> Exit:
    """Write each new fact as a line."""
    look = True
    while True:
        if look and follower.look():
            ended = until(follower.view)
            for fact in follower.news():
                say(f"{fact['at']}  {fact['text']}")
            if ended is not None:
                say(str(follower.view["sentence"]))
                return ended
        if deadline is not None and time.monotonic() >= deadline:
            return Exit.WAITING
        look = pulse.wait(LOOK_S)


def _draw(follower: Follower, pulse: Pulse, until: Ended, deadline: float | None) -> Exit:
    """Draw the change anew each second until it has ended; the last picture stays."""
    from rich.live import Live
    from rich.text import Text

    from airboss.faces.cli.draw import whole

    facts: list[Mapping[str, Any]] = []
    with Live(Text("Looking …"), console=console(), refresh_per_second=4, transient=False) as live:
        look = there = True
        while True:
            if look:
                there = follower.look()
                if there:
                    facts = [*facts, *follower.news()][-TOLD:]
            if there:
                live.update(whole(follower.view, facts=facts))
                ended = until(follower.view)
                if ended is not None:
                    return ended
            else:
                live.update(Text("The server does not answer; trying again.", style="yellow"))
            if deadline is not None and time.monotonic() >= deadline:
                return Exit.WAITING
            look = pulse.wait(LOOK_S) or not there


def quietly(api: Api, change_id: str, *, timeout_s: float | None) -> tuple[Exit, dict[str, Any]]:
    """Follow a change to its end without a word, for `--json`."""
    follower = Follower(api, change_id)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with Pulse(api, change_id) as pulse:
        look = True
        while True:
            if look and follower.look():
                ended = of_change(follower.view)
                if ended is not None:
                    return ended, follower.view
            if deadline is not None and time.monotonic() >= deadline:
                return Exit.WAITING, follower.view
            look = pulse.wait(LOOK_S)
