"""The list of changes: whose turn it is, what moves, what waits, what is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from airboss.faces.web.standing import row_state
from airboss.faces.web.views import ChangeRow, ChangesPage, Empty, Group, Shell
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

MOVING: Final = frozenset({"validating", "rolling_out", "verifying", "rolling_back", "rollback_failed"})
WAITING: Final = frozenset({"draft", "in_review", "awaiting_approval", "approved", "scheduled"})
FIELDS: Final = ("service", "team", "kind")


def split_query(query: str) -> tuple[dict[str, str], list[str]]:
    """Return the fields a search names (`service:checkout`) and the words it looks for."""
    fields: dict[str, str] = {}
    words = []
    for word in query.split():
        name, colon, value = word.partition(":")
        if colon and name in FIELDS and value:
            fields[name] = value
        else:
            words.append(word.casefold())
    return fields, words


def matches(row: View, words: Sequence[str]) -> bool:
    """Return whether every word stands somewhere in what a list says of a change."""
    text = " ".join(
        [row["id"], row["title"], row["kind"], row["owner_team"], row["phase"].replace("_", " "), *row["services"]]
    ).casefold()
    return all(word in text for word in words)


def changes_page(
    rows: Sequence[View],
    *,
    shell: Shell,
    asked: Mapping[str, View],
    exposed: Mapping[str, float],
    query: str,
    cursor: str | None,
    searched: int | None = None,
) -> ChangesPage:
    """Return the list. `asked` are the changes that wait for the reader, `exposed` the shares that stand now."""
    groups: dict[str, Group] = {
        "needs": {"heading": "Needs you", "tone": "needs", "rows": []},
        "moving": {"heading": "Moving", "tone": "well", "rows": []},
        "waiting": {"heading": "Waiting", "tone": "waiting", "rows": []},
        "over": {"heading": "Over", "tone": "waiting", "rows": []},
    }
    for row in rows:
        shown = _row(row, asked.get(row["id"]), exposed, shell)
        if shown["state"]["tone"] == "needs" or row["phase"] == "rollback_failed":
            groups["needs"]["rows"].append(shown)
        elif row["phase"] in MOVING:
            groups["moving"]["rows"].append(shown)
        elif row["phase"] in WAITING:
            groups["waiting"]["rows"].append(shown)
        else:
            groups["over"]["rows"].append(shown)
    page: ChangesPage = {"shell": shell, "groups": list(groups.values()), "query": query}
    if not rows:
        page["empty"] = _empty(query, searched)
    if cursor is not None:
        page["next"] = f"/changes?{urlencode({'before': cursor, **({'q': query} if query else {})})}"
    return page


def _row(row: View, asked: View | None, exposed: Mapping[str, float], shell: Shell) -> ChangeRow:
    until = None if asked is None else asked["until"]
    return {
        "id": row["id"],
        "href": f"/changes/{row['id']}",
        "title": row["title"],
        "state": row_state(row, mine=asked is not None, now=shell["now"], until=until),
        "kind": row["kind"].replace("-", " "),
        "services": row["services"],
        "owner": row["owner_team"],
        "tier": None,
        "exposure": exposed.get(row["id"]) if row["phase"] in MOVING else None,
        "moved_at": parse_rfc3339(row["updated_at"]),
    }


def _empty(query: str, searched: int | None) -> Empty:
    if query:
        among = f" among the newest {searched:,}" if searched else ""
        return {
            "heading": "Nothing found",
            "sentence": f"No change{among} has all of these words. service:NAME, team:NAME and kind:NAME narrow it down.",
        }
    return {
        "heading": "No changes yet",
        "sentence": "A change is a file in your repository. Apply one from there or from CI; it appears here at once.",
        "command": "airboss apply -f change.yaml",
    }
