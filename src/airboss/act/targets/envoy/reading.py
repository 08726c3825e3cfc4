"""What an Envoy says of itself, read from its admin interface. Pure: JSON in, what runs out.

Shares come from what the router uses: the weights of the loaded route, unless its runtime keys say otherwise. Which
artifact a cluster runs is what its own metadata declares (`filter_metadata: {airboss: {digest: …}}`), on the cluster or
on each of its endpoints: Envoy forwards to addresses and cannot know more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from airboss.kernel.errors import Refused, Unavailable

METADATA: Final = "airboss"
DIGEST: Final = "digest"
GENERATION: Final = "generation"
CHANGE: Final = "change"
TAKEN_BACK: Final = "taken_back"
_AWAY: Final = frozenset({"UNHEALTHY", "DRAINING", "TIMEOUT"})
_FAILED: Final = ("failed_active_health_check", "failed_outlier_check", "failed_active_degraded_check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster Envoy has. `digests` are those its endpoints declare; `hosts` and `healthy` count endpoints."""

    name: str
    digests: frozenset[str | None]
    hosts: int
    healthy: int

    @property
    def digest(self) -> str | None:
        """The one artifact all of it runs, None where nothing says so or not all say the same."""
        return next(iter(self.digests)) if len(self.digests) == 1 else None

    @property
    def runs(self) -> str:
        """What it runs, for people."""
        if len(self.digests) > 1:
            return "more than one artifact"
        return self.digest or "an artifact nobody declared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A route as Envoy has loaded it: weights by cluster as the router uses them now."""

    route: str
    prefix: str
    weights: Mapping[str, int]
    generation: int
    """Ours, in the route that is loaded; 0 where we have not written it."""
    overridden: bool
    """Whether runtime keys decide, not the file."""

    def percent(self, cluster: str) -> float:
        """Return the share of the route's traffic that a cluster gets, 0 to 100."""
        total = sum(self.weights.values())
        return 100.0 * self.weights.get(cluster, 0) / total if total else 0.0


def read_split(dump: Any, runtime: Any, route: str, *, where: str) -> Split:
    """Return the split of a route. Raises Unavailable for what no Envoy says, Refused for a route that cannot be moved."""
    found = [one for one in _routes(dump, where) if one.get("name") == route]
    if not found:
        raise Refused(
            f"{where} has no route {route}",
            code="route-unknown",
            way_out="give the route that name in the route file, and let Envoy load it",
        )
    if len(found) > 1:
        raise Refused(f"{where} has {len(found)} routes {route}", code="route-unknown", way_out="name each differently")
    prefix, declared = weights_of(found[0], route, where=where)
    entries = _mapping(_mapping(runtime, where).get("entries", {}), where)
    weights, overridden = dict(declared), False
    for cluster in declared:
        entry = entries.get(f"{prefix}.{cluster}")
        value = _mapping(entry, where).get("final_value") if entry is not None else None
        if isinstance(value, str) and value.isdecimal():
            # Envoy ignores a value that is no number, and so do we.
            weights[cluster], overridden = int(value), True
    return Split(route=route, prefix=prefix, weights=weights, generation=generation_of(found[0]), overridden=overridden)


def weights_of(route: Mapping[str, Any], name: str, *, where: str) -> tuple[str, dict[str, int]]:
    """Return the runtime prefix and the weights that a route declares. Raises Refused where it is not a split."""
    action = route.get("route")
    split = action.get("weighted_clusters") if isinstance(action, Mapping) else None
    prefix = split.get("runtime_key_prefix") if isinstance(split, Mapping) else None
    clusters = split.get("clusters") if isinstance(split, Mapping) else None
    weights: dict[str, int] = {}
    for one in clusters if isinstance(clusters, Sequence) and not isinstance(clusters, str) else ():
        weight = one.get("weight", 0) if isinstance(one, Mapping) else None
        cluster = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(cluster, str) or not isinstance(weight, int) or weight < 0:
            weights = {}
            break
        weights[cluster] = int(weight)
    if not isinstance(prefix, str) or not prefix or not weights:
        raise Refused(
            f"route {name} of {where} is no split that can be moved",
            code="route-not-split",
            way_out="give it weighted_clusters with a runtime_key_prefix, and both clusters with their weights",
        )
    return prefix, weights


