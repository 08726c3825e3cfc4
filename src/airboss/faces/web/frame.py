"""What stands around every page: the bar, the flash, the header fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airboss import __version__
from airboss.bootstrap import House
from airboss.faces.web.assets import Assets
from airboss.faces.web.render import Page, Renderer
from airboss.faces.web.views import Shell, State, Tone
from airboss.faces.web.visits import Visit, html
from airboss.faces.web.words import sentence
from airboss.kernel.errors import AirbossError


class Frame:
    """Renders pages of one house."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.assets = Assets()
        self._renderer = Renderer(self.assets)

    def shell(self, visit: Visit, *, waiting: int = 0) -> Shell:
        """Return what every page has; `waiting` changes wait for the reader's word."""
        shell: Shell = {
            "now": self.house.clock.now(),
            "user": None,
            "nav": [],
            "version": __version__,
            "demo": self.house.settings.demo,
        }
        if visit.actor.kind != "anonymous":
            current = visit.request.url.path in ("/", "/changes")
            shell["user"], shell["role"] = visit.actor.name, str(visit.actor.role)
            shell["nav"] = [{"label": "Changes", "href": "/changes", "current": current, "count": waiting}]
        flash = visit.flash()
        if flash is not None:
            shell["flash"] = flash
        return shell

    def page(self, visit: Visit, name: Page, view: Mapping[str, Any], *, status: int = 200) -> Response:
        """Return a page as a response."""
        return html(visit.request, self._renderer.page(name, view), status=status)


def flash_of(tone: Tone, word: str, words: str) -> State:
    """Return what the next page tells of an action."""
    return {"tone": tone, "word": word, "sentence": words}


def told(fault: AirbossError) -> str:
    """Return a refusal in words, with its way out."""
    return f"{sentence(fault.detail)} {sentence(fault.way_out)}" if fault.way_out else sentence(fault.detail)
