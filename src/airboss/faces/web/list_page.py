"""The list of changes: whose turn it is, what moves, what waits, what is over; and the filters that narrow it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NotRequired
from urllib.parse import urlencode

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.changes import Phase
from airboss.decide.policy import Tier
from airboss.faces.reads import Wanted, exposed, search_view, waiting_for
from airboss.faces.web.frame import Frame, fault_of
from airboss.faces.web.standing import row_state
from airboss.faces.web.views import ChangeRow, Empty, Fault, Shell, Tone
from airboss.faces.web.visits import Visit, see
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import AirbossError, Invalid
from airboss.kernel.ids import change_id, name

View = Mapping[str, Any]

LIST_MOST: Final = 50
OPEN_MOST: Final = 200
ID_LENGTH: Final = len("chg_") + 26

MOVING: Final = frozenset({Phase.VALIDATING, Phase.ROLLING_OUT, Phase.VERIFYING, Phase.ROLLING_BACK})
STUCK: Final = frozenset({Phase.ROLLBACK_FAILED})
WAITING: Final = frozenset({Phase.DRAFT, Phase.IN_REVIEW, Phase.AWAITING_APPROVAL, Phase.APPROVED, Phase.SCHEDULED})
UNDERWAY: Final = MOVING | STUCK | WAITING
DONE: Final = frozenset(Phase) - UNDERWAY
STATES: Final[Mapping[str, tuple[str, frozenset[Phase]]]] = {
    "open": ("under way", UNDERWAY),
    "moving": ("moving", MOVING | STUCK),
    "waiting": ("waiting", WAITING),
    "draft": ("drafts", frozenset({Phase.DRAFT})),
    "approval": ("awaiting approval", frozenset({Phase.AWAITING_APPROVAL})),
    "review": ("in review after the end", frozenset({Phase.REVIEWING})),
    "over": ("over", DONE),
}
TEXT: Final = ("service", "team", "owner", "kind")
FIELDS: Final = ("state", "tier", *TEXT)
_CALLED: Final = {"service": "service", "team": "team", "owner": "person", "kind": "kind of change"}


class Group(TypedDict):
    """Changes that have one thing in common, e.g. "Needs you", "Moving", "Waiting", "Over"."""

    heading: str
    tone: Tone
    rows: list[ChangeRow]


class ChangesPage(TypedDict):
    """The list. `query` are the words searched for, `given` all that was asked; `older` leads on, as (label, address)."""

    shell: Shell
    groups: list[Group]
    query: str
    given: dict[str, str]
    narrowed: bool
    states: list[tuple[str, str]]
    tiers: list[tuple[str, str]]
    fault: NotRequired[Fault]
    empty: NotRequired[Empty]
    older: list[tuple[str, str]]


class Listing:
    """Handler of the list."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def changes(self, visit: Visit) -> Response:
        """List changes. Twelve queries at most where nothing is searched, those of the inbox, one for each that moves."""
        house = self._frame.house
        given = filters(visit.query)
        if given["q"].startswith("chg_") and len(given["q"]) == ID_LENGTH and len(given) == 1:
            return see(f"/changes/{given['q']}")
        rows: list[View] = []
        looked = fault = None
        older: dict[str, str | None] = {}
        try:
            wanted, before = read(given), _cursor(visit.query.get("before"))
        except AirbossError as refused:
            fault = fault_of(refused, FIELDS, otherwise="q")
        else:
            if given != {"q": ""} or before is not None:
                found = search_view(house, visit.actor, wanted, cursor=before, limit=LIST_MOST)
                rows, looked = found["items"], found["looked"]
                older = {given.get("state", ""): found["next_cursor"]}
            else:
                open_ = search_view(house, visit.actor, Wanted(phases=UNDERWAY), limit=OPEN_MOST)
                done = search_view(house, visit.actor, Wanted(phases=DONE), limit=LIST_MOST)
                rows = [*open_["items"], *done["items"]]
                older = {"open": open_["next_cursor"], "over": done["next_cursor"]}
        with house.store.read() as connection:
            asked = waiting_for(house, connection, visit.actor)
            shares = exposed(connection, [row["id"] for row in rows if row["phase"] in MOVING])
        page = changes_page(
            rows,
            shell=self._frame.shell(visit, waiting=len(asked)),
            asked=asked,
            exposed=shares,
            given=given,
            older=older,
            looked=looked,
            fault=fault,
        )
        return self._frame.page(visit, "changes", page, status=200 if fault is None else 422)


def filters(query: Mapping[str, str]) -> dict[str, str]:
    """Return what is asked for: `q` always, other fields where given. `service:checkout` in `q` is the field."""
    found = {"q": ""} | {field: query[field].strip()[:200] for field in FIELDS if query.get(field, "").strip()}
    words = []
    for word in query.get("q", "").strip()[:200].split():
        field, colon, value = word.partition(":")
        if colon and field in FIELDS and value:
            found[field] = value
        else:
            words.append(word)
    return found | {"q": " ".join(words)}


