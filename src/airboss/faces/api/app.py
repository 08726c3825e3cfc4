"""The application: every route over one `House`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import BaseRoute

from airboss.bootstrap import House
from airboss.faces.api import problems
from airboss.faces.api.callers import Doorkeeper
from airboss.faces.api.flags import flag_routes
from airboss.faces.api.gate import Gate
from airboss.faces.api.live import Broadcaster
from airboss.faces.api.reference import describe
from airboss.faces.api.routes import audit, changes, estate, people, policies, switches, system
from airboss.faces.reads import Courses
from airboss.kernel import spans
from airboss.people.access import Actor

V1: Final = "/api/v1"


class HasRoutes(Protocol):
    """A router, of FastAPI's or Starlette's."""

    @property
    def routes(self) -> Iterable[BaseRoute]: ...


def create_app(
    house: House, *, web_routes: HasRoutes | None = None, error_page: problems.ErrorPage | None = None
) -> FastAPI:
    """Return the API over a house, with the pages of another face beside it.

    `app.state` holds `house`, `doorkeeper` (who is asking), `live` (streams; `live.close()` ends them) and `courses` (how
    judgements went) for those pages.
    """
    app = FastAPI(
        title="Airboss",
        summary="Air-traffic control for production changes.",
        version="1",
        openapi_url="/openapi.json",
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    base_url = house.settings.base_url
    doorkeeper = Doorkeeper(house.identity, secure=base_url.startswith("https:"))
    live = Broadcaster(house.store, house.journal, house.changes, house.clock, revision=lambda: _flags_revision(house))
    app.state.house, app.state.doorkeeper, app.state.live = house, doorkeeper, live
    app.state.courses = Courses()
    app.state.error_page = error_page

    app.include_router(system.public)
    app.include_router(system.measured)
    app.include_router(people.public, prefix=V1)
    for room in (changes, estate, people, switches, policies, audit, system):
        app.include_router(room.router, prefix=V1)

    def authenticate(request: Request) -> Actor:
        return doorkeeper.actor(request)

    app.router.routes.extend(flag_routes(house.flags, house.store, authenticate, live, house.clock))
    if web_routes is not None:
        app.router.routes.extend(web_routes.routes)
    problems.install(app, base_url)
    app.add_middleware(Gate, settings=house.settings, ids=house.ids)
    if spans.wanted():
        from airboss.faces.api.traced import Traced  # noqa: PLC0415 - OpenTelemetry is loaded only where it is used

        app.add_middleware(Traced)
    describe(app)
    return app


def _flags_revision(house: House) -> int:
    with house.store.read() as connection:
        return house.flags.revision(connection)