def generation_of(route: Mapping[str, Any]) -> int:
    """Return our generation in a route, 0 where there is none."""
    value = marks_of(route).get(GENERATION)
    return int(value) if isinstance(value, int | float) and value >= 0 else 0


def marks_of(route: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what we keep in a route's metadata; empty where there is nothing."""
    value: Any = route
    for step in ("metadata", "filter_metadata", METADATA):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def read_clusters(dump: Any, clusters: Any, names: Sequence[str], *, where: str) -> dict[str, Cluster]:
    """Return those of the named clusters that Envoy has. Raises Unavailable for what no Envoy says."""
    statuses = {
        one.get("name"): _list(one.get("host_statuses", []), where)
        for one in map(_in(where), _list(_mapping(clusters, where).get("cluster_statuses"), where))
    }
    found = {}
    for name in names:
        own = [cluster for cluster in _cluster_configs(dump, where) if cluster.get("name") == name]
        if not own or name not in statuses:
            continue
        hosts = [_mapping(host, where) for host in statuses[name]]
        found[name] = Cluster(
            name=name,
            digests=frozenset(_digests(own[0], _assignments(dump, name, where), where)),
            hosts=len(hosts),
            healthy=sum(_is_healthy(_mapping(host.get("health_status", {}), where)) for host in hosts),
        )
    return found


def _is_healthy(status: Mapping[str, Any]) -> bool:
    return not any(status.get(name) for name in _FAILED) and status.get("eds_health_status") not in _AWAY


def _digests(cluster: Mapping[str, Any], assigned: Sequence[Mapping[str, Any]], where: str) -> Iterator[str | None]:
    """Yield the digest of each endpoint: its own, else the cluster's."""
    common = _digest(cluster)
    static = cluster.get("load_assignment")
    sources = list(assigned) or ([_mapping(static, where)] if static is not None else [])
    endpoints = [
        _mapping(endpoint, where)
        for source in sources
        for locality in _list(source.get("endpoints", []), where)
        for endpoint in _list(_mapping(locality, where).get("lb_endpoints", []), where)
    ]
    if not endpoints:
        yield common
    for endpoint in endpoints:
        yield _digest(endpoint) or common


def _digest(holder: Mapping[str, Any]) -> str | None:
    value = marks_of(holder).get(DIGEST)
    return value if isinstance(value, str) and value else None


def _routes(dump: Any, where: str) -> Iterator[Mapping[str, Any]]:
    """Yield the routes Envoy has loaded from files and from its bootstrap."""
    for section in _sections(dump, where):
        for kind in ("dynamic_route_configs", "static_route_configs"):
            for held in _list(section.get(kind, []), where):
                config = _mapping(_mapping(held, where).get("route_config", {}), where)
                for host in _list(config.get("virtual_hosts", []), where):
                    yield from map(_in(where), _list(_mapping(host, where).get("routes", []), where))


def _cluster_configs(dump: Any, where: str) -> Iterator[Mapping[str, Any]]:
    for section in _sections(dump, where):
        for kind in ("dynamic_active_clusters", "static_clusters"):
            for held in _list(section.get(kind, []), where):
                yield _mapping(_mapping(held, where).get("cluster", {}), where)


def _assignments(dump: Any, name: str, where: str) -> list[Mapping[str, Any]]:
    """Return the endpoints discovered for a cluster, which for EDS are not part of its own configuration."""
    return [
        config
        for section in _sections(dump, where)
        for kind in ("dynamic_endpoint_configs", "static_endpoint_configs")
        for held in _list(section.get(kind, []), where)
        if (config := _mapping(_mapping(held, where).get("endpoint_config", {}), where)).get("cluster_name") == name
    ]


def _sections(dump: Any, where: str) -> Iterator[Mapping[str, Any]]:
    yield from map(_in(where), _list(_mapping(dump, where).get("configs"), where))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else _rubbish(where)


def _list(value: Any, where: str) -> Sequence[Any]:
    return value if isinstance(value, list) else _rubbish(where)


def _in(where: str) -> Any:
    return lambda value: _mapping(value, where)


def _rubbish(where: str) -> NoReturn:
    raise Unavailable(
        f"{where} does not answer as an Envoy does",
        code="target-rubbish",
        way_out="see that its admin address is an Envoy's",
    )
