"""Envoy as a target: a weighted route moved by runtime keys, with the route file as what lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from airboss.act.targets.envoy.admin import Admin, Secret, Seen, opened
from airboss.act.targets.envoy.connection import EnvoyConnection
from airboss.act.targets.envoy.file import RouteFile, Written
from airboss.act.targets.model import Baseline, Exposure, Observation, UnitRef
from airboss.kernel.clock import Clock
from airboss.kernel.errors import AirbossError, Refused, Stale, Unavailable

WHOLE: Final = 100_000
"""Weights add up to this, so that 0.001 % is one."""
LOOKS: Final = 50
"""How often Envoy is asked whether it has loaded a file: each look takes milliseconds, and so does loading."""
TRIES: Final = 3

Connections = Callable[[str], EnvoyConnection]
"""Looks a Connection up by name. Raises Refused; may read the database."""


class EnvoyTarget:
    """Splits a route between the cluster of the old version and that of the new one.

    Each order goes to both halves: the route file, which a restarted Envoy begins with, and the runtime keys, which move
    traffic within milliseconds. What is observed is what Envoy says its router uses, never what was written.
    """

    def __init__(
        self,
        *,
        connections: Connections,
        folder: Path,
        secret: Secret,
        clock: Clock,
        over: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`folder` is where route files lie; `secret` reads a variable of the environment; `over` says of a change whether
        nothing of it is steered any more. It may read the database.
        """
        self._connections = connections
        self._folder = folder
        self._secret = secret
        self._clock = clock
        self._over = over

    async def prepare(self, unit: UnitRef, *, key: str) -> Baseline:  # noqa: ARG002 - nothing people see is changed
        """Return the split as it is, having made sure that it can be moved and moved back.

        Raises Refused: no such route or cluster, another change moves it, it does not rest at the old side, the new side
        runs something else than what was approved, or one side has no healthy endpoint (there would be no way forth or
        no way back). Raises Unavailable when Envoy or the file does not answer.
        """
        connection = await self._connection(unit)
        old, new = _sides(unit)
        file = self._file(connection, unit)
        written = await asyncio.to_thread(file.read)
        _check_holder(unit, written)
        async with opened(connection, self._secret) as admin:
            seen = await admin.seen(unit.params["route"], (old, new))
            _check_split(unit, seen, written, where=admin.where)
            for name in (old, new):
                _check_room(seen, name, where=admin.where)
            _check_artifact(unit, seen)
            # Clearing keys that say what the file says changes nothing, and shows that Envoy takes such orders.
            if not seen.split.overridden or _is_same(seen.split.weights, written.weights, old, new):
                await admin.clear_weights(seen.split.prefix, (old, new))
        return Baseline(
            new_percent=seen.split.percent(new),
            digest=seen.clusters[old].digest or "",
            detail={"prefix": seen.split.prefix, "generation": written.generation},
        )

    async def apply(self, unit: UnitRef, exposure: Exposure, *, key: str) -> None:  # noqa: ARG002 - the same weights twice are one
        """Bring the new side to a share of requests.

        Raises Refused where another change holds the route, for a change that is over, or where the new side runs something
        else than what was approved or has no healthy endpoint: nothing is sent to it then.
        """

        def hold() -> Written:
            # Asked just before the write: an order that slept until its change was over finds no mark of a way back where
            # there had been nothing to take back, or where another change has moved the route since.
            if self._over(unit.change_id):
                raise _taken_back(unit)
            return _write(unit, file, exposure.new_percent, to="hold")

        connection = await self._connection(unit)
        old, new = _sides(unit)
        file = self._file(connection, unit)
        async with opened(connection, self._secret) as admin:
            seen = await admin.seen(unit.params["route"], (old, new))
            if exposure.new_percent > 0:
                _check_room(seen, new, where=admin.where)
                _check_artifact(unit, seen)
            written = await asyncio.to_thread(hold)
            await admin.set_weights(written.prefix, _split(old, new, exposure.new_percent))

    async def observe(self, unit: UnitRef) -> Observation:
        """Say what share of requests the router sends to the new side, and which artifact that declares to be."""
        connection = await self._connection(unit)
        old, new = _sides(unit)
        async with opened(connection, self._secret) as admin:
            seen = await admin.seen(unit.params["route"], (old, new))
        percent = seen.split.percent(new)
        trouble = _trouble(seen, old, new)
        return Observation(
            exposure=Exposure(new_percent=percent),
            new_digest=seen.clusters[new].digest if new in seen.clusters else None,
            healthy=not trouble,
            at=self._clock.now(),
            sentence=trouble,
        )

    async def finish(self, unit: UnitRef, *, key: str) -> None:  # noqa: ARG002 - the same end twice is one
        """Make the new side what the route file says, and let the file decide again.

        Raises Unavailable while Envoy has not loaded the file: until then the runtime keys keep the share where it is.
        """
        await self._rest(unit, 100.0, to="finish")

    async def revert(self, unit: UnitRef, baseline: Baseline, *, key: str) -> None:  # noqa: ARG002 - the same way back twice is one
        """Give the old side back what it had.

        Asks nobody: neither what runs there nor who holds the route. Both halves are tried even when one fails: with the
        runtime keys alone traffic is back at once, with the file alone a restarted Envoy begins with the old side.
        """
        await self._rest(unit, baseline.new_percent, to="revert", prefix=str(baseline.detail.get("prefix", "")))

    async def _rest(self, unit: UnitRef, percent: float, *, to: Literal["finish", "revert"], prefix: str = "") -> None:
        connection = await self._connection(unit)
        old, new = _sides(unit)
        file = self._file(connection, unit)
        faults: list[AirbossError] = []
        generation = 0
        async with opened(connection, self._secret) as admin:
            try:
                written = await asyncio.to_thread(_write, unit, file, percent, to=to)
                prefix, generation = written.prefix, written.generation
            except AirbossError as fault:
                faults.append(fault)
            if prefix:
                try:
                    await admin.set_weights(prefix, _split(old, new, percent))
                except AirbossError as fault:
                    faults.append(fault)
            if faults:
                raise faults[0]
            if await self._loaded(admin, unit, generation):
                await admin.clear_weights(prefix, (old, new))
            elif to == "finish":
                raise Unavailable(
                    f"{admin.where} has not loaded generation {generation} of {connection.route_file}",
                    code="route-file-not-loaded",
                    way_out="see its log, and that its file watch sees the folder",
                )

    async def _loaded(self, admin: Admin, unit: UnitRef, generation: int) -> bool:
        """Return whether Envoy has loaded the file of a generation."""
        for _ in range(LOOKS):
            try:
                seen = await admin.seen(unit.params["route"], _sides(unit))
            except AirbossError:
                return False
            if seen.split.generation == generation:
                return True
        return False

    async def _connection(self, unit: UnitRef) -> EnvoyConnection:
        return await asyncio.to_thread(self._connections, unit.params["connection"])

    def _file(self, connection: EnvoyConnection, unit: UnitRef) -> RouteFile:
        return RouteFile(self._folder, connection.route_file, unit.params["route"])


