"""The demo's people and tokens: plainly not real, with random secrets, in files only you can read.

They come in as real ones do: the first admin by the one-time link in the data folder, the others by links the admin makes;
each person makes their own token, signed in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airboss.demo.caller import Caller
from airboss.demo.nature import SERVICES
from airboss.demo.world import Tokens

ADMIN: Final = "demo-admin"
ENGINEER: Final = "demo-engineer"
OWNER: Final = "demo-owner"
ONCALL: Final = "demo-oncall"
ROLES: Final[Mapping[str, str]] = {ENGINEER: "engineer", OWNER: "engineer", ONCALL: "engineer"}
SCOPES: Final = {
    ADMIN: ["read", "changes.write", "operate", "approve", "admin"],
    ENGINEER: ["read", "changes.write", "operate", "approve"],
    OWNER: ["read", "changes.write", "operate", "approve"],
    ONCALL: ["read", "changes.write", "operate", "approve"],
}
FIRST_LINK: Final = "first-admin-link.txt"
SECRETS: Final = "demo-secrets.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Everybody, each as a caller, and the tokens of the shop's services."""

    callers: Mapping[str, Caller]
    services: Mapping[str, Tokens]
    secrets: Path

    def __getitem__(self, handle: str) -> Caller:
        return self.callers[handle]

    def links(self) -> dict[str, str]:
        """Return a fresh one-time sign-in link for everybody. They are good for 15 minutes."""
        return {handle: str(self[ADMIN].post(f"/people/{handle}/link")["link"]) for handle in self.callers}

    def close(self) -> None:
        """Let go of all connections."""
        for caller in self.callers.values():
            caller.close()


def make_people(base_url: str, data: Path) -> People:
    """Make the demo's people, sign each in, and keep their secrets under `data`. Raises Away or Refused."""
    link = (data / FIRST_LINK).read_text().strip()
    made = {ADMIN: _sign_in(base_url, ADMIN, link, handle=ADMIN)}
    admin = Caller(base_url, token=made[ADMIN])
    for handle, role in ROLES.items():
        admin.post("/people", {"handle": handle, "role": role, "name": f"{handle} (not a real person)"})
        made[handle] = _sign_in(base_url, handle, str(admin.post(f"/people/{handle}/link")["link"]))
    folder = data / "tokens"
    folder.mkdir(mode=0o700)
    services = {service: _service_tokens(admin, service, folder) for service in SERVICES}
    kept = data / SECRETS
    keep(kept, json.dumps({"demo": True, "server": base_url, "tokens": made}, indent=2))
    callers = {handle: Caller(base_url, token=token) for handle, token in made.items() if handle != ADMIN}
    return People(callers={ADMIN: admin, **callers}, services=services, secrets=kept)


def keep(path: Path, text: str) -> None:
    """Write a secret to a new file of mode 0600. Raises FileExistsError."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")


def _sign_in(base_url: str, name: str, link: str, *, handle: str | None = None) -> str:
    """Sign in by a one-time link and return a personal token made in that session. `handle` is chosen by a first admin."""
    session = Caller(base_url)
    secret = link.rstrip("/").rpartition("/")[2]
    chosen = {} if handle is None else {"handle": handle, "name": f"{handle} (not a real person)"}
    session.post("/session", {"link": secret, **chosen})
    body = {"label": "demo", "scopes": SCOPES[name], "days": 1, "personal": True}
    token = str(session.post("/tokens", body)["secret"])
    session.close()
    return token


def _service_tokens(admin: Caller, service: str, folder: Path) -> Tokens:
    paths = {}
    for kind, scope in (("flags", "flags.read"), ("telemetry", "telemetry.write")):
        body = {"label": f"{service} {kind}", "scopes": [scope], "days": 1, "personal": False, "service": service}
        paths[kind] = folder / f"{service}-{kind}.token"
        keep(paths[kind], str(admin.post("/tokens", body)["secret"]))
    return Tokens(flags=paths["flags"], telemetry=paths["telemetry"])
