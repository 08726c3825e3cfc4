"""The page of the record: its head, its key, what a check says, and one change's facts to take away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.bootstrap import state_digests
from airboss.faces.reads import audit_view, evidence_archive, evidence_page, evidence_view, facts_view
from airboss.faces.web.frame import Frame, fault_of
from airboss.faces.web.render import SECURITY_HEADERS
from airboss.faces.web.views import Fault, Shell, State
from airboss.faces.web.visits import Visit
from airboss.kernel.clock import parse_rfc3339
from airboss.kernel.errors import AirbossError
from airboss.kernel.ids import change_id
from airboss.people.access import Action, require
from airboss.records.audit import verify

View = Mapping[str, Any]

FINDINGS_MOST: Final = 50


class FactRow(TypedDict):
    """One fact of a table. `proof` is where it is proven, None where only the export does; `about` the page of its change."""

    position: int
    at: datetime
    actor: str
    text: str
    type: str
    subject: str
    about: str | None
    proof: str | None


class Signed(TypedDict):
    """The last checkpoint."""

    size: int
    root: str
    at: datetime


class Of(TypedDict):
    """The change whose facts were asked for."""

    id: str
    title: str
    facts: list[FactRow]


class Report(TypedDict):
    """What a check of the whole record says. `findings` are {kind, place, sentence}, `more` are left out."""

    state: State
    findings: list[Mapping[str, Any]]
    more: int
    caveats: list[str]


class AuditPage(TypedDict):
    """The record as a whole, and one change's part of it."""

    shell: Shell
    size: int
    unsigned: int
    origin: str
    key: str
    fingerprint: str
    checkpoint: Signed | None
    newest: list[FactRow]
    given: dict[str, str]
    found: Of | None
    fault: Fault | None
    report: Report | None
    commands: list[str]


class Auditing:
    """Handlers of the record."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def audit(self, visit: Visit) -> Response:
        """Show the record, and the facts of the change that is asked for. Some twelve queries."""
        return self._page(visit, None)

    def check(self, visit: Visit) -> Response:
        """Verify the whole record as this server has it, and show what was found. Reads all of it."""
        require(visit.actor, Action.AUDIT_READ)
        house = self._frame.house
        with house.store.read() as connection:
            report = verify(connection, public_key=house.signer.vkey, state_digests=state_digests())
        return self._page(visit, report.as_json())

    def _page(self, visit: Visit, report: View | None) -> Response:
        house = self._frame.house
        require(visit.actor, Action.AUDIT_READ)
        given = {"change": visit.query.get("change", "").strip()[:100]}
        found: Of | None = None
        fault = None
        with house.store.read() as connection:
            view = audit_view(house, connection)
            if given["change"]:
                try:
                    change = house.changes.read(connection, change_id(given["change"]))
                    told = facts_view(house, connection, change.id)
                    found = {"id": change.id, "title": change.title, "facts": [_fact(one) for one in told]}
                except AirbossError as refused:
                    fault = fault_of(refused, ("change",), otherwise="change")
        checkpoint = view["checkpoint"]
        page: AuditPage = {
            "shell": self._frame.shell(visit),
            "size": view["size"],
            "unsigned": view["unsigned"],
            "origin": view["origin"],
            "key": view["key"],
            "fingerprint": view["fingerprint"],
            "checkpoint": None
            if checkpoint is None
            else {"size": checkpoint["size"], "root": checkpoint["root"], "at": parse_rfc3339(checkpoint["at"])},
            "newest": [_fact(one) for one in view["newest"]],
            "given": given,
            "found": found,
            "fault": fault,
            "report": None if report is None else _reported(report),
            "commands": [
                "airboss audit key -o airboss.pub",
                "airboss audit export -o journal.jsonl",
                "airboss audit verify journal.jsonl --key airboss.pub",
            ],
        }
        return self._frame.page(visit, "audit", page, status=200 if fault is None else 422)

    def evidence_html(self, visit: Visit) -> Response:
        """Hand out the page of a change's evidence, as a file."""
        house = self._frame.house
        require(visit.actor, Action.AUDIT_READ)
        change = house.changes.get(visit.path["change"], actor=visit.actor)
        with house.store.read() as connection:
            text = evidence_page(evidence_view(house, connection, change))
        return _file(text.encode(), "text/html", f"{change.id}-evidence.html")

    def evidence_zip(self, visit: Visit) -> Response:
        """Hand out everything of a change's evidence, as one file."""
        house = self._frame.house
        require(visit.actor, Action.AUDIT_READ)
        change = house.changes.get(visit.path["change"], actor=visit.actor)
        with house.store.read() as connection:
            data = evidence_archive(house, connection, change)
        return _file(data, "application/zip", f"{change.id}-evidence.zip")


def _file(data: bytes, kind: str, name: str) -> Response:
    headers = {**SECURITY_HEADERS, "content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=kind, headers=headers)


def _fact(one: View) -> FactRow:
    subject = str(one["subject"])
    proven = subject.startswith("chg_") and one["position"] >= 0
    return {
        "position": one["position"],
        "actor": one["actor"],
        "text": one["text"],
        "type": one["type"],
        "subject": subject,
        "at": parse_rfc3339(one["at"]),
        "about": f"/changes/{subject}" if subject.startswith("chg_") else None,
        "proof": f"/changes/{subject}/facts/{one['position']}/proof" if proven else None,
    }


def _reported(report: View) -> Report:
    count = len(report["findings"]) + report["findings_left_off"]
    looked = (
        f"{report['size']:,} entries about {report['subjects']:,} subjects, {report['checkpoints']} checkpoints, "
        f"{report['signatures']} signatures, {report['states']} state rows and {report['texts']} texts were checked"
    )
    if report["ok"]:
        state: State = {"tone": "well", "word": "As it was recorded", "sentence": f"Just now: {looked}."}
    else:
        words = "1 thing is" if count == 1 else f"{count} things are"
        state = {"tone": "harmed", "word": "Not as recorded", "sentence": f"{words} not as recorded: {looked}."}
    return {
        "state": state,
        "findings": report["findings"][:FINDINGS_MOST],
        "more": max(0, count - FINDINGS_MOST),
        "caveats": report["caveats"],
    }
