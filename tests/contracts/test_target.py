"""The contract of a target: one suite, run against the in-memory one, our flags and a real Envoy.

Whoever writes an adapter adds a stage for it to `stages`; nothing else here knows of any kind.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.contracts.edge import DIGEST, OLD_DIGEST, Edge, traffic

from airboss.act.flags import Flags
from airboss.act.targets import EnvoyConnection, EnvoyTarget, Exposure, FlagTarget, Target, UnitRef
from airboss.kernel.clock import SystemClock
from airboss.kernel.errors import Refused
from airboss.people.access import Actor, Role
from airboss.records.store import Store, open_store
from airboss.testing import ManualClock
from airboss.testing.targets import ScriptedTarget

CHANGE = "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"
OTHER = "chg_01kq3z8x5wf6vtd0c1m2n3p4q6"
_numbers = itertools.count()
SHARES = (1.0, 0.001, 5.5, 50.0, 33.333, 100.0, 0.0)


@dataclass
class Stage:
    """A target, the unit it is to move, and how many percent of people meet the new side as they see it themselves."""

    target: Target
    unit: UnitRef
    met: Callable[[], float]
    within: float
    """How far chance may put `met` from the share, in percent."""
    holds: bool = True
    """Whether one change keeps another out."""


def unit(kind: str, digest: str, **params: Any) -> UnitRef:
    return UnitRef(
        change_id=CHANGE,
        unit="checkout@production",
        service="checkout",
        environment="production",
        kind=kind,
        params=params,
        digest=digest,
    )


def envoy_target(edge: Edge, *over: str) -> EnvoyTarget:
    """The target; these changes are over."""
    connection = EnvoyConnection(name="edge", admin=edge.admin, route_file=edge.routes.name)
    return EnvoyTarget(
        connections={"edge": connection}.__getitem__,
        folder=edge.folder,
        secret=lambda _: None,
        clock=SystemClock(),
        over=over.__contains__,
    )


def envoy_unit(**given: str) -> UnitRef:
    params = {"connection": "edge", "route": "checkout", "old": "checkout-blue", "new": "checkout-green", **given}
    return unit("envoy", DIGEST, **params)


@pytest.fixture(params=["in memory", "flag", "envoy"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each target in turn."""
    match request.param:
        case "in memory":
            scripted = ScriptedTarget(ManualClock(), digests={"checkout@production": DIGEST})
            met = lambda: scripted.percent("checkout@production")  # noqa: E731 - two words
            return Stage(scripted, unit("scripted", DIGEST), met, 0.0, holds=False)
        case "flag":
            return _flag_stage(request)
        case _:
            edge: Edge = request.getfixturevalue("edge")
            return Stage(envoy_target(edge), envoy_unit(), lambda: edge.share(3_000), 5.0)


def _flag_stage(request: pytest.FixtureRequest) -> Stage:
    flags, store = request.getfixturevalue("flags"), request.getfixturevalue("flags_store")
    with store.read() as connection:
        digest = flags.get(connection, "tax.engine").definition.digest

    def met() -> float:
        with store.read() as connection:
            evaluate = flags.served(connection).compiled.evaluate
        return sum(bool(evaluate("tax.engine", f"user-{number}", {}).value) for number in range(10_000)) / 100

    target = FlagTarget(store, flags, clock=ManualClock(), over=lambda _connection, _change: False)
    return Stage(target, unit("flag", digest, name="tax.engine", old="off", new="on"), met, 1.5)


@pytest.fixture
def flags_store(tmp_path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'airboss.db'}", clock=ManualClock())
    store.create()
    yield store
    store.close()


@pytest.fixture
def flags(flags_store: Store, ids, chance) -> Flags:
    from airboss.records.journal import Journal

    clock = ManualClock()
    journal = Journal(flags_store, clock=clock, ids=ids, chance=chance)
    journal.open()
    made = Flags(flags_store, journal, clock)
    actor = Actor(id="usr_a", name="a", kind="person", role=Role.ADMIN, scopes=None, service=None, via="session")
    definition = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    spec = {
        "owner": "payments",
        "purpose": "new VAT engine",
        "kind": "release",
        "remove_by": "2027-02-01",
        "services": ["checkout"],
        "bucketing": {"version": "v3", "key": "targetingKey"},
        "definition": definition,
    }
    made.put("tax.engine", spec, actor=actor)
    return made


def run(stage: Stage, *orders: tuple[str, float]) -> None:
    """Prepare and give orders one after the other, each under a key of its own."""

    async def all_of_them() -> None:
        baseline = await stage.target.prepare(stage.unit, key="prepare")
        for act, percent in orders:
            number = next(_numbers)
            if act == "apply":
                await stage.target.apply(stage.unit, Exposure(new_percent=percent), key=f"apply/{number}")
            elif act == "revert":
                await stage.target.revert(stage.unit, baseline, key=f"revert/{number}")
            else:
                await stage.target.finish(stage.unit, key=f"finish/{number}")

    asyncio.run(all_of_them())


def observed(stage: Stage) -> float:
    return asyncio.run(stage.target.observe(stage.unit)).exposure.new_percent


