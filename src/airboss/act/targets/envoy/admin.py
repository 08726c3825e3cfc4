"""The line to an Envoy's admin interface. Its faults become ours here, and nothing of it is believed unread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from airboss.act.targets.envoy.connection import EnvoyConnection
from airboss.act.targets.envoy.reading import Cluster, Split, read_clusters, read_split
from airboss.kernel.errors import OutcomeUnknown, Refused, Unavailable

if TYPE_CHECKING:
    import httpx

Secret = Callable[[str], str | None]
"""Looks up a variable of the server's environment."""

CONNECT_S: Final = 1.0
ANSWER_S: Final = 2.0
MOST_BYTES: Final = 32 << 20
"""Of one answer; a dump of some thousand clusters is a tenth of it."""
NO_ADMIN_LAYER: Final = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an Envoy says now of a route and of the two clusters it splits between."""

    split: Split
    clusters: Mapping[str, Cluster]


class Admin:
    """One Envoy's admin interface, for the time of one call."""

    def __init__(self, connection: EnvoyConnection, client: httpx.AsyncClient) -> None:
        self._client = client
        self.where = f"Envoy {connection.name} at {connection.admin}"

    async def seen(self, route: str, clusters: tuple[str, str]) -> Seen:
        """Return what is loaded and what the router uses. Raises Unavailable or Refused."""
        dump, runtime, statuses = await asyncio.gather(
            self._get("/config_dump?include_eds"), self._get("/runtime?format=json"), self._get("/clusters?format=json")
        )
        return Seen(
            split=read_split(dump, runtime, route, where=self.where),
            clusters=read_clusters(dump, statuses, clusters, where=self.where),
        )

    async def set_weights(self, prefix: str, weights: Mapping[str, int]) -> None:
        """Let runtime keys decide how a route is split, all of them at once.

        Raises Unavailable when it cannot have arrived, OutcomeUnknown when it may have, Refused when Envoy says no.
        """
        await self._modify({f"{prefix}.{cluster}": str(weight) for cluster, weight in weights.items()})

    async def clear_weights(self, prefix: str, clusters: tuple[str, str]) -> None:
        """Let the loaded route decide again. Raises as `set_weights`."""
        await self._modify({f"{prefix}.{cluster}": "" for cluster in clusters})

    async def _modify(self, values: Mapping[str, str]) -> None:
        httpx = _httpx()
        try:
            answer = await self._client.post("/runtime_modify", params=values)
        except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
            raise self._away(fault) from fault
        except httpx.HTTPError as fault:
            raise OutcomeUnknown(
                f"{self.where} was told and did not say that it heard ({type(fault).__name__})", way_out="observe it"
            ) from fault
        if answer.status_code == NO_ADMIN_LAYER:
            raise Refused(
                f"{self.where} takes no runtime weights",
                code="envoy-no-admin-layer",
                way_out="add an admin layer to its bootstrap: layered_runtime: {layers: [{name: admin, admin_layer: {}}]}",
            )
        if answer.status_code != httpx.codes.OK:
            raise self._unfriendly(answer.status_code)

    async def _get(self, path: str) -> Any:
        httpx = _httpx()
        try:
            async with self._client.stream("GET", path) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise self._unfriendly(answer.status_code)
                data = bytearray()
                async for part in answer.aiter_bytes():
                    data += part
                    if len(data) > MOST_BYTES:
                        raise self._rubbish(f"more than {MOST_BYTES >> 20} MiB")
        except httpx.HTTPError as fault:
            raise self._away(fault) from fault
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as fault:
            raise self._rubbish("no JSON") from fault

    def _away(self, fault: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"{self.where} does not answer ({type(fault).__name__})", code="target-away", way_out="see that it runs"
        )

    def _unfriendly(self, status: int) -> Unavailable:
        return Unavailable(
            f"{self.where} answers with status {status}",
            code="target-rubbish",
            way_out="see that its admin address is an Envoy's, and that the credentials are good",
        )

    def _rubbish(self, what: str) -> Unavailable:
        return Unavailable(
            f"{self.where} answers with {what}",
            code="target-rubbish",
            way_out="see that its admin address is an Envoy's",
        )


def _httpx() -> ModuleType:
    """Return the library, loaded with the first Envoy: it brings a terminal along, and every start would wait for it."""
    import httpx  # noqa: PLC0415

    return httpx


@asynccontextmanager
async def opened(connection: EnvoyConnection, secret: Secret) -> AsyncIterator[Admin]:
    """Yield the line to an Envoy. Raises Refused when its credentials are not in the environment."""
    headers = {}
    if connection.variable is not None:
        token = secret(connection.variable)
        if not token:
            raise Refused(
                f"connection {connection.name} needs {connection.variable} in the server's environment",
                code="credentials-missing",
                way_out="set it and start the server again",
            )
        headers["authorization"] = f"Bearer {token}"
    httpx = await asyncio.to_thread(_httpx)
    timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
    # A proxy of the environment, or a redirect, would lead the orders somewhere else.
    async with httpx.AsyncClient(
        base_url=connection.admin, headers=headers, timeout=timeout, trust_env=False, follow_redirects=False
    ) as client:
        yield Admin(connection, client)
