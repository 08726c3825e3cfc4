"""The pages of what binds everybody: policy, windows and freezes, blocked versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NotRequired

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.decide.policy import PROFILES
from airboss.faces.reads import Dossier, blocked_view, calendar_view, explanation_view, policy_view
from airboss.faces.web import explaining
from airboss.faces.web.change_views import Decision
from airboss.faces.web.frame import Frame, fault_of, flash_of
from airboss.faces.web.views import Action, Empty, Fault, Shell, State
from airboss.faces.web.visits import Visit, see
from airboss.faces.web.words import listed
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import AirbossError
from airboss.kernel.ids import change_id
from airboss.people.access import Action as Act
from airboss.people.access import Scope, may, require

View = Mapping[str, Any]

AHEAD: Final = timedelta(days=14)


class Judged(TypedDict):
    """The change whose decision is explained."""

    href: str
    title: str


class Pack(TypedDict):
    """One pack in force. `rules` and `tests` as `policy_view` has them."""

    name: str
    version: str
    layer: str
    owner: str
    digest: str
    revision: int
    applied_by: str
    applied_at: datetime
    rules: list[Mapping[str, Any]]
    tests: list[Mapping[str, Any]]


class PolicyPage(TypedDict):
    """The rules in force, and the decision about one change where `judged` names it."""

    shell: Shell
    bundle: str
    packs: list[Pack]
    profile: str | None
    profiles: list[str]
    given: dict[str, str]
    judged: Judged | None
    decision: Decision | None
    approval: None
    """The card of decisions is of a change's page; here nobody votes."""
    fault: Fault | None


class WindowRow(TypedDict):
    """One window or freeze, whether it is on, and when it is on next."""

    name: str
    allow: bool
    state: State
    reach: str
    reason: str
    zone: str
    until: datetime | None
    next: datetime | None
    spans: list[tuple[datetime, datetime]]


class SpanRow(TypedDict):
    """One stretch of the days ahead in which a window is on."""

    name: str
    allow: bool
    reach: str
    reason: str
    start: datetime
    end: datetime


class CalendarPage(TypedDict):
    """Windows by name, and the stretches ahead in order, up to `until`."""

    shell: Shell
    windows: list[WindowRow]
    spans: list[SpanRow]
    until: datetime
    empty: NotRequired[Empty]


class BlockedRow(TypedDict):
    """One version that may not start again."""

    service: str
    digest: str
    sentence: str
    href: str
    change: str
    at: datetime
    action: Action | None


class VersionsPage(TypedDict):
    """Versions that were convicted, newest first."""

    shell: Shell
    rows: list[BlockedRow]
    empty: NotRequired[Empty]


