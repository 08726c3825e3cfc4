"""The examples of the reference are what a server really answered: `python -m tests.faces.api.recording` records them anew.

One house is asked every route there is, in the order in which its people would. Secrets are cut, long lists are short.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx
from tests.faces.api.desk import CHANGE, ORGANISATION, Desk

from airboss.testing import ManualClock, SeededChance

FILE: Final = Path(__file__).parents[3] / "src" / "airboss" / "faces" / "api" / "examples.json"
YAML: Final = {"Content-Type": "application/yaml"}
SECRETS: Final = re.compile(r"(ab[a-z]_)[A-Za-z0-9_-]{10,}|(sign-in/)[A-Za-z0-9_-]{10,}")
MOST_ROWS: Final = 1
MOST_TEXT: Final = 400
TOKEN: Final = {"label": "ci of checkout", "scopes": ["changes.write"], "days": 90, "service": "checkout"}
TEAM: Final = "apiVersion: airboss/v1\nkind: Team\nmetadata: {name: search}\nspec: {members: [dev-a]}\n"
PACK: Final = ORGANISATION.split("---\n")[-1]


class Recorder:
    """Asks and keeps what was asked and answered, by operation."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.kept: dict[str, dict[str, Any]] = {}

    def ask(self, who: httpx.Client, method: str, template: str, **more: Any) -> httpx.Response:
        """Send one request; `path` fills the template, everything else is httpx's."""
        url = template.format(**more.pop("path", {}))
        answer = who.request(method, url, **more)
        assert answer.is_success, f"{method} {template}: {answer.text}"
        found: dict[str, Any] = {"status": answer.status_code}
        if "json" in more:
            found["request"] = more["json"]
        if answer.content:
            media = answer.headers["content-type"].partition(";")[0]
            found["media"] = media
            found["answer"] = short(answer.json() if media == "application/json" else answer.text)
        self.kept[f"{method.lower()} {template}"] = json.loads(SECRETS.sub(r"\1\2…", json.dumps(found)))
        return answer


