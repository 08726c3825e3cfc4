"""What tests about changes share: the example catalogue, applied, and an inspector that pins the named flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from airboss.catalog import Catalog, Kinds
from airboss.changes import TEMPLATE, Changes, Inspection, Known, Objective, Spec
from airboss.decide.calendar import WINDOW
from airboss.kernel.errors import Refused
from airboss.people.access import Actor, Role
from airboss.records.journal import Journal
from airboss.records.store import Store

EXAMPLES = Path(__file__).parents[2] / "examples"
RAMP = (EXAMPLES / "change-flag-ramp.yaml").read_bytes()
RELEASE = (EXAMPLES / "change-service-release.yaml").read_bytes()

DEV = Actor(id="usr_dev", name="dev-a", kind="person", role=Role.ENGINEER, scopes=None, service=None, via="test")
ADMIN = Actor(id="usr_admin", name="admin", kind="person", role=Role.ADMIN, scopes=None, service=None, via="test")
VIEWER = Actor(id="usr_view", name="view", kind="person", role=Role.VIEWER, scopes=None, service=None, via="test")

KNOWN = Known(
    services={"checkout": False},
    environments={"staging": 1, "production": 2},
    teams=frozenset({"payments"}),
    seats=frozenset({"payments", "payments-leads", "sre", "service-owners"}),
    runbooks=frozenset({"tax-engine-off"}),
    windows={"business-hours": True, "year-end-freeze": False},
    connections=frozenset({"edge-staging", "edge-production"}),
    slis={"checkout-errors": "ratio", "checkout-latency": "threshold"},
    slis_of={"checkout": ("checkout-errors", "checkout-latency")},
    slos={"checkout-availability": Objective(service="checkout", indicator="checkout-errors", target=0.999)},
)

STAGING = b"""
apiVersion: airboss/v1
kind: Environment
metadata: {name: staging}
spec: {rank: 1, exempt: false}
---
apiVersion: airboss/v1
kind: Connection
metadata: {name: edge-staging}
spec: {envoy: {admin: "http://127.0.0.1:9902"}}
"""


@dataclass
class Pins:
    """An inspector that knows some names and pins each to a digest."""

    kind: str
    field: str
    digests: Mapping[str, str] = field(default_factory=dict)

    def inspect(self, spec: Spec, connection: Connection) -> Inspection:  # noqa: ARG002 - the port's words
        pinned = {}
        for number, stage in enumerate(spec.stages):
            if stage.target.kind != self.kind:
                continue
            name = stage.target.params[self.field]
            if name not in self.digests:
                raise Refused(
                    f"there is no {self.kind} {name}",
                    code="unknown-reference",
                    place=f"spec.rollout.stages[{number}].target.{self.kind}.{self.field}",
                    way_out="apply it first",
                )
            pinned[f"{self.kind}/{name}"] = self.digests[name]
        return Inspection(pinned=pinned)

    def pins(self, spec: Spec, connection: Connection) -> Mapping[str, str]:
        return self.inspect(spec, connection).pinned


class Desk:
    """A store with the examples in force, and the services over it."""

    def __init__(self, store: Store, journal: Journal, clock: Any, ids: Any) -> None:
        self.store, self.journal, self.clock = store, journal, clock
        self.catalog = Catalog(store, journal, held=[WINDOW, TEMPLATE])
        self.flags = Pins("flag", "name", {"tax.engine": "sha256:" + "1" * 64})
        self.woken: list[str] = []
        self.changes = Changes(
            store,
            journal,
            clock=clock,
            ids=ids,
            catalog=self.catalog,
            inspectors={"flag": self.flags, "envoy": Pins("envoy", "route", {"checkout": "sha256:" + "2" * 64})},
            wake=lambda _, change: self.woken.append(change),
        )
        self.kinds = Kinds([*self.catalog.kinds(), self.changes.kind()])

    def furnish(self) -> Desk:
        """Apply the example organisation, services, runbook and calendar."""
        names = ("organisation.yaml", "service.yaml", "runbook-tax-engine-off.md", "calendar.yaml")
        files = [((EXAMPLES / name).read_bytes(), name) for name in names]
        self.kinds.apply_all(self.kinds.parse_all([*files, (STAGING, "staging.yaml")]), actor=ADMIN)
        return self

    def facts(self, subject: str) -> list[Any]:
        with self.store.read() as connection:
            return self.journal.of(connection, subject)