def read(given: Mapping[str, str]) -> Wanted:
    """Return the filters as the search takes them. Raises Invalid, its place the field."""
    state, tier = given.get("state"), given.get("tier")
    if state is not None and state not in STATES and state not in set(Phase):
        raise Invalid(f"there is no state {state[:60]!r}", code="phase-unknown", place="state", way_out="choose one")
    if tier is not None and tier not in set(Tier):
        raise Invalid(f"there is no tier {tier[:60]!r}", code="bad-name", place="tier", way_out="choose one")
    named: dict[str, str | None] = {}
    for field in TEXT:
        try:
            named[field] = name(given[field], of=_CALLED[field]) if field in given else None
        except Invalid as refused:
            refused.place = field
            raise
    return Wanted(
        phases=None if state is None else STATES[state][1] if state in STATES else [Phase(state)],
        tier=None if tier is None else Tier(tier),
        words=tuple(given["q"].casefold().split()),
        **named,
    )


def _cursor(text: str | None) -> str | None:
    return None if text is None else change_id(text)


def changes_page(
    rows: Sequence[View],
    *,
    shell: Shell,
    asked: Mapping[str, View],
    exposed: Mapping[str, float],
    given: Mapping[str, str],
    older: Mapping[str, str | None],
    looked: int | None = None,
    fault: Fault | None = None,
) -> ChangesPage:
    """Return the list.

    `asked` are the changes that wait for the reader, `exposed` the shares that stand now; `older` has by state the cursor
    with which a list of that state goes on.
    """
    groups: dict[str, Group] = {
        "needs": {"heading": "Needs you", "tone": "needs", "rows": []},
        "moving": {"heading": "Moving", "tone": "well", "rows": []},
        "waiting": {"heading": "Waiting", "tone": "waiting", "rows": []},
        "over": {"heading": "Over", "tone": "waiting", "rows": []},
    }
    for row in rows:
        shown = change_row(row, asked.get(row["id"]), exposed, shell)
        groups[_group(row, shown)]["rows"].append(shown)
    narrowed = {field: value for field, value in given.items() if value}
    page: ChangesPage = {
        "shell": shell,
        "groups": list(groups.values()),
        "query": given["q"],
        "given": dict(given),
        "narrowed": bool(narrowed),
        "states": [("", "any"), *((key, words) for key, (words, _) in STATES.items())],
        "older": [],
        "tiers": [("", "any"), *((str(tier), str(tier)) for tier in Tier)],
    }
    if fault is not None:
        page["fault"] = fault
    elif not rows:
        page["empty"] = _empty(narrowed, looked, more=any(older.values()))
    page["older"] = [
        (
            "Older ones under way" if state == "open" else "Older changes",
            f"/changes?{urlencode({**narrowed, **({'state': state} if state else {}), 'before': cursor})}",
        )
        for state, cursor in older.items()
        if cursor is not None
    ]
    return page


def _group(row: View, shown: ChangeRow) -> str:
    if shown["state"]["tone"] == "needs" or row["phase"] in STUCK:
        return "needs"
    if row["phase"] in MOVING:
        return "moving"
    return "waiting" if row["phase"] in WAITING else "over"


def change_row(row: View, asked: View | None, exposed: Mapping[str, float], shell: Shell) -> ChangeRow:
    """Return one change of a list; `asked` where the reader's word is awaited."""
    until = None if asked is None else asked["until"]
    return {
        "id": row["id"],
        "href": f"/changes/{row['id']}",
        "title": row["title"],
        "state": row_state(row, mine=asked is not None, now=shell["now"], until=until),
        "kind": row["kind"].replace("-", " "),
        "services": row["services"],
        "owner": f"{row['owner']} of {row['owner_team']}" if row.get("owner") else row["owner_team"],
        "tier": row["tier"],
        "exposure": exposed.get(row["id"]) if row["phase"] in MOVING else None,
        "moved_at": parse_rfc3339(row["updated_at"]),
    }


def _empty(narrowed: Mapping[str, str], looked: int | None, *, more: bool) -> Empty:
    if narrowed:
        among = f" among the {looked:,} looked at" if more and looked else ""
        way_out = "Go on to older ones below." if more else "Take a filter away, or look for fewer words."
        return {"heading": "Nothing found", "sentence": f"No change{among} is what you look for. {way_out}"}
    return {
        "heading": "No changes yet",
        "sentence": "A change is a file in your repository. Apply one from there or from CI; it appears here at once.",
        "command": "airboss apply -f change.yaml",
    }
