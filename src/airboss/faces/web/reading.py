"""The pages that show changes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TypeAlias

from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from airboss.changes import Phase
from airboss.faces.reads import (
    Courses,
    Dossier,
    approver_view,
    canary_gates,
    change_view,
    course_view,
    exemplars_view,
    explanation_view,
    facts_view,
    forecast_view,
    proof_view,
)
from airboss.faces.web.change_page import More, change_page
from airboss.faces.web.change_views import ChangePage, Entry
from airboss.faces.web.frame import Frame
from airboss.faces.web.plots import plot_data
from airboss.faces.web.render import SECURITY_HEADERS
from airboss.faces.web.views import Shell
from airboss.faces.web.visits import Visit
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import AirbossError
from airboss.people.access import Action, require
from airboss.records.audit import evidence

LiveAddress: TypeAlias = Callable[[str], str]
"""The address of a change's events."""


class ProofPage(TypedDict):
    """The proof of one fact: the path from its leaf to a signed root, and the commands that check it offline."""

    shell: Shell
    change: str
    href: str
    title: str
    entry: Entry
    size: int
    root: str
    origin: str
    path: list[str]
    checkpoint: str
    key: str
    commands: list[str]
    download: str


def _courses(visit: Visit) -> Courses:
    found: Courses = visit.request.app.state.courses
    return found


class Reading:
    """Handlers of one change, of its plots, proofs and its record."""

    def __init__(self, frame: Frame, *, live: LiveAddress) -> None:
        self._frame = frame
        self._live = live

    def change(self, visit: Visit) -> Response:
        """Show one change, and remember that the reader looked. At most some sixty queries, whatever its size and however
        many changes there are, and the telemetry's.
        """
        page = self._change_page(visit)
        if page["approval"] is not None and page["approval"]["weighed"]:
            with contextlib.suppress(AirbossError):  # somebody reads it even where nothing can be written
                self._frame.house.approvals.looked(page["id"], visit.actor)
        return self._frame.page(visit, "change", page)

    def change_live(self, visit: Visit) -> Response:
        """Show the parts of a change that move."""
        return self._frame.page(visit, "live", self._change_page(visit, waiting=0))

    def _change_page(self, visit: Visit, *, waiting: int | None = None) -> ChangePage:
        """Return the page; `waiting` as `Frame.shell` has it."""
        house, now = self._frame.house, self._frame.house.clock.now()
        change = house.changes.get(visit.path["change"], actor=visit.actor)
        with house.store.read() as connection:
            dossier = Dossier(house=house, connection=connection, change=change, actor=visit.actor)
            view, facts = change_view(dossier), dossier.told
            explained = explanation_view(dossier) if view["decision"] else None
            weighs = approver_view(dossier) if change.phase is Phase.AWAITING_APPROVAL else None
        begun = view["rollout"] is not None and view["rollout"]["started_at"] is not None
        courses = {
            gate.id: course_view(house, change, gate.id, courses=_courses(visit), told=facts, now=now)
            for gate in canary_gates(change)
        }
        before = change.phase in (Phase.IN_REVIEW, Phase.AWAITING_APPROVAL, Phase.APPROVED, Phase.SCHEDULED)
        return change_page(
            view,
            facts,
            courses,
            shell=self._frame.shell(visit, waiting=waiting),
            actor=visit.actor,
            forecast=forecast_view(house, change) if before else [],
            more=More(explained=explained, weighs=weighs, exemplars=exemplars_view(house, change) if begun else None),
            live=self._live(change.id),
            whole="all" in visit.query,
        )

    def plot(self, visit: Visit) -> Response:
        """Give the numbers of a plot. Five queries and the telemetry's."""
        house = self._frame.house
        require(visit.actor, Action.TELEMETRY_READ)
        change = house.changes.get(visit.path["change"], actor=visit.actor)
        with house.store.read() as connection:
            facts = facts_view(house, connection, change.id)
        course = course_view(
            house, change, visit.path["gate"], courses=_courses(visit), told=facts, now=house.clock.now()
        )
        return JSONResponse(plot_data(course), headers=SECURITY_HEADERS)

    def proof(self, visit: Visit) -> Response:
        """Show that a fact is in the signed journal."""
        house = self._frame.house
        require(visit.actor, Action.AUDIT_READ)
        change = house.changes.get(visit.path["change"], actor=visit.actor)
        with house.store.read() as connection:
            found = proof_view(house, connection, change, int(visit.path["position"]))
        href = f"/changes/{change.id}"
        fact = found["fact"]
        page: ProofPage = {
            "shell": self._frame.shell(visit),
            "change": change.id,
            "href": href,
            "title": change.title,
            "entry": {
                "position": fact["position"],
                "at": parse_rfc3339(fact["at"]),
                "actor": fact["actor"],
                "tone": None,
                "text": fact["text"],
                "raw": fact["raw"],
                "leaf": fact["leaf"],
                "proof": "",
            },
            "size": found["size"],
            "root": found["root"],
            "origin": found["origin"],
            "path": found["path"],
            "checkpoint": found["checkpoint"],
            "key": found["key"],
            "commands": [
                f"airboss audit pack {change.id} --out evidence.json",
                f"airboss audit verify evidence.json --key '{found['key']}'",
            ],
            "download": f"{href}/evidence-pack",
        }
        return self._frame.page(visit, "proof", page)

    def evidence_pack(self, visit: Visit) -> Response:
        """Hand out the record of a change with its proofs, as a file."""
        house = self._frame.house
        require(visit.actor, Action.AUDIT_READ)
        change = house.changes.get(visit.path["change"], actor=visit.actor)
        with house.store.read() as connection:
            pack = evidence(connection, change.id)
        headers = {**SECURITY_HEADERS, "content-disposition": f'attachment; filename="{change.id}-evidence.json"'}
        body = json.dumps(pack, indent=1, ensure_ascii=False)
        return Response(body, media_type="application/json", headers=headers)
