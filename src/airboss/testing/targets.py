"""Targets that do as they are told: late, away, refusing, forgetful, or moved by somebody else behind our back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airboss.act.targets import Baseline, Exposure, Observation, Target, UnitRef
from airboss.kernel.clock import Clock
from airboss.kernel.errors import OutcomeUnknown, Refused, Unavailable


@dataclass(slots=True)
class Script:
    """How a target behaves from now on; changed by the test while it runs."""

    away: bool = False
    """Nobody answers: every call raises Unavailable, and nothing happens."""
    refuses: str | None = None
    """What it says instead of taking an exposure; going back and looking still work."""
    latency_s: float = 0.0
    """How long after a call was accepted it comes true. What was accepted comes true even if more was ordered since."""
    swallows: int = 0
    """How many of the next calls are accepted and then forgotten."""
    loses_answers: int = 0
    """How many of the next calls happen and then raise OutcomeUnknown."""
    breaks: bool = False
    """Whether calls raise what no adapter may let through."""

    def pass_by(self) -> None:
        """Raise what a call meets on its way there."""
        if self.breaks:
            raise RuntimeError("a bug in an adapter")
        if self.away:
            raise Unavailable("the target is away", way_out="try again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An order a target carried out."""

    at: datetime
    act: str
    unit: str
    percent: float
    key: str


@dataclass(slots=True)
class _Place:
    percent: float = 0.0
    digest: str | None = None
    queue: list[Done] = field(default_factory=list)


class ScriptedTarget:
    """An honest in-memory target: it keeps exposure for each unit, in the order of time, each key once."""

    def __init__(self, clock: Clock, *, digests: Mapping[str, str] | None = None) -> None:
        self.script = Script()
        self.scripts: dict[str, Script] = {}
        """Of single units, by name; the others follow `script`."""
        self.digests: dict[str, str] = dict(digests or {})
        """What runs on the new side of a unit, by its name."""
        self.done: list[Done] = []
        """What came true, in order."""
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._keys: set[str] = set()

    def percent(self, unit: str) -> float:
        """Return where a unit is now."""
        return self._place(unit).percent

    def drift(self, unit: str, percent: float) -> None:
        """Move a unit behind Airboss's back."""
        self._place(unit).percent = percent

    async def prepare(self, unit: UnitRef, *, key: str) -> Baseline:  # noqa: ARG002 - nothing is written
        """Return where the unit is."""
        self._script(unit).pass_by()
        return Baseline(new_percent=self._place(unit.unit).percent, digest="old")

    async def apply(self, unit: UnitRef, exposure: Exposure, *, key: str) -> None:
        """Take an order to expose."""
        script = self._script(unit)
        script.pass_by()
        if script.refuses is not None:
            raise Refused(script.refuses)
        self._order(unit, "apply", exposure.new_percent, key)

    async def observe(self, unit: UnitRef) -> Observation:
        """Say where the unit is."""
        self._script(unit).pass_by()
        place = self._place(unit.unit)
        return Observation(
            exposure=Exposure(new_percent=place.percent),
            new_digest=self.digests.get(unit.unit, place.digest) if place.percent else None,
            healthy=True,
            at=self._clock.now(),
        )

    async def finish(self, unit: UnitRef, *, key: str) -> None:
        """Take the order that the new side is the normal now."""
        self._script(unit).pass_by()
        self._order(unit, "finish", self._place(unit.unit).percent, key)

    async def revert(self, unit: UnitRef, baseline: Baseline, *, key: str) -> None:
        """Take an order to go back."""
        self._script(unit).pass_by()
        self._order(unit, "revert", baseline.new_percent, key)

    def _order(self, unit: UnitRef, act: str, percent: float, key: str) -> None:
        script, place = self._script(unit), self._place(unit.unit)
        if key in self._keys:
            return
        if script.swallows:
            script.swallows -= 1
            return
        self._keys.add(key)
        at = self._clock.now() + timedelta(seconds=script.latency_s)
        place.queue.append(Done(at=at, act=act, unit=unit.unit, percent=percent, key=key))
        place.queue.sort(key=lambda one: one.at)
        self._place(unit.unit)
        if script.loses_answers:
            script.loses_answers -= 1
            raise OutcomeUnknown("the answer was lost", way_out="observe")

    def _place(self, unit: str) -> _Place:
        """Return a unit's place as it is by now."""
        place = self._places.setdefault(unit, _Place(digest=self.digests.get(unit)))
        while place.queue and place.queue[0].at <= self._clock.now():
            came = place.queue.pop(0)
            place.percent = came.percent
            self.done.append(came)
        return place

    def _script(self, unit: UnitRef) -> Script:
        return self.scripts.get(unit.unit, self.script)


class Unsteady:
    """A real target behind a bad line: calls may not arrive, or their answers may not."""

    def __init__(self, inner: Target) -> None:
        self.script = Script()
        self._inner = inner

    async def prepare(self, unit: UnitRef, *, key: str) -> Baseline:
        """Pass the question on."""
        self.script.pass_by()
        return await self._inner.prepare(unit, key=key)

    async def apply(self, unit: UnitRef, exposure: Exposure, *, key: str) -> None:
        """Pass the order on, if the line is up."""
        if self._arrives():
            await self._inner.apply(unit, exposure, key=key)
        self._answer()

    async def observe(self, unit: UnitRef) -> Observation:
        """Pass the question on."""
        self.script.pass_by()
        return await self._inner.observe(unit)

    async def finish(self, unit: UnitRef, *, key: str) -> None:
        """Pass the order on, if the line is up."""
        if self._arrives():
            await self._inner.finish(unit, key=key)
        self._answer()

    async def revert(self, unit: UnitRef, baseline: Baseline, *, key: str) -> None:
        """Pass the order on, if the line is up."""
        if self._arrives():
            await self._inner.revert(unit, baseline, key=key)
        self._answer()

    def _arrives(self) -> bool:
        self.script.pass_by()
        if self.script.swallows:
            self.script.swallows -= 1
            return False
        return True

    def _answer(self) -> None:
        if self.script.loses_answers:
            self.script.loses_answers -= 1
            raise OutcomeUnknown("the answer was lost", way_out="observe")
