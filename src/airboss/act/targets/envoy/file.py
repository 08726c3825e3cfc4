"""The route file: the durable half of a split. Envoy reads it when it starts, and whenever it is renamed into place.

Only the weights of one route and our own mark beside them are changed; everything else in the file, comments too, stays
as its owner wrote it. Our mark holds a generation: a write happens only on the generation that was read, and only if the
bytes are still those that were read. No lock is taken, because a server that is stopped while it holds one would keep
another from taking a release back.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from airboss.act.targets.envoy.reading import (
    CHANGE,
    GENERATION,
    METADATA,
    TAKEN_BACK,
    generation_of,
    marks_of,
    weights_of,
)
from airboss.kernel.errors import Refused, Stale, Unavailable

MOST_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the file says of a route. `change` is whose ramp it carries, None at rest; `taken_back` whose it carried last,
    if that went back.
    """

    prefix: str
    weights: Mapping[str, int]
    generation: int
    change: str | None
    taken_back: str | None


class RouteFile:
    """One route in one file. Blocking; callers take a thread."""

    def __init__(self, folder: Path, path: str, route: str) -> None:
        self._path = folder / path
        self._is_json = self._path.suffix == ".json"
        self._route = route

    def read(self) -> Written:
        """Return what the file says now. Raises Unavailable (cannot be read) or Refused (not such a file)."""
        return self._written(self._find(self._load(self._bytes())))

    def write(self, wanted: Written) -> int:
        """Put weights and marks in, on the generation that was read, and return the generation that then stands.

        What stands already is not written again. Raises Stale when another generation stands, and what `read` raises.
        """
        data = self._bytes()
        content = self._load(data)
        route = self._find(content)
        before = self._written(route)
        if before.generation != wanted.generation:
            raise Stale(
                f"{self._path} is at generation {before.generation}, not {wanted.generation}: somebody wrote it meanwhile",
                code="route-file-stale",
                way_out="nothing was written; observe, and try again",
            )
        if before == wanted:
            return wanted.generation
        for cluster in route["route"]["weighted_clusters"]["clusters"]:
            cluster["weight"] = wanted.weights.get(cluster["name"], 0)
        mark: dict[str, Any] = {GENERATION: wanted.generation + 1}
        mark |= {
            name: value
            for name, value in ((CHANGE, wanted.change), (TAKEN_BACK, wanted.taken_back))
            if value is not None
        }
        route.setdefault("metadata", {}).setdefault("filter_metadata", {})[METADATA] = mark
        content["version_info"] = f"{self._route}/{wanted.generation + 1}"
        self._replace(content, data)
        return wanted.generation + 1

    def _written(self, route: Mapping[str, Any]) -> Written:
        prefix, weights = weights_of(route, self._route, where=str(self._path))
        marks = marks_of(route)
        return Written(
            prefix=prefix,
            weights=weights,
            generation=generation_of(route),
            change=_text(marks.get(CHANGE)),
            taken_back=_text(marks.get(TAKEN_BACK)),
        )

    def _find(self, content: Any) -> Any:
        found = [route for route in _routes(content) if isinstance(route, Mapping) and route.get("name") == self._route]
        if len(found) != 1:
            raise Refused(
                f"{self._path} has {'no' if not found else len(found)} route {self._route}",
                code="route-unknown",
                way_out="give one route of the file that name",
            )
        return found[0]

    def _load(self, data: bytes) -> Any:
        try:
            return json.loads(data) if self._is_json else _yaml().load(data)
        except (YAMLError, ValueError, RecursionError) as fault:
            raise Refused(
                f"{self._path} is no {'JSON' if self._is_json else 'YAML'} that can be read",
                code="route-file-broken",
                way_out="mend it; Envoy keeps what it loaded last",
            ) from fault

    def _bytes(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as fault:
            raise self._unreadable(fault) from fault
        if len(data) > MOST_BYTES:
            raise Refused(
                f"{self._path} is longer than {MOST_BYTES >> 20} MiB",
                code="route-file-broken",
                way_out="give the route a file of its own",
            )
        return data

    def _replace(self, content: Any, read: bytes) -> None:
        """Put the new content in place in one step, on disk before it is seen, unless the file was changed meanwhile."""
        out = io.BytesIO()
        if self._is_json:
            out.write(json.dumps(content, indent=2).encode())
        else:
            _yaml().dump(content, out)
        # A name of our own: two writers at once must not write into one file. The later rename finds other bytes.
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            with beside.open("wb") as file:
                file.write(out.getvalue())
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(self._path.stat().st_mode & 0o777)
            if self._bytes() != read:
                raise Stale(f"{self._path} was changed meanwhile", code="route-file-stale", way_out="try again")
            beside.replace(self._path)
            _sync(self._path.parent)
        except OSError as fault:
            raise self._unreadable(fault) from fault
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _unreadable(self, fault: OSError) -> Unavailable:
        return Unavailable(
            f"{self._path} cannot be used: {fault.strerror}",
            code="route-file-away",
            way_out="make the file, or let the server read and write its folder",
        )


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


def _routes(content: Any) -> Iterator[Any]:
    """Yield the routes of a discovery response; nothing for what is none."""
    for resource in _items(content, "resources"):
        for host in _items(resource, "virtual_hosts"):
            yield from _items(host, "routes")


def _items(holder: Any, name: str) -> list[Any]:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, list) else []


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 1_000
    return yaml


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
