"""The site: which address is which page, and which form is which use case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NotRequired

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from typing_extensions import TypedDict

from airboss.bootstrap import House
from airboss.faces.web.acting import Acting
from airboss.faces.web.audit_page import Auditing
from airboss.faces.web.flags_page import Flagging
from airboss.faces.web.frame import Frame
from airboss.faces.web.inbox_page import Inbox
from airboss.faces.web.list_page import Listing
from airboss.faces.web.on_call_page import OnCall
from airboss.faces.web.people_page import Peopling
from airboss.faces.web.reading import LiveAddress, Reading
from airboss.faces.web.reviews_page import ReviewList
from airboss.faces.web.rules_page import Ruling
from airboss.faces.web.services_page import Services
from airboss.faces.web.signing import Signing
from airboss.faces.web.views import Shell
from airboss.faces.web.visits import Handler, Visit, endpoint, local, quoted, see
from airboss.faces.web.words import sentence
from airboss.kernel.errors import AirbossError
from airboss.people.access import ANONYMOUS, Actor


class ErrorPage(TypedDict):
    """A refusal or a fault: what, where, why, and the way out; the same words as the API's problem+json."""

    shell: Shell
    status: int
    title: str
    detail: str
    code: str
    place: NotRequired[str]
    way_out: NotRequired[str]
    back: NotRequired[str]


def live_address(change_id: str) -> str:
    """Return the address of a change's events, as the API has it."""
    return f"/api/v1/changes/{change_id}/events"


LISTS: Final = frozenset({"flags", "people", "versions", "audit"})
"""First parts of addresses that are pages by themselves."""


class Web:
    """The pages of one house: `routes` for the application, `error_page` for what it refuses."""

    def __init__(self, house: House, *, live: LiveAddress = live_address) -> None:
        self._frame = Frame(house)
        self._signing = Signing(self._frame)
        self._listing = Listing(self._frame)
        self._reading = Reading(self._frame, live=live)
        self._acting = Acting(self._frame)
        self._flagging = Flagging(self._frame)
        self._on_call = OnCall(self._frame)
        self._inbox = Inbox(self._frame)
        self._reviews = ReviewList(self._frame)
        self._services = Services(self._frame)
        self._auditing = Auditing(self._frame)
        self._peopling = Peopling(self._frame)
        self._ruling = Ruling(self._frame)

    @property
    def routes(self) -> list[BaseRoute]:
        """Every address of the site."""

        def get(path: str, handle: Handler, *, public: bool = False) -> Route:
            return Route(path, endpoint(handle, public=public), methods=["GET"], include_in_schema=False)

        def post(path: str, handle: Handler, *, public: bool = False) -> Route:
            return Route(path, endpoint(handle, public=public), methods=["POST"], include_in_schema=False)

        signing, reading, acting = self._signing, self._reading, self._acting
        return [
            Mount("/static", app=self._frame.assets),
            get("/sign-in", signing.ask_sign_in, public=True),
            get("/sign-in/{secret}", signing.ask_link, public=True),
            post("/sign-in", signing.sign_in, public=True),
            post("/sign-out", signing.sign_out),
            get("/password", signing.ask_password),
            post("/password", signing.set_password),
            get("/", self._listing.changes),
            get("/changes", self._listing.changes),
            get("/inbox", self._inbox.show),
            get("/reviews", self._reviews.show),
            get("/services", self._services.listing),
            get("/services/{name}", self._services.one),
            get("/changes/{change}", reading.change),
            get("/changes/{change}/live", reading.change_live),
            get("/changes/{change}/plots/{gate}.json", reading.plot),
            get("/changes/{change}/facts/{position:int}/proof", reading.proof),
            get("/changes/{change}/evidence-pack", reading.evidence_pack),
            post("/changes/{change}/submit", acting.submit),
            post("/changes/{change}/cancel", acting.cancel),
            post("/changes/{change}/votes/{verdict}", acting.vote),
            post("/changes/{change}/orders/{verb}", acting.order),
            post("/changes/{change}/review/{review}/close", acting.close_review),
            get("/changes/{change}/evidence-pack.html", self._auditing.evidence_html),
            get("/changes/{change}/evidence-pack.zip", self._auditing.evidence_zip),
            get("/audit", self._auditing.audit),
            post("/audit/verify", self._auditing.check),
            get("/people", self._peopling.people),
            post("/people", self._peopling.add),
            post("/people/{handle}/link", self._peopling.link),
            post("/people/{handle}/role", self._peopling.role),
            post("/people/{handle}/disable", self._peopling.disable),
            post("/people/{handle}/enable", self._peopling.enable),
            post("/tokens", self._peopling.issue),
            post("/tokens/{token}/revoke", self._peopling.revoke),
            get("/policy", self._ruling.policy),
            get("/calendar", self._ruling.calendar),
            get("/versions", self._ruling.versions),
            post("/versions/lift", self._ruling.lift),
            get("/on-call", self._on_call.page),
            get("/on-call/live", self._on_call.live),
            get("/flags", self._flagging.flags),
            get("/flags/{name}", self._flagging.flag),
            post("/flags/{name}/kill", self._flagging.kill),
            post("/flags/{name}/unkill", self._flagging.unkill),
        ]

    def error_page(self, request: Request, problem: Mapping[str, Any]) -> Response:
        """Return what was refused as a page with its way out; whoever is not signed in is led to where they can."""
        if problem["status"] == 401 and request.method in ("GET", "HEAD"):
            asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            response = see("/sign-in" if asked == "/" else f"/sign-in?next={quoted(local(asked))}")
            if "airboss_session" in request.cookies:
                request.app.state.doorkeeper.let_out(response)
            return response
        actor = self._known(request)
        visit = Visit(request=request, actor=actor, form={})
        page: ErrorPage = {
            "shell": self._frame.shell(visit, waiting=0),  # whatever is broken, this page is shown
            "status": problem["status"],
            "title": problem["title"],
            "detail": sentence(problem["detail"]),
            "code": problem["code"],
            "back": _back_address(request),
        }
        if problem.get("place"):
            page["place"] = problem["place"]
        if problem.get("way_out"):
            page["way_out"] = sentence(problem["way_out"])
        return self._frame.page(visit, "error", page, status=problem["status"])

    def _known(self, request: Request) -> Actor:
        try:
            found: Actor = request.app.state.doorkeeper.actor(request)
        except AirbossError:
            return ANONYMOUS
        return found


def routes(house: House, live: LiveAddress = live_address) -> Web:
    """Return the site of a house; it has `routes`. `live` gives the address of a change's events."""
    return Web(house, live=live)


def error_page(house: House) -> Callable[[Request, Mapping[str, Any]], Response]:
    """Return what shows a refusal (problem document) to a person's browser."""
    return Web(house).error_page


def _back_address(request: Request) -> str:
    """Return where "back" leads: the page of what was acted on, else the list it is in, else the first page."""
    parts = request.url.path.split("/")
    if len(parts) > 3 and parts[1] in ("changes", "flags"):
        return f"/{parts[1]}/{parts[2]}"
    if parts[1] == "tokens":
        return "/people"
    return f"/{parts[1]}" if len(parts) > 2 and parts[1] in LISTS else "/"
