"""What stands around every page: the bar, the flash, the header fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from starlette.responses import Response

from airboss import __version__
from airboss.bootstrap import House
from airboss.faces.reads import waiting_for
from airboss.faces.web.assets import Assets
from airboss.faces.web.render import Page, Renderer
from airboss.faces.web.views import Fault, NavItem, Shell, State, Tone
from airboss.faces.web.visits import Visit, html
from airboss.faces.web.words import sentence
from airboss.kernel.errors import AirbossError
from airboss.people.access import Actor

FIRST: Final = "/changes"
INBOX: Final = "/inbox"
PLACES: Final = (("Changes", FIRST), ("Inbox", INBOX), ("On call", "/on-call"), ("Flags", "/flags"))
"""What the bar leads to; everybody who is signed in may look at all of it. The first ones have room on a phone."""
MORE: Final = (
    ("Services", "/services"),
    ("Reviews", "/reviews"),
    ("Policy", "/policy"),
    ("Calendar", "/calendar"),
    ("Blocked versions", "/versions"),
    ("People and tokens", "/people"),
    ("Audit", "/audit"),
)
"""What the menu at the end of the bar leads to; on a phone also what the bar has no room for."""


class Frame:
    """Renders pages of one house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.assets = Assets()
        self._renderer = Renderer(self.assets)

    def shell(self, visit: Visit, *, waiting: int | None = None) -> Shell:
        """Return what every page has. `waiting` changes wait for the reader's word; where nobody knows, eight queries tell."""
        shell: Shell = {
            "now": self.house.clock.now(),
            "user": None,
            "nav": [],
            "version": __version__,
            "demo": self.house.settings.demo,
        }
        if visit.actor.kind != "anonymous":
            path = visit.request.url.path
            shell["user"], shell["role"] = visit.actor.name, str(visit.actor.role)
            shell["nav"] = [_item(label, href, path) for label, href in PLACES]
            shell["more"] = [_item(label, href, path) for label, href in MORE]
            count = self._waiting(visit.actor) if waiting is None else waiting
            next(item for item in shell["nav"] if item["href"] == INBOX)["count"] = count
        flash = visit.flash()
        if flash is not None:
            shell["flash"] = flash
        return shell

    def _waiting(self, actor: Actor) -> int:
        with self.house.store.read() as connection:
            return len(waiting_for(self.house, connection, actor))

    def page(self, visit: Visit, name: Page, view: Mapping[str, Any], *, status: int = 200) -> Response:
        """Return a page as a response."""
        return html(visit.request, self._renderer.page(name, view), status=status)


def _item(label: str, href: str, path: str) -> NavItem:
    current = path == href or path.startswith(f"{href}/") or (path == "/" and href == FIRST)
    return {"label": label, "href": href, "current": current}


def flash_of(tone: Tone, word: str, words: str) -> State:
    """Return what the next page tells of an action."""
    return {"tone": tone, "word": word, "sentence": words}


def fault_of(fault: AirbossError, fields: Collection[str], *, otherwise: str) -> Fault:
    """Return what is wrong with a form, at the field it is about where the refusal says so."""
    place = (fault.place or "").rpartition(".")[2]
    return {"field": place if place in fields else otherwise, "words": told(fault)}


def told(fault: AirbossError) -> str:
    """Return a refusal in words, with its way out."""
    return f"{sentence(fault.detail)} {sentence(fault.way_out)}" if fault.way_out else sentence(fault.detail)
