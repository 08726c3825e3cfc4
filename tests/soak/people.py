"""What people do to one service in a soak: one change after the other, some of them bad, some of them called off."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.soak.edge import RELEASED, VERSIONS, Front
from tests.soak.witness import read_generation

from airboss.demo.caller import Away, Caller, Refused
from airboss.demo.edge import ROUTES
from airboss.demo.nature import SERVICES
from airboss.demo.people import ENGINEER, OWNER

REST_S: Final = 3.0
OVER: Final = frozenset({"reviewing", "closed", "rejected", "cancelled", "expired"})
BUSY: Final = frozenset({"rolling_out", "verifying"})
TEAMS: Final = {"checkout": "payments", "pay": "payments", "search": "discovery"}

DOCUMENT: Final = """
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: Soak {number} of {service}
  why: The soak moves this flag to and fro
  services: [{service}]
  owner: {{team: {team}}}
  impact: {{users_percent: {users}, reversible: true, data: none, risks: {{availability: low}}}}
  rollback: {{plan: flag back to {old}}}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {{flag: {{name: {flag}, old: "{old}", new: "{new}"}}}}
        steps:
          - {{expose: 10%, bake: {{least: 4s, most: 40s}}}}
          - {{expose: 50%, bake: {{least: 4s, most: 40s}}}}
          - {{expose: 100%, bake: {{least: 4s, most: 40s}}}}
    allowance: 2%
    gates: {gates}
    on_error: {{hold: 60s, then: rollback}}
    on_inconclusive: {{hold: 3s, then: rollback}}
    verification: {{least: 4s}}
"""
RELEASE: Final = """
apiVersion: airboss/v1
kind: Change
spec:
  template: service-release
  title: Soak {number} of {service}
  why: The soak moves requests to and fro
  services: [{service}]
  owner: {{team: {team}}}
  artifact: {{version: {version}, digest: "{digest}"}}
  impact: {{users_percent: {users}, reversible: true, data: none, risks: {{availability: low}}}}
  rollback: {{plan: requests back to {old}}}
  rollout:
    strategy: canary
    stages:
      - environment: production
        target: {{envoy: {{connection: edge, route: {service}, old: {old}, new: {new}}}}}
        steps:
          - {{expose: 10%, bake: {{least: 4s, most: 40s}}}}
          - {{expose: 50%, bake: {{least: 4s, most: 40s}}}}
          - {{expose: 100%, bake: {{least: 4s, most: 40s}}}}
    allowance: 2%
    gates:
      - data
    on_error: {{hold: 60s, then: rollback}}
    on_inconclusive: {{hold: 3s, then: rollback}}
    verification: {{least: 4s}}
