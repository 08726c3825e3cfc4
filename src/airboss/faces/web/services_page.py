"""Services: objectives with what is left of their budgets, burn, coverage of telemetry, and the changes that move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NotRequired

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.changes import STARTED
from airboss.faces.reads import Wanted, exposed, search_view, service_page_view, services_view, waiting_for
from airboss.faces.web.deciding import budget
from airboss.faces.web.frame import Frame
from airboss.faces.web.list_page import MOVING, change_row
from airboss.faces.web.render import percent
from airboss.faces.web.render import seconds as spoken
from airboss.faces.web.views import ChangeRow, Empty, Objective, Shell, State
from airboss.faces.web.visits import Visit
from airboss.faces.web.words import sentence, shown
from airboss.kernel.clock import parse_rfc3339
from airboss.people.access import Action, require

View = Mapping[str, Any]

TARGET_PCT: Final = 95.0
"""Share of a service's spans that should name a change, below which its coverage needs somebody's eye."""
OLD_S: Final = 120.0
CHANGES_MOST: Final = 15


class Arm(TypedDict):
    """What one arm of a change does: counts as text, `tone` of the share of errors against the other arm."""

    arm: str
    requests: str
    errors: str
    p95: str
    objectives: list[tuple[str, str, State]]
    """(name, share of good events, whether that keeps the target)"""


class Track(TypedDict):
    """A change that exposes a part of the service's users, with both arms."""

    title: str
    href: str
    where: str
    since: datetime
    arms: list[Arm]


class ServiceRow(TypedDict):
    """One service of the list. `told` says how its telemetry stands; `moving` how many changes are out."""

    name: str
    href: str
    owner: str
    tier: str
    environments: list[str]
    objectives: list[Objective]
    telemetry: State
    moving: int
    tracks: list[Track]


class ServicesPage(TypedDict):
    """The services of the catalogue, by name."""

    shell: Shell
    rows: list[ServiceRow]
    empty: NotRequired[Empty]


class Covered(TypedDict):
    """What arrived of one signal in one environment within the hour, and how much of it names a change."""

    where: str
    signal: str
    count: str
    named: str
    late: str
    newest: str


class ServicePage(TypedDict):
    """One service: objectives, coverage, what depends on what, and its changes, those that move first."""

    shell: Shell
    name: str
    description: str
    about: list[str]
    telemetry: State
    objectives: list[Objective]
    tracks: list[Track]
    coverage: list[Covered]
    depends_on: list[str]
    dependants: list[str]
    oncall: str
    runbooks: list[str]
    moving: list[ChangeRow]
    earlier: list[ChangeRow]
    all: str
    objectives_empty: NotRequired[Empty]
    changes_empty: NotRequired[Empty]


class Services:
    """Handlers of the services."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def listing(self, visit: Visit) -> Response:
        """List the services. Queries as `services_view`, one for what moves, and those of the inbox."""
        house = self._frame.house
        require(visit.actor, Action.CATALOG_READ)
        with house.store.read() as connection:
            found = services_view(house, connection, house.clock.now(), tracks=True)
            moving = house.changes.in_phases(connection, STARTED)
        page = services_page(found, [one.services for one in moving], shell=self._frame.shell(visit))
        return self._frame.page(visit, "services", page)

    def one(self, visit: Visit) -> Response:
        """Show a service. Some twenty queries, however many changes it has, and the telemetry's."""
        house = self._frame.house
        require(visit.actor, Action.CATALOG_READ)
        name = visit.path["name"]
        with house.store.read() as connection:
            found = service_page_view(house, connection, name, house.clock.now())
            asked = waiting_for(house, connection, visit.actor)
        rows = search_view(house, visit.actor, Wanted(service=found["name"]), limit=CHANGES_MOST)["items"]
        with house.store.read() as connection:
            shares = exposed(connection, [row["id"] for row in rows if row["phase"] in MOVING])
        shell = self._frame.shell(visit, waiting=len(asked))
        page = service_page(found, rows, asked=asked, exposed=shares, shell=shell)
        return self._frame.page(visit, "service", page)


def services_page(found: Sequence[View], moving: Sequence[Sequence[str]], *, shell: Shell) -> ServicesPage:
    """Return the list; `moving` are the services of each change that is out."""
    page: ServicesPage = {
        "shell": shell,
        "rows": [
            {
                "name": one["name"],
                "href": f"/services/{one['name']}",
                "owner": one["owner"],
                "tier": one["tier"],
                "environments": one["environments"],
                "objectives": [_objective(objective) for objective in one["objectives"]],
                "telemetry": telemetry(one),
                "moving": sum(one["name"] in services for services in moving),
                "tracks": [_track(track) for track in one["tracks"]],
            }
            for one in sorted(found, key=lambda one: str(one["name"]))
        ],
    }
    if not found:
        page["empty"] = {
            "heading": "No services yet",
            "sentence": "A service is a file beside its code: who owns it, where it runs, and what it promises. Its "
            "objectives are OpenSLO files applied the same way.",
            "command": "airboss apply -f service.yaml",
        }
    return page


