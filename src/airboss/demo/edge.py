"""The edge of the demo's shop: a real Envoy in front of two clusters for each service.

Writes the three files an Envoy is started with, as an operator would: its bootstrap, its clusters (each saying in its
metadata which artifact it runs) and the route file, whose weights Airboss moves. Everything listens on loopback.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROUTES: Final = "routes.yaml"
_TYPES: Final = "type.googleapis.com/envoy."
_HTTP: Final = _TYPES + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER: Final = _TYPES + "extensions.filters.http.router.v3.Router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One cluster: its name, what it declares to run, and the ports of its endpoints."""

    name: str
    digest: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One route: its name, the path it serves, and its two sides. Everything goes to the old one at first."""

    route: str
    path: str
    old: Side
    new: Side


def find_envoy() -> str | None:
    """Return where an Envoy is: beside our interpreter (the extra `airboss[envoy]`), or on PATH; None where it is not."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else shutil.which("envoy")


def write_files(folder: Path, splits: Sequence[Split], *, port: int, admin_port: int) -> Path:
    """Write what an Envoy on `port` needs into `folder`, and return its bootstrap."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ROUTES).write_text(routes(splits))
    write_clusters(folder, [side for split in splits for side in (split.old, split.new)])
    bootstrap = folder / "envoy.json"
    bootstrap.write_text(json.dumps(_bootstrap(folder, port=port, admin_port=admin_port), indent=2))
    return bootstrap


def write_clusters(folder: Path, sides: Sequence[Side]) -> None:
    """Say which clusters there are. Envoy loads the file when it is renamed into place."""
    beside = folder / ".clusters.json"
    beside.write_text(json.dumps({"resources": [_cluster(side) for side in sides]}, indent=2))
    beside.replace(folder / "clusters.json")


def routes(splits: Sequence[Split]) -> str:
    """Return the route file: what an operator writes once and Airboss moves from then on."""
    head = f"""# Airboss moves the weights below and keeps its mark in each route's metadata; the rest is yours.
version_info: "1"
resources:
  - "@type": {_TYPES}config.route.v3.RouteConfiguration
    name: edge
    virtual_hosts:
      - name: shop
        domains: ["*"]
        routes:
"""
    return head + "".join(
        f"""          - name: {split.route}
            match: {{path: {split.path}}}
            route:
              weighted_clusters:
                runtime_key_prefix: airboss.{split.route}
                clusters:
                  - {{name: {split.old.name}, weight: 100000}}
                  - {{name: {split.new.name}, weight: 0}}
"""
        for split in splits
    )


def _bootstrap(folder: Path, *, port: int, admin_port: int) -> dict[str, Any]:
    return {
        "node": {"id": "edge", "cluster": "edge"},
        "admin": {"address": _address(admin_port)},
        "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
        "dynamic_resources": {"cds_config": _watched(folder / "clusters.json")},
        "static_resources": {
            "listeners": [
                _listener(
                    "edge", port, {"rds": {"route_config_name": "edge", "config_source": _watched(folder / ROUTES)}}
                )
            ]
        },
    }


def _listener(name: str, port: int, routing: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": _HTTP,
        "stat_prefix": name,
        # So that answers come as the demo's load reads them.
        "http_protocol_options": {"accept_http_10": False},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        **routing,
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": [network]}]}


def _cluster(side: Side) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in side.ports]
    return {
        "@type": _TYPES + "config.cluster.v3.Cluster",
        "name": side.name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "metadata": {"filter_metadata": {"airboss": {"digest": side.digest}}},
        "load_assignment": {"cluster_name": side.name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _watched(path: Path) -> dict[str, Any]:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
