"""What people do to one service in a soak: one change after the other, some of them bad, some of them called off."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from airboss.demo.caller import Away, Caller, Refused
from airboss.demo.nature import SERVICES
from airboss.demo.people import ENGINEER, OWNER, People

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
GATES: Final = {
    "search": "\n      - data",
    "checkout": "\n      - data",
    "pay": "\n      - data\n      - {canary: {sli: pay-errors}}",
}
"""Those of a service that is never bad need no evidence but data, so that most of its changes go all the way."""


@dataclass(slots=True)
class Crew:
    """The people around one service, and what became of their changes."""

    service: str
    people: People
    chance: random.Random
    change: str | None = None
    number: int = 0
    phase: str = ""
    orders: int = 0
    since: float = 0.0
    rest_until: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0

    def beat(self) -> None:
        """Do what is to be done now. What the server does not take while it is away is tried again at the next beat."""
        try:
            if self.change is None:
                if time.monotonic() >= self.rest_until:
                    self._propose()
                return
            self._follow(self.people[ENGINEER].get(f"/changes/{self.change}"))
        except Away:
            self.told["away"] += 1
        except Refused as refusal:
            self.told[str(refusal)[:120]] += 1
            if self.change is None:
                self.rest_until = time.monotonic() + REST_S

    def _propose(self) -> None:
        engineer: Caller = self.people[ENGINEER]
        flag = SERVICES[self.service].flag
        serves = engineer.get(f"/flags/{flag}", environment="production")["state"]["serves"]
        self.number += 1
        found = engineer.propose(
            DOCUMENT.format(
                number=self.number,
                service=self.service,
                team=TEAMS[self.service],
                users=40 if self.chance.random() < 0.3 else 5,
                flag=flag,
                old=serves,
                new="off" if serves == "on" else "on",
                gates=GATES[self.service],
            )
        )
        self.change, self.phase, self.orders, self.since = found["id"], "", 0, time.monotonic()

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