def service_page(
    found: View, rows: Sequence[View], *, asked: Mapping[str, View], exposed: Mapping[str, float], shell: Shell
) -> ServicePage:
    """Return the page of one service; `rows` are its newest changes."""
    page: ServicePage = {
        "shell": shell,
        "name": found["name"],
        "description": found["description"] or "",
        "about": _about(found),
        "telemetry": telemetry(found),
        "objectives": [_objective(one) for one in found["objectives"]],
        "tracks": [_track(one) for one in found["tracks"]],
        "coverage": [_covered(one) for one in found["coverage"]],
        "depends_on": found["depends_on"],
        "dependants": found["dependants"],
        "oncall": found["oncall"] or "",
        "runbooks": found["runbooks"],
        "moving": [change_row(row, asked.get(row["id"]), exposed, shell) for row in rows if row["phase"] in MOVING],
        "earlier": [change_row(row, asked.get(row["id"]), {}, shell) for row in rows if row["phase"] not in MOVING],
        "all": f"/changes?service={found['name']}",
    }
    if not found["objectives"]:
        page["objectives_empty"] = {
            "heading": "It promises nothing yet",
            "sentence": "Without an objective no budget is guarded and no burn rate takes a change back. Write it as "
            "OpenSLO (kind: SLO, with this service) and apply it.",
            "command": "airboss apply -f slo.yaml",
        }
    if not rows:
        page["changes_empty"] = {
            "heading": "No changes yet",
            "sentence": "A change of this service is a file that names it.",
            "command": f"airboss change new --service {found['name']}",
        }
    return page


def _about(found: View) -> list[str]:
    told = [f"owned by {found['owner']}", f"{found['tier']} tier", f"runs in {', '.join(found['environments'])}"]
    return [*told, "keeps state"] if found["stateful"] else told


def _objective(one: View) -> Objective:
    shown = budget(one)
    shown["target"] = f"{shown['target']}, in {one['environment']}"
    return shown


def _track(one: View) -> Track:
    return {
        "title": one["title"],
        "href": f"/changes/{one['change']}",
        "where": f"{percent(one['percent'])} in {one['environment']}",
        "since": parse_rfc3339(one["since"]),
        "arms": [_arm(arm, one[arm], one["objectives"]) for arm in ("canary", "baseline")],
    }


def _arm(arm: str, found: View | None, objectives: Sequence[View]) -> Arm:
    return {
        "arm": arm,
        "requests": "none counted" if found is None else f"{found['requests']:,}",
        "errors": "–" if found is None else shown(found["error_pct"], "%"),
        "p95": "–" if found is None else shown(found["p95_ms"], "ms"),
        "objectives": [
            (one["name"], shown(one[f"{arm}_pct"], "%"), _kept(one[f"{arm}_pct"], one["target"])) for one in objectives
        ],
    }


def _kept(good_pct: float | None, target: float) -> State:
    if good_pct is None:
        return {"tone": "waiting", "word": "not known"}
    if good_pct >= 100 * target:
        return {"tone": "well", "word": "kept"}
    return {"tone": "needs", "word": f"below {percent(100 * target)}"}


def telemetry(one: View) -> State:
    """Return how the telemetry of a service stands: whether it comes, and how much of it names its change."""
    rows = [row for row in one["coverage"] if row["items"] and row["signal"] == "traces"]
    if one["telemetry_age_s"] is None and not rows:
        return {
            "tone": "needs",
            "word": "not heard",
            "sentence": "No span of it was received within the hour: nothing of it can be judged.",
        }
    items = sum(row["items"] for row in rows)
    named = 100 * sum(row["current"] + row["stale"] for row in rows) / items if items else None
    words = [] if named is None else [f"{percent(round(named, 1))} of its spans name their change"]
    age = one["telemetry_age_s"]
    if age is not None and age > OLD_S:
        words.append(f"the newest is {spoken(age)} old")
        return {"tone": "needs", "word": "late", "sentence": sentence("; ".join(words))}
    if named is not None and named < TARGET_PCT:
        return {"tone": "needs", "word": "partly named", "sentence": sentence("; ".join(words))}
    return {"tone": "well", "word": "heard", "sentence": sentence("; ".join(words))}


def _covered(one: View) -> Covered:
    named = one["annotated_pct"]
    return {
        "where": one["environment"],
        "signal": one["signal"],
        "count": f"{one['items']:,}",
        "named": "–" if named is None else percent(named),
        "late": f"{one['late']:,}",
        "newest": f"{spoken(one['newest_age_s'])} ago",
    }
