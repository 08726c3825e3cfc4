"""The feature flag as a target: the ramp of our own flag service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from airboss.act.flags import Flags, FlagState, held_by
from airboss.act.targets.model import Baseline, Exposure, Observation, UnitRef
from airboss.kernel.clock import Clock
from airboss.people.access import SYSTEM
from airboss.records.store import Store


class FlagTarget:
    """Moves who gets the new side of a flag. What it observes is what the flag service answers with.

    `over` says of a change whether nothing of it is steered any more. One whose rollback failed and was mitigated by
    hand leaves its ramp standing; the next change of the flag ends that with its own first exposure.
    """

    def __init__(self, store: Store, flags: Flags, *, clock: Clock, over: Callable[[Connection, str], bool]) -> None:
        self._over = over
        self._store = store
        self._flags = flags
        self._clock = clock

    async def prepare(self, unit: UnitRef, *, key: str) -> Baseline:  # noqa: ARG002 - nothing is written
        """Return that nobody has the new side of this change yet, and which definition that is true of.

        Raises Refused, naming it, while another change holds the ramp.
        """
        state = await self._state(unit)
        holder = await asyncio.to_thread(self._holder, unit)
        if holder is not None and not await asyncio.to_thread(self._left, holder):
            raise held_by(state.flag, unit.environment, holder)
        return Baseline(new_percent=0.0, digest=state.digest, detail={"variant": unit.params["old"]})

    async def apply(self, unit: UnitRef, exposure: Exposure, *, key: str) -> None:
        """Bring the new side to a share of people.

        Raises Refused where another change holds the ramp, and for a change that is over: an order that slept until then
        must not arrive, and where nothing had been exposed the way back left no mark that would stop it.
        """

        def act() -> FlagState:
            holder = self._holder(unit)
            return self._flags.set_exposure(
                unit.params["name"],
                unit.change_id,
                exposure.new_percent,
                unit.params["new"],
                unit.params["old"],
                key=key,
                actor=SYSTEM,
                environment=unit.environment,
                attempt=unit.attempt,
                after=holder if holder is not None and self._left(holder) else None,
                unless=lambda connection: self._over(connection, unit.change_id),
            )

        await asyncio.to_thread(act)

    async def observe(self, unit: UnitRef) -> Observation:
        """Say what share of people the ramp gives the new side. Killed, nobody has it, yet the ramp still stands."""
        state = await self._state(unit)
        return Observation(
            exposure=Exposure(new_percent=state.ramp_percent),
            new_digest=state.digest,
            healthy=not state.killed,
            at=self._clock.now(),
            sentence=f"the kill switch of {state.flag} is on: nobody has the new side" if state.killed else "",
        )

    async def finish(self, unit: UnitRef, *, key: str) -> None:
        """Make the new side what everybody gets."""

        def act() -> FlagState:
            return self._flags.finish(
                unit.change_id, flag=unit.params["name"], key=key, actor=SYSTEM, environment=unit.environment
            )

        await asyncio.to_thread(act)

    async def revert(self, unit: UnitRef, baseline: Baseline, *, key: str) -> None:  # noqa: ARG002 - always nobody
        """Give everybody the old side again."""

        def act() -> FlagState:
            return self._flags.revert(
                unit.change_id, flag=unit.params["name"], key=key, actor=SYSTEM, environment=unit.environment
            )

        await asyncio.to_thread(act)

    def _holder(self, unit: UnitRef) -> str | None:
        """Return which other change holds the ramp."""
        with self._store.read() as connection:
            active = self._flags.get(connection, unit.params["name"]).active(unit.environment)
        return None if active is None or active.change_id == unit.change_id else active.change_id

    def _left(self, holder: str) -> bool:
        with self._store.read() as connection:
            return self._over(connection, holder)

    async def _state(self, unit: UnitRef) -> FlagState:
        def read() -> FlagState:
            with self._store.read() as connection:
                return self._flags.observe(
                    connection, unit.params["name"], environment=unit.environment, change_id=unit.change_id
                )

        return await asyncio.to_thread(read)
