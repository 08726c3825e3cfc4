"""The port of a target and the register of its adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from airboss.act.targets.model import Baseline, Exposure, Observation, UnitRef
from airboss.kernel.errors import Refused


class Target(Protocol):
    """Carries exposure. Every call is safe to repeat with the same key, and the last intent wins.

    A call that cannot reach its other end raises Unavailable; one that may have arrived raises OutcomeUnknown. Both
    are answered by observing again.
    """

    async def prepare(self, unit: UnitRef, *, key: str) -> Baseline:
        """Return what is there now, having made sure that exposure can be moved. Changes nothing people see."""
        ...

    async def apply(self, unit: UnitRef, exposure: Exposure, *, key: str) -> None:
        """Ask for an exposure. Returns when it was accepted, not when it is reached: that is observed."""
        ...

    async def observe(self, unit: UnitRef) -> Observation:
        """Say what is there now."""
        ...

    async def finish(self, unit: UnitRef, *, key: str) -> None:
        """Make 100 % the new normal. Called once the change is completed."""
        ...

    async def revert(self, unit: UnitRef, baseline: Baseline, *, key: str) -> None:
        """Go back to the baseline. Must work in every state, also half way and when repeated."""
        ...


class Targets:
    """The adapters of this server, by kind."""

    def __init__(self, adapters: Mapping[str, Target]) -> None:
        self._adapters = dict(adapters)

    def kinds(self) -> list[str]:
        """Return the kinds this server can move."""
        return sorted(self._adapters)

    def of(self, kind: str) -> Target:
        """Return the adapter of a kind. Raises Refused naming those there are."""
        if kind not in self._adapters:
            raise Refused(
                f"this server has no target of kind {kind}",
                code="target-unknown",
                way_out=f"use one of: {', '.join(self.kinds()) or 'none is installed'}",
            )
        return self._adapters[kind]
