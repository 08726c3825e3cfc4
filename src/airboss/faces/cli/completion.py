"""What a shell may complete: IDs of changes, flags, services, templates. Asked quickly, and silent when nothing answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Final

import typer

QUICK_S: Final = 1.0
NEWEST: Final = 50


def changes(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest changes: whole IDs once `chg_` is typed, else their ends, as lists show them; each with its title."""
    from airboss.faces.cli.words import short_id

    whole = incomplete.startswith("c")
    found = []
    with _silently():
        found = _api(context).get("/changes", limit=NEWEST)["items"]
    return [(one["id"] if whole else short_id(one["id"]), one["title"]) for one in found]


def flags(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:  # noqa: ARG001 - a shell filters by it
    """Return the flags, each with its purpose."""
    return _named(context, "/flags", "purpose")


def services(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:  # noqa: ARG001 - a shell filters by it
    """Return the services, each with its owner."""
    return _named(context, "/services", "owner")


def templates(incomplete: str) -> list[tuple[str, str]]:  # noqa: ARG001 - a shell filters by it
    """Return the templates that come with Airboss, each with its sentence."""
    from airboss.changes import templates as shipped

    return [(one.metadata.name, "") for one in shipped()]


def _named(context: typer.Context, path: str, told: str) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = []
    with _silently():
        found = _api(context).get(path, limit=200)["items"]
    return [(one["name"], one.get(told) or "") for one in found]


def _api(context: typer.Context) -> Any:
    """Return the API as the command being typed would ask it. Its options have not been carried out, only read."""
    from airboss.faces.cli import config
    from airboss.faces.cli.client import Api
    from airboss.faces.cli.options import WAY

    if WAY.reached is not None:
        return WAY.reached
    given = context.find_root().params
    server = given.get("server_") or os.environ.get("AIRBOSS_SERVER")
    token = given.get("token") or os.environ.get("AIRBOSS_TOKEN")
    return Api(config.read(server=server, token=token), timeout_s=QUICK_S)


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Nothing about a server belongs on a line that is still being typed."""
    from airboss.faces.cli.problems import Problem

    with contextlib.suppress(Problem):
        yield
