"""`airboss telemetry …`: whether what production says reaches the server."""

from __future__ import annotations

from typing import Any, Final

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, Cursor, Limit, api, listed
from airboss.faces.cli.screen import emit, say, table
from airboss.faces.cli.words import percent

app = typer.Typer(no_args_is_help=True, help="See whether telemetry arrives, and what is wrong with it.")

_SEEN: Final = {"now": "within the hour", "earlier": "earlier", "never": "never"}


@app.command("check")
def check(as_json: AsJson = False) -> int:
    """Check the telemetry of every service of the catalogue.

    Ends with 0 when all is well, with 1 when something is wrong, and says what, of which service.
    """
    found = api().get("/telemetry")
    services: list[dict[str, Any]] = found["services"]
    wrong = [one for one in services if one["problems"]]
    if as_json:
        emit(found)
        return Exit.FAULT if wrong else Exit.OK
    rows = [
        (
            one["name"],
            _SEEN[one["seen"]],
            *(f"{one['signals'][signal]:,}" for signal in ("traces", "metrics", "logs")),
            _named(one),
        )
        for one in services
    ]
    table(
        ("Service", "Heard", "Spans", "Points", "Logs", "Names its change"),
        rows,
        empty="No service yet: airboss apply -f service.yaml",
        give="Service",
    )
    for one in wrong:
        for problem in one["problems"]:
            say(f"{one['name']}: {problem}")
    for row in found["below_target"]:
        share = f"{row['annotated_pct']:g} % of its {row['signal']} name a change"
        say(f"{row['service']}: {share}; the aim is {found['target_pct']:g} %")
    if found["unknown"]:
        say(f"In no catalogue: {', '.join(found['unknown'])}")
    return Exit.FAULT if wrong else Exit.OK


def _named(service: dict[str, Any]) -> str:
    """Return the share of spans that name a change, over the service's environments."""
    rows = [row for row in service["coverage"] if row["signal"] == "traces" and row["items"]]
    items = sum(row["items"] for row in rows)
    return f"{100 * sum(row['current'] + row['stale'] for row in rows) / items:.1f} %" if items else "-"


@app.command("coverage")
def coverage(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """Say how much of the last hour's telemetry names its change."""
    found = listed("/coverage", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [
        (one["service"], one["environment"], one["signal"], f"{one['items']:,}", percent(one["annotated_pct"]))
        for one in found["items"]
    ]
    table(
        ("Service", "Environment", "Signal", "Items", "Names its change"),
        rows,
        empty="Nothing was received in the last hour: airboss telemetry check",
        give="Service",
    )
