"""Directs the demo: brings the world up, lets the stories be told side by side, measures them, and cleans up."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from airboss.demo import report
from airboss.demo.caller import Away, Refused
from airboss.demo.means import Means, Ramps, Releases, traffic
from airboss.demo.nature import FAULTS, SERVICES
from airboss.demo.people import ADMIN, People, make_people
from airboss.demo.scene import Followed, Scene, Story, StoryStuck
from airboss.demo.server import Server
from airboss.demo.stories import stories, tell
from airboss.demo.world import NotStarted, World

FAULT_WORDS: Final = tuple(FAULTS)
BEAT_S: Final = 0.2
LOOK_S: Final = 1.0
BASELINE_S: Final = 12.0
"""How long the shop's ordinary traffic is watched before anything changes."""
BASELINE_MOST_S: Final = 90.0
STAY_S: Final = 3600.0
MOST_S: Final = 900.0
"""Customers come for no longer than this, whatever happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller of the demo wants. `data` None takes a fresh folder; `port` 0 a free one."""

    seed: int
    port: int
    data: Path | None
    fault: str
    stay: bool
    releases: bool = False
    """Two versions behind a router instead of a flag in one."""


class Board(Protocol):
    """Shows the demo to whoever watches."""

    def say(self, sentence: str) -> None: ...

    def show(self, told: Sequence[Story], *, elapsed_s: float, up: bool) -> None: ...

    def end(self, lines: Sequence[str]) -> None: ...


def direct(wish: Wish, board: Board, keep: Callable[[dict[str, Any]], None]) -> bool:
    """Run the demo, hand its report to `keep`, and return whether every story came out as it must.

    With `wish.stay` it returns only after Ctrl-C, or when the customers' hour is over. Raises NotStarted when its world
    does not come up, Refused or Away when the server will not have what everything else needs.
    """
    data = _folder(wish.data)
    board.say(f"The demo's folder is {data}; its people are not real and its secrets lie in it")
    with World(data / "world") as world, closing(Server(world, data, port=wish.port)) as server:
        began = time.monotonic()
        server.start()
        server.wait()
        board.say(f"The server is up: {server.base_url}")
        people = make_people(server.base_url, data)
        try:
            found = _run(wish, board, world, server, people)
            found["took_s"] = round(time.monotonic() - began, 1)
            keep(found)
            board.end(report.lines(found))
            if wish.stay:
                _stay(board, people, server)
        finally:
            people.close()
    return bool(found["as_expected"])


def _run(wish: Wish, board: Board, world: World, server: Server, people: People) -> dict[str, Any]:
    means: Means = (Releases if wish.releases else Ramps)(world, server, people)
    files = [{"source": name, "text": text} for name, text in means.documents()]
    people[ADMIN].post("/apply", {"files": files, "submit": False, "dry_run": False})
    seconds = STAY_S if wish.stay else MOST_S
    means.open(fault=wish.fault, seed=wish.seed, seconds=seconds + 60)
    coming = traffic(releases=wish.releases)
    load = world.load(replace(coming, seconds=seconds, seed=wish.seed))
    where = ", behind an Envoy," if wish.releases else ""
    board.say(f"Three services{where} and their customers are up: some {3 * coming.rate:,.0f} requests a second")
    _baseline(board, people)
    scene = Scene(world=world, server=server, people=people, means=means)
    told = stories(means.promises)
    try:
        _tell(scene, told, board)
    finally:
        scene.close()
    board.say("Measuring, and verifying the record offline")
    return report.measure(wish.fault, wish.seed, told, scene, load)


def _folder(wanted: Path | None) -> Path:
    """Return an empty folder for the demo. Raises NotStarted for one that is not."""
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="airboss-demo-"))
    if wanted.exists() and any(wanted.iterdir()):
        raise NotStarted(f"{wanted} is not empty: the demo starts in a folder of its own")
    wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    return wanted.resolve()


def _baseline(board: Board, people: People) -> None:
    """Wait until the server has seen ordinary traffic of every service for a while. Raises NotStarted."""
    board.say(f"Watching ordinary traffic for {BASELINE_S:.0f} s")
    began = time.monotonic()
    while True:
        with contextlib.suppress(Away):
            seen = people[ADMIN].get("/services")["items"]
            fresh = [one for one in seen if (one.get("telemetry_age_s") or 1e9) < 10.0]
            if len(fresh) == len(SERVICES) and time.monotonic() - began >= BASELINE_S:
                return
        if time.monotonic() - began > BASELINE_MOST_S:
            raise NotStarted(f"the server has not seen the traffic of every service within {BASELINE_MOST_S:.0f} s")
        time.sleep(BEAT_S)


def _tell(scene: Scene, told: Sequence[Story], board: Board) -> None:
    """Tell all stories, one beat each at a time, until each is done."""
    began = time.monotonic()
    under_way = {story.number: (story, tell(scene, story, told)) for story in told}
    looked = 0.0
    while under_way:
        for story, teller in list(under_way.values()):
            try:
                next(teller)
            except StopIteration:
                pass
            except (StoryStuck, Refused) as fault:
                story.stuck = str(fault)
            else:
                continue
            story.done = True
            del under_way[story.number]
        if time.monotonic() - looked >= LOOK_S:
            looked = time.monotonic()
            if scene.up:
                _look(scene, told)
            board.show(told, elapsed_s=looked - began, up=scene.up)
        time.sleep(BEAT_S)
    with contextlib.suppress(Away, Refused):
        _look(scene, told)
    board.show(told, elapsed_s=time.monotonic() - began, up=scene.up)


def _look(scene: Scene, told: Sequence[Story]) -> None:
    """Read every change that is followed; what does not answer keeps what was last seen."""
    for story in told:
        for followed in (story.change, story.again):
            if followed is not None:
                with contextlib.suppress(Away):
                    followed.look(scene.people[ADMIN])
    if not scene.means.sticky:
        return  # only the new version's processes name the change
    splitting = {story.service: story for story in told if story.change is not None and _splits(story.change)}
    if not splitting:
        return
    with contextlib.suppress(Away):
        for row in scene.people[ADMIN].get("/coverage")["items"]:
            if row["signal"] == "traces" and row["service"] in splitting:
                splitting[row["service"]].coverage.append((row["items"], row["current"]))


def _splits(change: Followed) -> bool:
    """Return whether customers are split now, so that all of their requests should name the change."""
    wanted = change.rollout.get("wanted_pct")
    reached = change.rollout.get("reached_at")
    return change.phase == "rolling_out" and reached is not None and wanted is not None and 0 < wanted < 100


def _stay(board: Board, people: People, server: Server) -> None:
    """Keep everything running until Ctrl-C."""
    board.say(f"Everything keeps running: {server.base_url}/changes")
    for handle, link in people.links().items():
        board.say(f"  {handle:<14} signs in once by {link}")
    board.say(f"Their tokens lie in {people.secrets}. Ctrl-C ends it all")
    with contextlib.suppress(KeyboardInterrupt):
        for _ in _hour():
            server.ready()


def _hour() -> Iterator[None]:
    until = time.monotonic() + STAY_S
    while time.monotonic() < until:
        yield
        time.sleep(1.0)