def test_preparing_says_where_it_rests_and_moves_nobody(stage: Stage):
    """The baseline is everybody on the old side; asked twice it is the same, and nobody was moved by asking."""

    async def twice():
        return [await stage.target.prepare(stage.unit, key="prepare") for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first.new_percent == 0
    assert (first.new_percent, first.digest) == (second.new_percent, second.digest)
    assert stage.met() == 0


def test_what_was_asked_for_is_what_is_observed(stage: Stage):
    """Every share that a plan may name is reached exactly, upwards and downwards."""
    for percent in SHARES:
        run(stage, ("apply", percent)) if percent == SHARES[0] else _apply(stage, percent)
        assert observed(stage) == pytest.approx(percent, abs=1e-9)


def test_people_meet_what_is_observed(stage: Stage):
    """What the target says of itself is what people get, as far as chance lets one see."""
    run(stage, ("apply", 25.0))
    assert stage.met() == pytest.approx(25.0, abs=stage.within)


def test_the_new_side_runs_what_was_approved(stage: Stage):
    """Once somebody meets the new side, the target names the artifact that runs there, and it is the approved one."""
    run(stage, ("apply", 10.0))
    seen = asyncio.run(stage.target.observe(stage.unit))
    assert seen.healthy
    assert seen.new_digest == stage.unit.digest


def test_an_order_given_again_is_one_order(stage: Stage):
    """The same key twice leaves the same share, and the way back after it still leads to the baseline."""

    async def again():
        baseline = await stage.target.prepare(stage.unit, key="prepare")
        for _ in range(2):
            await stage.target.apply(stage.unit, Exposure(new_percent=10.0), key="apply/10")
        here = (await stage.target.observe(stage.unit)).exposure.new_percent
        for _ in range(2):
            await stage.target.revert(stage.unit, baseline, key="revert")
        return here, (await stage.target.observe(stage.unit)).exposure.new_percent

    assert asyncio.run(again()) == (pytest.approx(10.0), 0.0)
    assert stage.met() == 0


@pytest.mark.parametrize("percent", [0.0, 1.0, 100.0])
def test_the_way_back_leads_from_anywhere(stage: Stage, percent: float):
    """From no share, a small one and all of it a revert brings everybody back to the old side."""
    run(stage, ("apply", percent), ("revert", 0))
    assert observed(stage) == 0
    assert stage.met() == 0


def test_the_way_back_can_be_taken_before_anything_was_moved(stage: Stage):
    """A change aborted right after it was prepared is taken back without a fault."""
    run(stage, ("revert", 0))
    assert observed(stage) == 0


def test_the_last_order_wins(stage: Stage):
    """However orders were mixed before, the share is that of the last one."""
    chance = random.Random(5)
    orders = [("apply", chance.choice(SHARES)) for _ in range(8)]
    run(stage, *orders)
    assert observed(stage) == pytest.approx(orders[-1][1])


def test_an_order_that_comes_after_the_way_back_moves_nobody(stage: Stage):
    """An exposure that was under way while the change was taken back is refused when it arrives."""
    if not stage.holds:
        pytest.skip("the in-memory target carries out what comes late: the tower must cope with such ones too")
    run(stage, ("apply", 10.0), ("revert", 0))
    with pytest.raises(Refused, match="taken back"):
        _apply(stage, 50.0)
    assert observed(stage) == 0


def test_finishing_makes_the_new_side_everybodys(stage: Stage):
    """After the end everybody meets the new side, also when the end is told twice."""
    run(stage, ("apply", 100.0), ("finish", 0), ("finish", 0))
    assert stage.met() == 100


def test_one_change_keeps_another_out(stage: Stage):
    """While a change moves a unit, another one is refused by name and moves nobody; after the first is back, it may."""
    if not stage.holds:
        pytest.skip("the in-memory target keeps nobody out")
    run(stage, ("apply", 10.0))
    stranger = replace(stage, unit=replace(stage.unit, change_id=OTHER))
    with pytest.raises(Refused, match=CHANGE):
        run(stranger)
    with pytest.raises(Refused, match=CHANGE):
        _apply(stranger, 50.0)
    assert observed(stage) == pytest.approx(10.0)
    asyncio.run(stage.target.revert(stage.unit, asyncio.run(_baseline()), key="revert"))
    run(stranger, ("apply", 5.0))
    assert observed(stranger) == pytest.approx(5.0)


async def _baseline():
    from airboss.act.targets import Baseline

    return Baseline(new_percent=0.0, digest=OLD_DIGEST)


def _apply(stage: Stage, percent: float) -> None:
    asyncio.run(stage.target.apply(stage.unit, Exposure(new_percent=percent), key=f"apply/{next(_numbers)}"))


@pytest.mark.parametrize("percent", [1.0, 5.0, 25.0, 50.0])
def test_envoy_sends_the_share_it_was_told(edge: Edge, percent: float):
    """Of 20,000 requests the new side answers the share within one percent of all, and none fails."""
    target, moved = envoy_target(edge), envoy_unit()
    asyncio.run(target.prepare(moved, key="prepare"))
    asyncio.run(target.apply(moved, Exposure(new_percent=percent), key="apply"))
    assert edge.share(20_000) == pytest.approx(percent, abs=1.0)


def test_envoy_takes_no_order_of_a_change_that_is_over(edge: Edge):
    """An order that slept until its change was over is refused, though nothing in the route file names that change."""
    before = edge.routes.read_bytes(), edge.runtime()
    given = envoy_unit()
    with pytest.raises(Refused, match="was taken back") as refused:
        asyncio.run(envoy_target(edge, given.change_id).apply(given, Exposure(new_percent=10), key="late"))
    assert refused.value.code == "route-taken-back"
    assert (edge.routes.read_bytes(), edge.runtime()) == before


def test_no_request_fails_by_switching(edge: Edge):
    """While the share goes up and down over and over under load, every single request is answered."""
    target, moved = envoy_target(edge), envoy_unit()
    asyncio.run(target.prepare(moved, key="prepare"))
    with traffic(edge.port) as told:
        for number in range(30):
            share = SHARES[number % len(SHARES)]
            asyncio.run(target.apply(moved, Exposure(new_percent=share), key=f"apply-{number}"))
    assert sum(failed for _, _, failed in told) == 0
    assert min(sum(blue for blue, _, _ in told), sum(green for _, green, _ in told)) > 100
