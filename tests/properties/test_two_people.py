"""Two people press at the same moment: one legal outcome comes of it, and nothing is half done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.tower.invariants import check
from tests.tower.world import QUICK, Nature, World, quick_folder, ramp

from airboss.changes import Cancel
from airboss.decide.approvals import CastVote, Verdict
from airboss.kernel.errors import AirbossError

STEPS = """
          - {expose: 1%,  bake: {least: 300s, most: 900s}}
          - {expose: 10%, bake: {least: 300s, most: 900s}}
          - {expose: 100%, bake: {least: 300s, most: 900s}}
"""
Press = Callable[[World, str], object]


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A world on each database."""
    with ExitStack() as stack:
        folder = stack.enter_context(quick_folder())
        url = None if request.param == "sqlite" else str(request.getfixturevalue("postgresql_url"))
        made = World(folder, database=url, nature=Nature(per_s=10))
        stack.callback(made.close)
        yield made


def _vote(verdict: Verdict, by: str) -> Press:
    def press(world: World, change: str) -> object:
        seen = world.change(change).digest or ""
        vote = CastVote(change=change, verdict=verdict, seen=seen, comment="as I see it")
        return world.house.approvals.vote(vote, world.people[by])

    return press


def _order(verb: str, by: str) -> Press:
    return lambda world, change: world.order(change, verb, by)


def _edit(by: str) -> Press:
    return lambda world, change: world.edit(change, ramp(users=45, steps=STEPS, gates=QUICK), by)


def _cancel(by: str) -> Press:
    def press(world: World, change: str) -> object:
        cancel = Cancel(change_id=change, reason="not now", expected_version=world.change(change).version)
        return world.house.changes.cancel(cancel, actor=world.people[by])

    return press


def _look(world: World, change: str) -> object:
    world.look()
    return None


def _at_once(world: World, change: str, *presses: Press) -> list[object]:
    """Press from threads of their own; return what each was told, a refusal being told too."""
    ready = threading.Barrier(len(presses))
    told: list[object] = [None] * len(presses)

    def one(number: int, press: Press) -> None:
        ready.wait()
        try:
            told[number] = press(world, change)
        except AirbossError as refusal:
            told[number] = refusal
        except BaseException as fault:  # noqa: BLE001 - handed to the test
            told[number] = fault

    threads = [threading.Thread(target=one, args=(number, press)) for number, press in enumerate(presses)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in told:
        assert not isinstance(answer, BaseException) or isinstance(answer, AirbossError), answer
    return told


def _waiting(world: World) -> str:
    change = world.propose(ramp(users=40, steps=STEPS, gates=QUICK))
    world.run(2)
    assert world.phase(change) == "awaiting_approval"
    return change


def _rolling(world: World) -> str:
    change = _waiting(world)
    world.approve(change)
    assert world.run(30, until=lambda: world.percent() == 1, step_s=2)
    return change


@pytest.fixture(params=[1, pytest.param(15, marks=pytest.mark.slow)])
def rounds(request: pytest.FixtureRequest) -> int:
    """How often they press: each time is another race."""
    return int(request.param)


@pytest.mark.parametrize(
    ("presses", "ends"),
    [
        ((_vote(Verdict.APPROVE, "dev-b"), _vote(Verdict.REJECT, "dev-b")), {"rolling_out", "rejected"}),
        ((_vote(Verdict.APPROVE, "dev-b"), _order("abort", "dev-a")), {"cancelled"}),
        ((_vote(Verdict.APPROVE, "dev-b"), _edit("dev-a")), {"awaiting_approval"}),
        ((_vote(Verdict.REJECT, "dev-b"), _edit("dev-a")), {"rejected", "awaiting_approval"}),
        ((_vote(Verdict.APPROVE, "dev-b"), _cancel("dev-a")), {"cancelled"}),
        ((_edit("dev-a"), _edit("dev-b")), {"awaiting_approval"}),
        ((_vote(Verdict.APPROVE, "dev-b"), _edit("dev-a"), _look), {"awaiting_approval", "rolling_out"}),
        ((_cancel("dev-a"), _order("abort", "dev-b"), _look), {"cancelled"}),
    ],
    ids=[
        "approve+reject",
        "approve+abort",
        "approve+edit",
        "reject+edit",
        "approve+cancel",
        "edit+edit",
        "look",
        "off",
    ],
)
def test_before_the_start(world: World, presses: tuple[Press, ...], ends: set[str], rounds: int):
    """Whoever is first, the change ends up where one of the two orders leads, with facts that tell how."""
    for _ in range(rounds):
        change = _waiting(world)
        _at_once(world, change, *presses)
        world.run(4)
        assert world.phase(change) in ends
        check(world.house)
        if world.phase(change) in ("rolling_out", "awaiting_approval"):
            world.order(change, "abort")
            world.run(16, step_s=2)


@pytest.mark.parametrize(
    "presses",
    [
        (_order("abort", "dev-a"), _order("promote", "dev-b")),
        (_order("abort", "dev-a"), _order("abort", "dev-b")),
        (_order("abort", "dev-a"), _order("rollback", "dev-b"), _order("pause", "dev-c")),
        (_order("abort", "dev-a"), _look),
        (_order("promote", "dev-b"), _order("abort", "dev-a"), _look),
    ],
    ids=["abort+promote", "abort+abort", "abort+rollback+pause", "abort+look", "promote+abort+look"],
)
def test_while_rolling_out(world: World, presses: tuple[Press, ...], rounds: int):
    """An abort wins over whatever is pressed with it, is one rollback, and leaves nobody with the new side."""
    for _ in range(rounds):
        change = _rolling(world)
        _at_once(world, change, *presses)
        world.look()
        assert world.percent() in (0, 10)  # 10 only where the skip was carried out before the abort came
        world.run(30, step_s=2)
        assert world.change(change).outcome == "rolled back"
        assert world.percent() == 0
        assert world.facts(change).count("rollback.started") == 1
        check(world.house)


def test_two_who_promote_skip_one_step(world: World):
    """Both mean the step they see: it is skipped once."""
    change = _rolling(world)
    _at_once(world, change, _order("promote", "dev-a"), _order("promote", "dev-b"))
    world.look()
    assert world.percent() == 10
    world.run(6, step_s=2)
    assert world.percent() == 10
    assert world.facts(change).count("step.skipped") == 1
    check(world.house)