def _sides(unit: UnitRef) -> tuple[str, str]:
    return unit.params["old"], unit.params["new"]


def _split(old: str, new: str, percent: float) -> dict[str, int]:
    share = round(percent * WHOLE / 100)
    return {old: WHOLE - share, new: share}


def _write(unit: UnitRef, file: RouteFile, percent: float, *, to: Literal["hold", "finish", "revert"]) -> Written:
    """Let the file say a share, on what it says now, and return what then stands. Blocking.

    `hold`: the change keeps the route, so it is refused where another one does, and where this one was taken back: an
    order that was under way then arrives too late. Otherwise the route rests from here on. Somebody who writes at the
    same moment is let go first, a few times.
    """
    old, new = _sides(unit)
    for left in range(TRIES - 1, -1, -1):
        written = file.read()
        if to == "hold":
            _check_holder(unit, written)
            if written.taken_back == unit.change_id:
                raise _taken_back(unit)
        _check_sides(written.weights, old, new, "the route file")
        weights = dict.fromkeys(written.weights, 0) | _split(old, new, percent)
        after = replace(
            written,
            weights=weights,
            change=unit.change_id if to == "hold" else None,
            taken_back=unit.change_id if to == "revert" else None,
        )
        try:
            generation = file.write(after)
        except Stale:
            if not left:
                raise
            continue
        return replace(after, generation=generation)
    raise AssertionError("the last try returns or raises")


