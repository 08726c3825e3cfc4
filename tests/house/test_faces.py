"""Every use case is reachable by API, by command and, where people look, by page; what is not says why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from starlette.routing import Route

from airboss.bootstrap import House, build
from airboss.decide.policy import InlineEngine
from airboss.faces.api import create_app
from airboss.faces.cli.app import app as command_line
from airboss.faces.web import routes
from airboss.kernel.settings import Settings

PROGRAMS: Final = "for programs only"
FILES: Final = "files are applied from a shell or by CI"
ELSEWHERE: Final = "see the one beside it"

# API route → (command or why there is none, form or why there is none)
PAIRS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("post", "/api/v1/apply"): ("apply", FILES),
    ("post", "/api/v1/audit/verify"): ("audit verify", "/audit/verify"),
    ("post", "/api/v1/blocked-versions/lift"): ("version lift", "/versions/lift"),
    ("post", "/api/v1/changes"): ("change new", FILES),
    ("put", "/api/v1/changes/{change}"): ("change edit", FILES),
    ("post", "/api/v1/changes/{change}/cancel"): ("change cancel", "/changes/{change}/cancel"),
    ("post", "/api/v1/changes/{change}/evidence"): ("change evidence", PROGRAMS),
    ("post", "/api/v1/changes/{change}/looks"): ("change approval", "a page is looked at by opening it"),
    ("post", "/api/v1/changes/{change}/orders"): ("abort", "/changes/{change}/orders/{verb}"),
    ("post", "/api/v1/changes/{change}/submit"): ("change submit", "/changes/{change}/submit"),
    ("post", "/api/v1/changes/{change}/votes"): ("approve", "/changes/{change}/votes/{verdict}"),
    ("post", "/api/v1/flags/{name}/evaluate"): ("flag evaluate", "the page asks without changing anything: a GET form"),
    ("post", "/api/v1/flags/{name}/kill"): ("flag kill", "/flags/{name}/kill"),
    ("post", "/api/v1/flags/{name}/unkill"): ("flag unkill", "/flags/{name}/unkill"),
    ("post", "/api/v1/password"): ("a command would leave it in the shell's history", "/password"),
    ("post", "/api/v1/people"): ("user add", "/people"),
    ("post", "/api/v1/people/{handle}/disable"): ("user disable", "/people/{handle}/disable"),
    ("post", "/api/v1/people/{handle}/enable"): ("user enable", "/people/{handle}/enable"),
    ("post", "/api/v1/people/{handle}/link"): ("user link", "/people/{handle}/link"),
    ("post", "/api/v1/people/{handle}/role"): ("user role", "/people/{handle}/role"),
    ("post", "/api/v1/policy/check"): ("policy check", FILES),
    ("post", "/api/v1/policy/profile"): ("policy profile", FILES),
    ("post", "/api/v1/policy/test"): ("policy test", FILES),
    ("delete", "/api/v1/policy/{name}"): ("policy retire", FILES),
    ("post", "/api/v1/reviews/{review}/close"): ("review close", "/changes/{change}/review/{review}/close"),
    ("post", "/api/v1/session"): ("commands use tokens", "/sign-in"),
    ("delete", "/api/v1/session"): ("commands use tokens", "/sign-out"),
    ("post", "/api/v1/tokens"): ("token new", "/tokens"),
    ("delete", "/api/v1/tokens/{token}"): ("token revoke", "/tokens/{token}/revoke"),
    ("post", "/api/v1/tokens/{token}/rotate"): ("token rotate", "a program takes up its successor, from where it runs"),
    ("post", "/ofrep/v1/evaluate/flags"): (PROGRAMS, PROGRAMS),
    ("post", "/ofrep/v1/evaluate/flags/{key}"): (PROGRAMS, PROGRAMS),
}
# What a GET tells → the command that tells it, or why there is none.
READS: Final[dict[str, str]] = {
    "/healthz": "for balancers: `health` asks /readyz",
    "/readyz": "health",
    "/metrics": PROGRAMS,
    "/docs/errors/{code}": "error",
    "/api/v1/audit": "audit show",
    "/api/v1/audit/checkpoint": "audit checkpoint",
    "/api/v1/audit/consistency": "audit consistency",
    "/api/v1/audit/entries": "audit entries",
    "/api/v1/audit/export": "audit export",
    "/api/v1/audit/key": "audit key",
    "/api/v1/audit/proof/{position}": "audit proof",
    "/api/v1/blocked-versions": "version list",
    "/api/v1/calendar": "calendar",
    "/api/v1/changes": "change list",
    "/api/v1/changes/{change}": "change show",
    "/api/v1/changes/{change}/approval": "change approval",
    "/api/v1/changes/{change}/course": "change course",
    "/api/v1/changes/{change}/decisions": "change decisions",
    "/api/v1/changes/{change}/events": "change watch",
    "/api/v1/changes/{change}/evidence-pack": "audit pack",
    "/api/v1/changes/{change}/evidence-pack/archive": "audit pack",
    "/api/v1/changes/{change}/evidence-pack/page": "audit pack",
    "/api/v1/changes/{change}/exemplars": "change traces",
    "/api/v1/changes/{change}/explanation": "policy explain",
    "/api/v1/changes/{change}/facts": "change facts",
    "/api/v1/changes/{change}/forecast": "change forecast",
    "/api/v1/changes/{change}/replay": "analysis replay",
    "/api/v1/changes/{change}/series": "change series",
    "/api/v1/coverage": "telemetry coverage",
    "/api/v1/events": "for live pages: a person follows one change, by `change watch`",
    "/api/v1/flags": "flag list",
    "/api/v1/flags/export": "flag export",
    "/api/v1/flags/{name}": "flag show",
    "/api/v1/inbox": "inbox",
    "/api/v1/me": "whoami",
    "/api/v1/on-call": "on-call",
    "/api/v1/people": "user list",
    "/api/v1/policy": "policy list",
    "/api/v1/policy/profile": "policy profile",
    "/api/v1/policy/schema": "policy schema",
    "/api/v1/reviews": "reviews",
    "/api/v1/services": "services",
    "/api/v1/services/{name}": "services",
    "/api/v1/telemetry": "telemetry check",
    "/api/v1/tokens": "token list",
    "/ofrep/v1/sse": PROGRAMS,
    "/sdk/v1/flags": PROGRAMS,
    "/sdk/v1/flags/stream": PROGRAMS,
}
# Commands that change something by a route that another command is paired with.
ALSO: Final = {"reject", "ask", "comment", "abstain", "pause", "resume", "promote", "rollback", "retry", "mitigated"}
# Commands that run here without a server, begin one, or show a part of what another route says.
ASIDE: Final = {
    *("serve", "demo", "login", "exec", "inbox", "on-call", "calendar", "services", "id new", "analysis calibrate"),
    *("analysis replay", "audit checkpoint", "audit export", "audit key", "audit pack", "change facts"),
    *("change list", "change show", "change traces", "change watch", "audit new-key", "backup", "clock accept"),
    *("restore", "reviews", "whoami", "change templates", "change forecast"),
    *("audit entries", "audit proof", "policy schema"),
    *(
        "flag export",
        "flag list",
        "flag show",
        "policy explain",
        "policy list",
        "telemetry check",
        "token list",
        "user list",
        "version list",
    ),
    *("serve", "demo", "login", "exec", "id new", "backup", "restore", "audit new-key"),
    *("analysis calibrate", "change templates", "review show"),
}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        made = build(Settings(data=Path(folder)), engine=InlineEngine())
        yield made
        made.close()


def _commands() -> set[str]:
    found: set[str] = set()

    def walk(command: Any, path: str) -> None:
        below = getattr(command, "commands", {})
        for name, one in below.items():
            if not one.hidden:
                walk(one, f"{path} {name}".strip())
        if not below:
            found.add(path)

    walk(typer.main.get_command(command_line), "")
    return found


def test_every_route_that_changes_something_has_its_pair(house: House):
    """A use case the API has is paired with a command and a form, or says why not; nothing is listed that is not there."""
    paths = create_app(house).openapi()["paths"]
    unsafe = {(method, path) for path, methods in paths.items() for method in methods if method != "get"}
    assert unsafe == set(PAIRS)


def test_every_route_that_tells_something_has_its_command(house: House):
    """What the API tells a command tells too, or it is said why not."""
    paths = create_app(house).openapi()["paths"]
    assert {path for path, methods in paths.items() if "get" in methods} == set(READS)
    commands = _commands()
    assert [told for told in READS.values() if told not in commands and ": " not in told and told != PROGRAMS] == []


def test_every_command_has_its_route(house: House):
    """No command does what the API cannot, and every command a route is paired with exists."""
    commands = _commands()
    told = {command for command in READS.values() if command in commands}
    paired = {command for command, _ in PAIRS.values() if " " not in command or command.split()[0] in _groups(commands)}
    assert paired - commands == {command for command in paired if command not in commands} == set()
    assert commands - paired - told - ALSO - ASIDE == set()
    assert (ALSO | ASIDE) - commands == set()


def _groups(commands: set[str]) -> set[str]:
    return {command.split()[0] for command in commands if " " in command}


def test_every_form_has_its_route(house: House):
    """No page does what the API cannot, and every form a route is paired with exists."""
    forms = {
        route.path
        for route in routes(house).routes
        if isinstance(route, Route) and route.methods is not None and "POST" in route.methods
    }
    paired = {form for _, form in PAIRS.values() if form.startswith("/")}
    assert forms == paired
