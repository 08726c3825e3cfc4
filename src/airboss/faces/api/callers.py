"""Who is asking: from a bearer token or the session cookie to an Actor, and back to a cookie.

Every route of the API but the public ones is a `Guarded` route: it knows its caller before it reads the request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from airboss.bootstrap import House
from airboss.faces.api.once import once
from airboss.faces.reads import Courses
from airboss.kernel.errors import Unauthenticated
from airboss.people.access import ANONYMOUS, Actor
from airboss.people.identity import Identity, SignedIn

COOKIE: Final = "airboss_session"


class Doorkeeper:
    """Knows callers. One for the application; web pages ask it too."""

    def __init__(self, identity: Identity, *, secure: bool) -> None:
        self._identity = identity
        self._secure = secure

    def actor(self, request: Request) -> Actor:
        """Return who sent a request, ANONYMOUS without any proof. Raises Unauthenticated for a proof that is not good.

        A token goes before a cookie. At most one query.
        """
        given = request.headers.get("authorization")
        if given is not None:
            return self._identity.authenticate_token(bearer(given))
        secret = request.cookies.get(COOKIE)
        return ANONYMOUS if secret is None else self._identity.authenticate_session(secret)

    def known(self, request: Request) -> Actor:
        """Return who sent a request. Raises Unauthenticated, also without any proof."""
        found = self.actor(request)
        if found.kind == "anonymous":
            raise Unauthenticated(
                "nobody is signed in", way_out="sign in, or send a token: Authorization: Bearer abt_…"
            )
        return found

    def let_in(self, response: Response, session: SignedIn, *, now_s: float) -> None:
        """Put a session into a cookie; `now_s` in Unix seconds."""
        response.set_cookie(
            COOKIE,
            session.secret,
            max_age=max(0, int(session.expires_at.timestamp() - now_s)),
            httponly=True,
            secure=self._secure,
            samesite="lax",
        )

    def let_out(self, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(COOKIE, httponly=True, secure=self._secure, samesite="lax")


def bearer(header: str) -> str:
    """Return the secret of an Authorization header. Raises Unauthenticated."""
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip().isascii():
        raise Unauthenticated("this is not a token", way_out="send it as Authorization: Bearer abt_…")
    return secret.strip()


class Guarded(APIRoute):
    """A route that is answered to known callers only; what they may do is judged by the service it calls."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the caller's name asked first."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            keeper: Doorkeeper = request.app.state.doorkeeper
            actor = await run_in_threadpool(keeper.known, request)
            request.state.actor = actor
            if request.method == "POST":
                return await once(request, actor, self.path_format, handle)
            return await handle(request)

        return guarded


async def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


async def _caller(request: Request) -> Actor:
    actor: Actor = request.state.actor
    return actor


async def _courses(request: Request) -> Courses:
    courses: Courses = request.app.state.courses
    return courses


HouseHere = Annotated[House, Depends(_house)]
Caller = Annotated[Actor, Depends(_caller)]
CoursesHere = Annotated[Courses, Depends(_courses)]