def short(value: Any) -> Any:
    """Return an answer with what is long cut short: the first row of a list shows what the others look like."""
    if isinstance(value, dict):
        return {key: short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [short(one) for one in value[:MOST_ROWS]]
    if isinstance(value, str) and len(value) > MOST_TEXT:
        return f"{value[:MOST_TEXT]}…"
    return value


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """Return by operation what a fresh house was asked and answered."""
    desk = Desk(folder, ManualClock(), SeededChance(7))
    try:
        recorder = Recorder(desk)
        _estate(recorder)
        _change(recorder)
        _flags(recorder)
        _people(recorder)
        _record(recorder)
    finally:
        desk.close()
    return dict(sorted(recorder.kept.items()))


def _estate(recorder: Recorder) -> None:
    desk, ask = recorder.desk, recorder.ask
    admin = desk.browser("admin")
    desk.organised()
    v1 = "/api/v1"
    ask(admin, "POST", f"{v1}/apply", json={"files": [{"source": "team.yaml", "text": TEAM}]})
    for path in ("services", "coverage", "telemetry", "calendar", "policy", "policy/profile", "policy/schema"):
        ask(admin, "GET", f"{v1}/{path}")
    ask(admin, "GET", f"{v1}/services/{{name}}", path={"name": "checkout"})
    for verb in ("check", "test"):
        ask(admin, "POST", f"{v1}/policy/{verb}", json={"files": [{"source": "house-rules.yaml", "text": PACK}]})
    ask(admin, "POST", f"{v1}/policy/profile", json={"profile": "intermediate", "dry_run": True})


def _change(recorder: Recorder) -> None:
    desk, ask = recorder.desk, recorder.ask
    asker, owner = desk.browser("dev-a"), desk.browser("dev-b")
    changes = "/api/v1/changes"
    made = ask(asker, "POST", changes, content=CHANGE, headers=YAML).json()
    at = {"path": {"change": made["id"]}}
    one = f"{changes}/{{change}}"
    edited = ask(
        asker,
        "PUT",
        one,
        content=CHANGE.replace("everybody", "all"),
        headers={**YAML, "If-Match": f'"{made["version"]}"'},
        **at,
    )
    assert edited.json()["version"] > made["version"]
    ask(asker, "POST", f"{one}/submit", **at)
    desk.turn()
    evidence = {"type": "ci", "green": True, "source": "https://ci.example.com/builds/812"}
    ask(asker, "POST", f"{one}/evidence", json=evidence, **at)
    ask(owner, "GET", "/api/v1/inbox")
    for view in ("approval", "forecast", "decisions", "explanation"):
        ask(owner, "GET", f"{one}/{view}", **at)
    ask(owner, "POST", f"{one}/looks", **at)
    seen = owner.get(f"{changes}/{made['id']}").json()["digest"]
    ask(owner, "POST", f"{one}/votes", json={"verdict": "approve", "seen": seen, "comment": "well planned"}, **at)
    assert isinstance(desk.house.clock, ManualClock)
    for _ in range(6):
        desk.turn()
        desk.house.clock.advance(5)
    ask(owner, "GET", changes)
    ask(owner, "GET", one, **at)
    ask(owner, "GET", "/api/v1/on-call")
    gate = _canary(owner.get(f"{changes}/{made['id']}").json())
    for view in ("series", "course"):
        ask(owner, "GET", f"{one}/{view}", params={"gate": gate}, **at)
    for view in ("exemplars", "replay", "facts"):
        ask(owner, "GET", f"{one}/{view}", **at)
    ask(owner, "POST", f"{one}/orders", json={"verb": "abort", "reason": "totals are wrong for Spain"}, **at)
    desk.turn()
    ask(owner, "GET", "/api/v1/reviews")
    ask(owner, "GET", "/api/v1/blocked-versions")
    _closed(recorder, made["id"])
    draft = asker.post(changes, content=CHANGE.replace("everybody", "some"), headers=YAML).json()["id"]
    ask(asker, "POST", f"{one}/cancel", json={"reason": "the supplier postponed"}, path={"change": draft})
    desk.house.store.sequence()
    desk.house.checkpoints.write_now()
    ask(desk.browser("admin"), "GET", f"{one}/evidence-pack", **at)
    ask(desk.browser("admin"), "GET", f"{one}/evidence-pack/page", **at)


def _canary(change: dict[str, Any]) -> str:
    asked = [gate for step in change["rollout"]["steps"] for gate in step["asks"]]
    return next(str(gate["gate"]) for gate in asked if gate["kind"] == "canary")


def _closed(recorder: Recorder, change: str) -> None:
    """Close the review of what was taken back, when it has come so far."""
    desk = recorder.desk
    owner = desk.browser("dev-b")
    assert isinstance(desk.house.clock, ManualClock)
    for _ in range(200):
        reviews = owner.get("/api/v1/reviews").json()["items"]
        if reviews:
            recorder.ask(owner, "GET", "/api/v1/reviews")
            told = {"verdict": "right", "note": "seen early"}
            recorder.ask(owner, "POST", "/api/v1/reviews/{review}/close", json=told, path={"review": reviews[0]["id"]})
            return
        desk.house.clock.advance(5)
        desk.turn()
    raise AssertionError(owner.get(f"/api/v1/changes/{change}").text)


def _flags(recorder: Recorder) -> None:
    desk, ask = recorder.desk, recorder.ask
    admin = desk.browser("admin")
    at = {"path": {"name": "tax.engine"}}
    for path in ("/api/v1/flags", "/api/v1/flags/export"):
        ask(admin, "GET", path)
    ask(admin, "GET", "/api/v1/flags/{name}", **at)
    context = {"context": {"targetingKey": "user-1", "country": "ES"}}
    ask(admin, "POST", "/api/v1/flags/{name}/evaluate", json=context, **at)
    ask(admin, "POST", "/api/v1/flags/{name}/kill", json={"reason": "totals are wrong for Spain"}, **at)
    ask(admin, "POST", "/api/v1/flags/{name}/unkill", json={}, **at)
    secret = desk.token("admin", scopes=["flags.read"], personal=False, service="checkout")
    service = desk.bearer(secret)
    ask(service, "POST", "/ofrep/v1/evaluate/flags/{key}", json=context, path={"key": "tax.engine"})
    ask(service, "POST", "/ofrep/v1/evaluate/flags", json=context)
    ask(service, "GET", "/sdk/v1/flags")


def _people(recorder: Recorder) -> None:
    desk, ask = recorder.desk, recorder.ask
    admin = desk.browser("admin")
    v1 = "/api/v1"
    at = {"path": {"handle": "dev-c"}}
    ask(admin, "POST", f"{v1}/people", json={"handle": "dev-c", "role": "engineer"})
    link = ask(admin, "POST", f"{v1}/people/{{handle}}/link", **at).json()["link"]
    signed = ask(desk.anyone(), "POST", f"{v1}/session", json={"link": link.rpartition("/")[2]})
    recorder.kept[f"post {v1}/session"]["request"] = {"link": "…"}
    fresh = desk.anyone()
    fresh.cookies.set("airboss_session", signed.cookies["airboss_session"])
    fresh.headers["Origin"] = admin.headers["Origin"]
    ask(fresh, "GET", f"{v1}/me")
    ask(fresh, "POST", f"{v1}/password", json={"new": "correct horse battery staple"})
    ask(fresh, "DELETE", f"{v1}/session")
    ask(admin, "POST", f"{v1}/people/{{handle}}/role", json={"role": "viewer"}, **at)
    ask(admin, "POST", f"{v1}/people/{{handle}}/disable", **at)
    ask(admin, "POST", f"{v1}/people/{{handle}}/enable", **at)
    ask(admin, "GET", f"{v1}/people")
    issued = ask(admin, "POST", f"{v1}/tokens", json=TOKEN).json()
    token = {"path": {"token": issued["token"]["id"]}}
    ask(admin, "POST", f"{v1}/tokens/{{token}}/rotate", **token)
    ask(admin, "DELETE", f"{v1}/tokens/{{token}}", **token)
    ask(admin, "GET", f"{v1}/tokens")


def _record(recorder: Recorder) -> None:
    desk, ask = recorder.desk, recorder.ask
    admin = desk.browser("admin")
    desk.house.store.sequence()
    desk.house.checkpoints.write_now()
    ask(admin, "GET", "/api/v1/audit")
    for path in ("checkpoint", "key", "entries", "export"):
        ask(admin, "GET", f"/api/v1/audit/{path}")
    ask(admin, "GET", "/api/v1/audit/proof/{position}", path={"position": 0})
    ask(admin, "GET", "/api/v1/audit/consistency", params={"from": 1})
    ask(admin, "POST", "/api/v1/audit/verify")
    ask(admin, "GET", "/metrics")
    ask(desk.anyone(), "GET", "/healthz")
    ask(desk.anyone(), "GET", "/docs/errors/{code}", path={"code": "stale"})
    recorder.kept["get /readyz"] = _ready(desk)
    block = {"service": "checkout", "digest": f"sha256:{'0' * 64}", "reason": "the fix is in the library"}
    recorder.kept["post /api/v1/blocked-versions/lift"] = {"status": 204, "request": block}
    ask(admin, "DELETE", "/api/v1/policy/{name}", path={"name": "house-rules"})


def _ready(desk: Desk) -> dict[str, Any]:
    """Return what a house without an ingester says: every check of it, and that it is not ready."""
    answer = desk.anyone().get("/readyz")
    return {"status": 200, "media": "application/json", "answer": answer.json()}


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        found = recorded(Path(folder))
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
