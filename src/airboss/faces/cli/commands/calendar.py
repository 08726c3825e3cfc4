"""`airboss calendar`: when changes may start, and when they may not."""

from __future__ import annotations

from airboss.faces.cli.options import AsJson, Cursor, Limit, listed, page
from airboss.faces.cli.screen import emit, marked, table


def calendar(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """Say which windows and freezes there are, and when.

    Those of the next 14 days; with --json each has its spans.
    """
    found = listed("/calendar", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = []
    for one in found["items"]:
        kind = "window" if one["allow"] else "freeze"
        tone = "waiting" if not one["active"] else "well" if one["allow"] else "needs"
        spans = one["ahead"]
        when = f"{spans[0]['start']} to {spans[0]['end']}" if spans else "not in the next 14 days"
        rows.append((one["name"], kind, marked(tone, "now" if one["active"] else "not now"), when))
    table(("Name", "Kind", "State", "Next"), rows, empty="No windows and no freezes.", give="Next")
    page("/calendar")
