"""What every story of the demo is told with: the people, the server, the shop, and a way to follow changes.

Stories are generators: they yield where they wait, so that three of them are told side by side by one loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from airboss.demo.caller import Away, Caller, Refused
from airboss.demo.means import Means
from airboss.demo.people import ENGINEER, People
from airboss.demo.server import Server
from airboss.demo.world import World
from airboss.kernel.clock import SystemClock
from airboss.kernel.ids import SystemChance, TimeOrderedIds

T = TypeVar("T")
Waiting = Generator[None, None, T]
"""A part of a story that waits: `yield from` it, and it returns what came of it."""

STORY_MOST_S: Final = 420.0
"""A slow machine takes longer for the same evidence; that is told, and is no failure."""


class StoryStuck(RuntimeError):
    """A story waits for something that does not come; the message says for what."""


@dataclass(slots=True)
class Followed:
    """A change and what is known of it. Empty until the first look."""

    id: str
    view: dict[str, Any] = field(default_factory=dict)
    facts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def phase(self) -> str:
        """Where it stands; "" before the first look."""
        return str(self.view.get("phase", ""))

    @property
    def outcome(self) -> str | None:
        """How it ended, None before."""
        return self.view.get("outcome")

    @property
    def rollout(self) -> Mapping[str, Any]:
        """Its rollout; empty before there is one."""
        return self.view.get("rollout") or {}

    def look(self, caller: Caller) -> None:
        """Read it anew. Raises Away or Refused."""
        self.view = caller.get(f"/changes/{self.id}")
        self.facts = caller.get(f"/changes/{self.id}/facts")["items"]

    def fact(self, kind: str) -> dict[str, Any] | None:
        """Return the first fact of a kind."""
        return next((fact for fact in self.facts if fact["type"] == kind), None)


@dataclass(slots=True)
class Story:
    """One story: what it shows, the change it follows, and what was found out while it was told."""

    number: int
    name: str
    promise: str
    service: str
    note: str = ""
    change: Followed | None = None
    again: Followed | None = None
    """The same change, proposed once more after it was taken back."""
    found: dict[str, Any] = field(default_factory=dict)
    coverage: list[tuple[int, int]] = field(default_factory=list)
    """(items, of them naming the change), summed since the hour began: at each look while the ramp splits customers."""
    done: bool = False
    settled: bool = False
    """Its verdict is in; what is left is aftermath."""
    stuck: str | None = None


class Scene:
    """The world of one run of the demo."""

    def __init__(self, *, world: World, server: Server, people: People, means: Means) -> None:
        self.world = world
        self.means = means
        self.server = server
        self.people = people
        self.started = time.monotonic()
        self.up = True
        """Whether the server is meant to be up."""
        self._ids = TimeOrderedIds(SystemClock(), SystemChance())
        self._aside = ThreadPoolExecutor(1)

    def close(self) -> None:
        """Let go of the side thread."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    # -- waiting ---------------------------------------------------------------------------------------------------

    def rest(self, seconds: float) -> Waiting[None]:
        """Wait for some seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield

    def until(self, what: str, comes: Callable[[], bool], *, most_s: float = STORY_MOST_S) -> Waiting[None]:
        """Wait until something is true. Raises StoryStuck after `most_s`."""
        deadline = time.monotonic() + most_s
        while not comes():
            if time.monotonic() > deadline:
                raise StoryStuck(f"{what} did not come within {most_s:.0f} s")
            yield

    def asked(self, question: Callable[[], T]) -> Waiting[T]:
        """Ask the server until it answers. Raises Refused."""
        while True:
            try:
                return question()
            except Away:
                yield

    def aside(self, work: Callable[[], T]) -> Waiting[T]:
        """Let something slow be done by the side thread."""
        doing: Future[T] = self._aside.submit(work)
        while not doing.done():
            yield
        return doing.result()

    # -- acts ------------------------------------------------------------------------------------------------------

    def proposed(self, service: str) -> Waiting[Followed]:
        """Let the engineer propose the change of a service, under an ID minted first: proposed again, it is the same."""
        id_ = self._ids.new("chg")
        yield from self.aside(lambda: self.means.deploy(service, id_))
        document = self.means.document(service).replace("kind: Change\n", f"kind: Change\nmetadata: {{id: {id_}}}\n", 1)
        followed = Followed(id=id_)
        engineer = self.people[ENGINEER]
        while True:
            try:
                engineer.propose(document)
            except Away:
                yield
                if (yield from self._is_there(followed)):
                    return followed
            else:
                yield from self.asked(lambda: followed.look(engineer))
                return followed

    def _is_there(self, followed: Followed) -> Waiting[bool]:
        try:
            yield from self.asked(lambda: followed.look(self.people[ENGINEER]))
        except Refused:
            return False
        return True

    def ended(self, followed: Followed) -> Waiting[None]:
        """Wait until a change has ended."""
        yield from self.until(f"the end of {followed.id}", lambda: followed.outcome is not None)