"""
GATES: Final = {
    "checkout": "\n      - data",
    "pay": "\n      - data\n      - {canary: {sli: pay-errors}}",
}
"""Those of a service that is never bad need no evidence but data, so that most of its changes go all the way."""


class Everybody:
    """The people, each with a way to every server. They ask one of them until it is away, then the next."""

    def __init__(self, servers: Sequence[str], tokens: Mapping[str, str]) -> None:
        self._callers = [{name: Caller(url, token=token) for name, token in tokens.items()} for url in servers]
        self._at = 0

    def __getitem__(self, handle: str) -> Caller:
        return self._callers[self._at][handle]

    def turn(self) -> None:
        """Ask the next server from now on."""
        self._at = (self._at + 1) % len(self._callers)

    def close(self) -> None:
        """Let go of all connections."""
        for callers in self._callers:
            for caller in callers.values():
                caller.close()


@dataclass(slots=True)
class Crew:
    """The people around one service, and what became of their changes."""

    service: str
    people: Everybody
    front: Front
    chance: random.Random
    change: str | None = None
    proposed: str | None = None
    """What is to be proposed, or was, and nobody said so: it is said again as it was."""
    number: int = 0
    phase: str = ""
    orders: int = 0
    since: float = 0.0
    rest_until: float = 0.0
    released: dict[str, str] = field(default_factory=dict)
    """The releases among its changes, each with the cluster of its new side."""
    ended: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    _new: str = ""

    def beat(self) -> None:
        """Do what is to be done now. What a server does not take while it is away is tried with the next, at the next beat."""
        try:
            if self.change is None:
                if time.monotonic() >= self.rest_until:
                    self._propose()
                return
            self._follow(self.people[ENGINEER].get(f"/changes/{self.change}"))
        except Away:
            self.told["away"] += 1
            self.people.turn()
        except Refused as refusal:
            self.told[str(refusal)[:120]] += 1
            if self.change is None:
                self.proposed = None
                self.rest_until = time.monotonic() + REST_S

    def _propose(self) -> None:
        if self.proposed is None:
            self.number += 1
            self.proposed = self._release() if self.service == RELEASED else self._ramp()
        found = self.people[ENGINEER].propose(self.proposed, key=f"soak-{self.service}-{self.number:06}")
        self.change, self.phase, self.orders, self.since = found["id"], "", 0, time.monotonic()
        if self.service == RELEASED:
            self.released[found["id"]] = self._new
        self.proposed = None

    def _ramp(self) -> str:
        flag = SERVICES[self.service].flag
        serves = self.people[ENGINEER].get(f"/flags/{flag}", environment="production")["state"]["serves"]
        return DOCUMENT.format(
            number=self.number,
            service=self.service,
            team=TEAMS[self.service],
            users=self._users(),
            flag=flag,
            old=serves,
            new="off" if serves == "on" else "on",
            gates=GATES[self.service],
        )

    def _release(self) -> str:
        weights = read_generation((self.front.folder / ROUTES).read_text()).weights
        old = max(weights, key=lambda name: weights[name])
        colour = "green" if old.endswith("blue") else "blue"
        new = self.front.side(colour)
        self._new = new.name
        return RELEASE.format(
            number=self.number,
            service=self.service,
            team=TEAMS[self.service],
            users=self._users(),
            version=VERSIONS[colour],
            digest=new.digest,
            old=old,
            new=new.name,
        )

    def _users(self) -> int:
        return 40 if self.chance.random() < 0.3 else 5

    def _follow(self, view: dict[str, Any]) -> None:
        self.phase = view["phase"]
        self.longest_s = max(self.longest_s, time.monotonic() - self.since)
        if self.phase in OVER:
            self._end(view)
        elif self.phase == "awaiting_approval":
            self.people[OWNER].post(
                f"/changes/{self.change}/votes", {"verdict": "approve", "comment": "soak", "seen": view["digest"]}
            )
        elif self.phase == "scheduled" and "lift the block" in view["sentence"]:
            self._lift()
        elif self.phase in BUSY and self.chance.random() < 0.01:
            verb = self.chance.choice(("pause", "resume", "abort"))
            self.people[OWNER].post(f"/changes/{self.change}/orders", {"verb": verb, "reason": "soak"})
            self.orders += 1
        elif (view.get("rollout") or {}).get("mode") == "paused" and self.chance.random() < 0.2:
            self.people[OWNER].post(f"/changes/{self.change}/orders", {"verb": "resume", "reason": "soak"})
        elif self.phase == "in_review" and time.monotonic() - self.since > 60:
            self.told[view["sentence"][:120]] += 1
            self.people[OWNER].post(f"/changes/{self.change}/orders", {"verb": "abort", "reason": "refused"})

    def _end(self, view: dict[str, Any]) -> None:
        self.ended[str(view["outcome"])] += 1
        self._lift()
        self.change = None
        self.rest_until = time.monotonic() + REST_S

    def _lift(self) -> None:
        for block in self.people[ENGINEER].get("/blocked-versions")["items"]:
            if block["service"] == self.service:
                given = {"service": block["service"], "digest": block["digest"], "reason": "soak"}
                try:
                    self.people[OWNER].post("/blocked-versions/lift", given)
                except ValueError:  # an answer without a body
                    self.told["lifted"] += 1