class Ruling:
    """Handlers of policy, of the calendar, of blocked versions."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    # -- policy ----------------------------------------------------------------------------------------------------

    def policy(self, visit: Visit) -> Response:
        """Show the packs in force, and the decision about the change that is asked for. Some fourteen queries."""
        house = self._frame.house
        require(visit.actor, Act.POLICY_READ)
        given = {"change": visit.query.get("change", "").strip()[:100]}
        judged: Judged | None = None
        decision: Decision | None = None
        fault = None
        with house.store.read() as connection:
            view = policy_view(house, connection)
            profile = house.policies.profile(connection)
            if given["change"]:
                try:
                    change = house.changes.read(connection, change_id(given["change"]))
                    dossier = Dossier(house=house, connection=connection, change=change, actor=visit.actor)
                    decision = explaining.decision(explanation_view(dossier))
                    judged = {"href": f"/changes/{change.id}", "title": change.title}
                except AirbossError as refused:
                    fault = fault_of(refused, ("change",), otherwise="change")
        page: PolicyPage = {
            "shell": self._frame.shell(visit),
            "bundle": view["bundle"],
            "packs": [_pack(one) for one in view["packs"]],
            "profile": profile,
            "profiles": list(PROFILES),
            "given": given,
            "judged": judged,
            "decision": decision,
            "approval": None,
            "fault": fault,
        }
        return self._frame.page(visit, "policy", page, status=200 if fault is None else 422)

    # -- calendar --------------------------------------------------------------------------------------------------

    def calendar(self, visit: Visit) -> Response:
        """Show windows and freezes of the next 14 days. One query."""
        house, now = self._frame.house, self._frame.house.clock.now()
        require(visit.actor, Act.CALENDAR_READ)
        with house.store.read() as connection:
            view = calendar_view(house, connection, now)
        windows = [_window(one) for one in view["items"]]
        page: CalendarPage = {
            "shell": self._frame.shell(visit),
            "windows": windows,
            "spans": sorted(
                [
                    SpanRow(
                        name=window["name"],
                        allow=window["allow"],
                        reach=window["reach"],
                        reason=window["reason"],
                        start=start,
                        end=end,
                    )
                    for window in windows
                    for start, end in window["spans"]
                ],
                key=lambda span: (span["start"], span["name"]),
            ),
            "until": now + AHEAD,
        }
        if not windows:
            page["empty"] = {
                "heading": "No windows and no freezes",
                "sentence": "A change may start at any time. A freeze is a file with kind: Window.",
                "command": "airboss apply -f window.yaml",
            }
        return self._frame.page(visit, "calendar", page)

    # -- blocked versions ------------------------------------------------------------------------------------------

    def versions(self, visit: Visit) -> Response:
        """List the versions that may not start again. One query."""
        require(visit.actor, Act.CHANGE_READ)
        rows = [_blocked(one, visit) for one in blocked_view(self._frame.house, visit.actor)]
        page: VersionsPage = {"shell": self._frame.shell(visit), "rows": rows}
        if not rows:
            page["empty"] = {
                "heading": "No version is blocked",
                "sentence": "What a gate convicts is blocked here, so that nobody starts it again by mistake.",
            }
        return self._frame.page(visit, "versions", page)

    def lift(self, visit: Visit) -> Response:
        """Let a blocked version start again."""
        service, digest = visit.form.get("service", ""), visit.form.get("digest", "")
        self._frame.house.rollouts.lift(service, digest, visit.form.get("reason", ""), visit.actor)
        told = f"{digest[:19]} of {service} may start again. It is recorded with your name and reason."
        return see("/versions", told=flash_of("waiting", "Lifted.", told))


def _pack(one: View) -> Pack:
    return {
        "name": one["name"],
        "version": one["version"],
        "layer": one["layer"],
        "owner": one["owner"],
        "digest": one["digest"],
        "revision": one["revision"],
        "applied_by": one["applied_by"],
        "applied_at": parse_rfc3339(one["applied_at"]),
        "rules": one["rules"],
        "tests": one["tests"],
    }


def _window(one: View) -> WindowRow:
    scope = {name: values for name, values in one["scope"].items() if values}
    reach = "; ".join(f"{name} {listed(values)}" for name, values in scope.items())
    nothing = "only changes that name it" if one["allow"] else "every change"
    if one["active"]:
        state: State = {
            "tone": "well" if one["allow"] else "needs",
            "word": "Open now" if one["allow"] else "Frozen now",
        }
    else:
        state = {"tone": "waiting", "word": "Not now"}
    return {
        "name": one["name"],
        "allow": one["allow"],
        "state": state,
        "reach": reach or nothing,
        "reason": one["reason"] or "",
        "zone": one["zone"],
        "until": None if one["until"] is None else parse_rfc3339(one["until"]),
        "next": None if one["next"] is None else parse_rfc3339(one["next"]),
        "spans": [(parse_rfc3339(span["start"]), parse_rfc3339(span["end"])) for span in one["ahead"]],
    }


def _blocked(one: View, visit: Visit) -> BlockedRow:
    action: Action = {
        "name": f"lift-{one['digest'].removeprefix('sha256:')[:16]}-{one['service']}",
        "label": "Lift",
        "href": "/versions/lift",
        "hidden": {"service": one["service"], "digest": one["digest"]},
        "look": "danger",
        "confirm": "It harmed once. Lifted, the same digest may be proposed and started again, by its gates as before.",
        "confirm_label": "Lift the block",
        "fields": [{"name": "reason", "label": "Reason", "required": True, "hint": "Kept in the record."}],
    }
    allowed = may(visit.actor, Act.CHANGE_COMMAND, Scope(services=frozenset({one["service"]})))
    return {
        "service": one["service"],
        "digest": one["digest"],
        "sentence": one["sentence"],
        "href": f"/changes/{one['change_id']}",
        "change": one["change_id"],
        "at": one["at"] if not isinstance(one["at"], str) else parse_rfc3339(one["at"]),
        "action": action if allowed else None,
    }
