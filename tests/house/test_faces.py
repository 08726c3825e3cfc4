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
    ("post", "/api/v1/reviews/{review}/close"): (
        "a review is read before it is closed",
        "/changes/{change}/review/{review}/close",
    ),
    ("post", "/api/v1/session"): ("commands use tokens", "/sign-in"),
    ("delete", "/api/v1/session"): ("commands use tokens", "/sign-out"),
    ("post", "/api/v1/tokens"): ("token new", "/tokens"),
    ("delete", "/api/v1/tokens/{token}"): ("token revoke", "/tokens/{token}/revoke"),
    ("post", "/api/v1/tokens/{token}/rotate"): ("token rotate", "a program takes up its successor, from where it runs"),
    ("post", "/ofrep/v1/evaluate/flags"): (PROGRAMS, PROGRAMS),
    ("post", "/ofrep/v1/evaluate/flags/{key}"): (PROGRAMS, PROGRAMS),
}
# Commands that change something by a route that another command is paired with.
ALSO: Final = {"reject", "ask", "comment", "abstain", "pause", "resume", "promote", "rollback", "retry", "mitigated"}
# Commands that read, run here without a server, or begin one.
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


def test_every_command_has_its_route(house: House):
    """No command does what the API cannot, and every command a route is paired with exists."""
    commands = _commands()
    paired = {command for command, _ in PAIRS.values() if " " not in command or command.split()[0] in _groups(commands)}
    assert paired - commands == {command for command in paired if command not in commands} == set()
    assert commands - paired - ALSO - ASIDE == set()
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