def _taken_back(unit: UnitRef) -> Refused:
    return Refused(
        f"change {unit.change_id} was taken back from route {unit.params['route']}",
        code="route-taken-back",
        way_out="propose another change",
    )


def _check_sides(weights: Mapping[str, int], old: str, new: str, where: str) -> None:
    for name in (old, new):
        if name not in weights:
            raise Refused(
                f"{where} does not split between {old} and {new}: it has {', '.join(weights)}",
                code="cluster-unknown",
                way_out="name the clusters of the route, or add the missing one with weight 0",
            )
    third = sorted(name for name, weight in weights.items() if weight and name not in (old, new))
    if third:
        raise Refused(
            f"{where} also sends requests to {', '.join(third)}",
            code="cluster-third",
            way_out="give it weight 0: a release moves requests between two clusters",
        )


def _check_split(unit: UnitRef, seen: Seen, written: Written, *, where: str) -> None:
    """Refuse a route that does not rest at its old side, or whose file is not the one Envoy has loaded."""
    old, new = _sides(unit)
    _check_sides(seen.split.weights, old, new, where)
    _check_sides(written.weights, old, new, "the route file")
    if (seen.split.prefix, seen.split.generation) != (written.prefix, written.generation):
        raise Refused(
            f"{where} has another route {unit.params['route']} loaded than the route file says",
            code="route-file-not-loaded",
            way_out="see that its rds reads the connection's route_file, and its log for a file it refused",
        )
    if written.change is None and seen.split.percent(new) > 0:
        raise Refused(
            f"{where} already sends {seen.split.percent(new):g} % of {unit.params['route']} to {new}",
            code="route-not-at-rest",
            way_out=f"a release begins with everything on {old}: swap old and new, or set the route back",
        )


def _check_holder(unit: UnitRef, written: Written) -> None:
    if written.change is not None and written.change != unit.change_id:
        raise Refused(
            f"route {unit.params['route']} is being moved by change {written.change}",
            code="route-held",
            way_out="wait for it, or abort it; if it is long gone, remove `change` from the route's airboss metadata",
        )


def _check_room(seen: Seen, name: str, *, where: str) -> None:
    """Refuse to begin, or to send more, where there is nobody to answer."""
    cluster = seen.clusters.get(name)
    if cluster is None:
        raise Refused(
            f"{where} has no cluster {name}", code="cluster-unknown", way_out="add it, or name the one that is meant"
        )
    if not cluster.healthy:
        raise Refused(
            f"cluster {name} of {where} has no healthy endpoint ({cluster.hosts} in all)",
            code="cluster-empty",
            way_out="start it, and let its health checks pass",
        )


def _check_artifact(unit: UnitRef, seen: Seen) -> None:
    cluster = seen.clusters[unit.params["new"]]
    if unit.digest and cluster.digest != unit.digest:
        raise Refused(
            f"cluster {cluster.name} runs {cluster.runs}, and {unit.digest} was approved",
            code="artifact-differs",
            way_out="deploy what was approved; the cluster's metadata says what it runs: airboss: {digest: …}",
        )


def _is_same(one: Mapping[str, int], other: Mapping[str, int], old: str, new: str) -> bool:
    """Return whether two weightings are the same split."""
    return one[old] * other[new] == one[new] * other[old]


def _trouble(seen: Seen, old: str, new: str) -> str:
    """Return what is wrong with a split that is in force, "" where nothing is."""
    others = sum(weight for name, weight in seen.split.weights.items() if name not in (old, new))
    if others:
        return f"route {seen.split.route} also sends requests to a third cluster"
    if not sum(seen.split.weights.values()):
        return f"route {seen.split.route} sends requests nowhere: all weights are 0"
    if seen.split.percent(new) > 0 and (new not in seen.clusters or not seen.clusters[new].healthy):
        return f"cluster {new} gets requests and has no healthy endpoint"
    return ""
