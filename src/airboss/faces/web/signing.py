"""The pages of signing in and out."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired

from starlette.responses import Response
from typing_extensions import TypedDict

from airboss.faces.web.frame import Frame, flash_of, told
from airboss.faces.web.views import Shell
from airboss.faces.web.visits import Visit, local, quoted, see
from airboss.kernel.errors import AirbossError, Invalid, Unauthenticated
from airboss.people.identity import LinkPurpose


class SignInPage(TypedDict):
    """Signing in. With a one-time link: `link` says what it is good for (`handle` None: the person chooses one). Without:
    handle and password.
    """

    shell: Shell
    action: str
    hidden: NotRequired[dict[str, str]]
    """What goes with the form: the link's secret, where to go next."""
    link: NotRequired[SignInLink]
    fault: NotRequired[str]
    handle: NotRequired[str]


class PasswordPage(TypedDict):
    """Setting a password after the first sign-in, so that the next one needs no link. `next` leads on without one."""

    shell: Shell
    next: str
    fault: NotRequired[str]


class SignInLink(TypedDict):
    """A one-time link before it is used."""

    first_admin: bool
    handle: str | None
    expires_at: datetime


class Signing:
    """Handlers of signing in, of setting a password, of signing out."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def ask_sign_in(self, visit: Visit) -> Response:
        """Ask for name and password, or for the link."""
        if visit.actor.kind == "person":
            return see(local(visit.query.get("next")))
        return self._sign_in_page(visit, {"next": local(visit.query.get("next"))})

    def ask_link(self, visit: Visit) -> Response:
        """Say what a link is good for; only the form spends it. One query."""
        secret = visit.path["secret"]
        try:
            found = self._frame.house.identity.sign_in.look_at_link(secret)
        except Unauthenticated as fault:
            return self._sign_in_page(visit, {"next": "/"}, fault=fault)
        page: SignInPage = {
            "shell": self._frame.shell(visit),
            "action": "/sign-in",
            "hidden": {"link": secret, "next": local(visit.query.get("next"))},
            "link": {
                "first_admin": found.purpose is LinkPurpose.FIRST_ADMIN,
                "handle": found.handle,
                "expires_at": found.expires_at,
            },
        }
        return self._frame.page(visit, "sign_in", page)

    def sign_in(self, visit: Visit) -> Response:
        """Spend a link, or try a password; after a link a password is offered."""
        form, after = visit.form, local(visit.form.get("next"))
        signing = self._frame.house.identity.sign_in
        by_link = bool(form.get("link"))
        try:
            if by_link:
                session = signing.use_link(form["link"], handle=form.get("handle") or None)
            else:
                session = signing.with_password(form.get("handle", ""), form.get("password", ""))
        except AirbossError as fault:
            hidden = {"next": after}
            if by_link and isinstance(fault, Invalid):
                return self._retry_link(visit, fault)
            return self._sign_in_page(visit, hidden, fault=fault)
        response = see(f"/password?next={quoted(after)}" if by_link else after)
        visit.doorkeeper.let_in(response, session, now_s=self._frame.house.clock.now().timestamp())
        return response

    def _retry_link(self, visit: Visit, fault: Invalid) -> Response:
        """Show the link's form again: the name was no good, the link still is."""
        found = self._frame.house.identity.sign_in.look_at_link(visit.form["link"])
        page: SignInPage = {
            "shell": self._frame.shell(visit),
            "action": "/sign-in",
            "hidden": {"link": visit.form["link"], "next": local(visit.form.get("next"))},
            "link": {
                "first_admin": found.purpose is LinkPurpose.FIRST_ADMIN,
                "handle": found.handle,
                "expires_at": found.expires_at,
            },
            "handle": visit.form.get("handle", ""),
            "fault": told(fault),
        }
        return self._frame.page(visit, "sign_in", page, status=fault.status)

    def _sign_in_page(self, visit: Visit, hidden: dict[str, str], *, fault: AirbossError | None = None) -> Response:
        page: SignInPage = {"shell": self._frame.shell(visit), "action": "/sign-in", "hidden": hidden}
        if fault is not None:
            page["fault"] = told(fault)
            page["handle"] = visit.form.get("handle", "")
        return self._frame.page(visit, "sign_in", page, status=200 if fault is None else fault.status)

    def sign_out(self, visit: Visit) -> Response:
        """End the session."""
        self._frame.house.identity.sign_in.sign_out(visit.actor)
        response = see("/sign-in")
        visit.doorkeeper.let_out(response)
        return response

    def ask_password(self, visit: Visit) -> Response:
        """Offer to set a password, so that the next sign-in needs no link."""
        return self._password_page(visit, local(visit.query.get("next")))

    def set_password(self, visit: Visit) -> Response:
        """Set the reader's own password."""
        form = visit.form
        after = local(form.get("next"))
        try:
            self._frame.house.identity.sign_in.set_password(
                form.get("password", ""), visit.actor, current=form.get("current") or None
            )
        except AirbossError as fault:
            return self._password_page(visit, after, fault=fault)
        return see(after, told=flash_of("well", "Password set.", "Other sessions of yours have ended."))

    def _password_page(self, visit: Visit, after: str, *, fault: AirbossError | None = None) -> Response:
        page: PasswordPage = {"shell": self._frame.shell(visit), "next": after}
        if fault is not None:
            page["fault"] = told(fault)
        return self._frame.page(visit, "password", page, status=200 if fault is None else fault.status)
