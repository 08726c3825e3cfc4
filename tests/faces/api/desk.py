"""A real house on SQLite with its API, people with sessions and tokens, and a tower turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from airboss.bootstrap import House, build, open_folder, read_settings
from airboss.decide.policy import InlineEngine
from airboss.faces.api import create_app
from airboss.kernel.clock import Clock
from airboss.kernel.ids import Chance

BASE = "http://127.0.0.1:8700"
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

ORGANISATION = """\
apiVersion: airboss/v1
kind: Team
metadata: {name: payments}
spec: {members: [dev-a, dev-b], leads: [dev-a]}
---
apiVersion: airboss/v1
kind: Environment
metadata: {name: production}
spec: {rank: 2, exempt: false}
---
apiVersion: airboss/v1
kind: Service
metadata: {name: checkout}
spec:
  owner: payments
  tier: important
  stateful: false
  environments: [production]
  telemetry: {service_name: checkout}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: checkout-errors}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {type: builtin, spec: {signal: spans, service: checkout, status: error}}}
    total: {metricSource: {type: builtin, spec: {signal: spans, service: checkout}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-availability}
spec:
  service: checkout
  indicatorRef: checkout-errors
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{displayName: served without error, target: 0.999}]
---
apiVersion: airboss/v1
kind: Flag
metadata: {name: tax.engine}
spec:
  owner: payments
  purpose: new VAT engine
  kind: release
  remove_by: 2027-02-01
  services: [checkout]
  bucketing: {version: v3, key: targetingKey}
  definition:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
---
apiVersion: airboss/v1
kind: PolicyPack
metadata: {name: house-rules, version: 1}
spec:
  owner: platform
  layer: team
  rules:
    - id: FRIDAY
      title: Titles that say Friday are looked at twice
      when: change.title == "Friday"
      effect: {warn: {}}
      message: '"it is Friday"'
"""

CHANGE = """\
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: New VAT engine for everybody
  why: VAT rules change on 1 December
  services: [checkout]
  owner: {team: payments}
  impact: {users_percent: 40, reversible: true, data: none}
  rollback: {plan: flag back to off}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {flag: {name: tax.engine, old: "off", new: "on"}}
        steps:
          - {expose: 1%, bake: {least: 1m}}
          - {expose: 100%, bake: {least: 1m}}
    gates:
      - data
      - {canary: {sli: checkout-errors}}
"""


class InMemory(httpx.BaseTransport):
    """Asks an application without a network."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app=app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def pieces() -> AsyncIterator[bytes]:
            assert isinstance(request.stream, httpx.SyncByteStream)
            for piece in request.stream:
                yield piece

        async def ask() -> httpx.Response:
            sent = httpx.Request(request.method, request.url, headers=request.headers, content=pieces())
            answer = await self._transport.handle_async_request(sent)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(ask())


class Desk:
    """One house, its API in memory, and whoever works there. `admin` is the first admin's handle."""

    def __init__(
        self, folder: Path, clock: Clock, chance: Chance, *, database: str | None = None, hosts: str | None = None
    ) -> None:
        self.reopen(folder, clock, chance, database=database, hosts=hosts)
        settings = self.house.settings
        self._sessions: dict[str, str] = {}
        link = self.house.identity.first_admin_link(settings.data, base_url=BASE)
        assert link is not None
        self._sign_in("admin", link)

    def reopen(
        self, folder: Path, clock: Clock, chance: Chance, *, database: str | None = None, hosts: str | None = None
    ) -> None:
        """Open the house of a folder, as a server that starts."""
        settings = read_settings({}, data=folder / "data", database=database, hosts=hosts)
        open_folder(settings)
        self.house: House = build(settings, clock=clock, chance=chance, engine=InlineEngine())
        self.app = create_app(self.house)

    def close(self) -> None:
        self.house.close()

    def _sign_in(self, handle: str, link: str) -> None:
        signed = self.anyone().post("/api/v1/session", json={"link": link.rpartition("/")[2], "handle": handle})
        assert signed.status_code == 201, signed.text
        self._sessions[handle] = signed.cookies["airboss_session"]

    def anyone(self) -> httpx.Client:
        """A client nobody knows."""
        return httpx.Client(transport=InMemory(self.app), base_url=BASE)

    def hire(self, handle: str, role: str = "engineer") -> httpx.Client:
        """Add somebody and return their browser."""
        admin = self.browser("admin")
        assert admin.post("/api/v1/people", json={"handle": handle, "role": role}).status_code == 201
        self._sign_in(handle, admin.post(f"/api/v1/people/{handle}/link").json()["link"])
        return self.browser(handle)

    def browser(self, handle: str) -> httpx.Client:
        """Somebody's browser: session cookie and Origin."""
        client = self.anyone()
        client.cookies.set("airboss_session", self._sessions[handle])
        client.headers["Origin"] = BASE
        return client

    def token(self, handle: str, **wanted: Any) -> str:
        """A token's secret, issued by somebody."""
        asked = {"label": "of a test", "scopes": ["read"], "personal": True, "days": 1, **wanted}
        issued = self.browser(handle).post("/api/v1/tokens", json=asked)
        assert issued.status_code == 201, issued.text
        return str(issued.json()["secret"])

    def bearer(self, secret: str) -> httpx.Client:
        """A program with a token."""
        client = self.anyone()
        client.headers["Authorization"] = f"Bearer {secret}"
        return client

    def apply(self, *texts: str, by: str = "admin", **more: Any) -> Any:
        files = [{"source": f"file-{number}.yaml", "text": text} for number, text in enumerate(texts, start=1)]
        return self.browser(by).post("/api/v1/apply", json={"files": files, **more})

    def organised(self) -> Desk:
        """Apply the organisation and hire its people."""
        assert self.apply(ORGANISATION).status_code == 200
        self.hire("dev-a")
        self.hire("dev-b")
        return self

    def turn(self) -> None:
        """Let the tower look at everything that is due, until nothing is."""

        async def look() -> None:
            for _ in range(20):
                due = self.house.tower.claim()
                if not due:
                    return
                for held in due:
                    await self.house.tower.look_at(held)

        asyncio.run(look())

    def proposed(self, text: str = CHANGE, by: str = "dev-a") -> dict[str, Any]:
        """Propose and submit a change; return it as it is after the tower looked."""
        browser = self.browser(by)
        headers = {"Content-Type": "application/yaml"}
        created = browser.post("/api/v1/changes?submit=true", content=text, headers=headers)
        assert created.status_code == 201, created.text
        self.turn()
        found: dict[str, Any] = browser.get(f"/api/v1/changes/{created.json()['id']}").json()
        return found


__all__ = ["BASE", "CHANGE", "EXAMPLES", "ORGANISATION", "Desk"]
