"""When to look again: word of the change's event stream, or a second while there is no stream.

The stream only says that something moved; what a command shows it asks for each time. A stream that breaks (the server
starts again, a proxy cuts it) is followed again from its last position, so that nothing that moved meanwhile is missed.
"""

from __future__ import annotations

import threading
import time
from typing import Final, Self

from airboss.faces.cli.client import Api
from airboss.faces.cli.problems import Problem

AGAIN_S: Final = 2.0
"""How long a broken stream rests before it is followed again."""
REST_S: Final = 15.0
"""How long one look is good for while the stream is silent: in case a word is lost on the way."""


class Pulse:
    """Follows the stream of one change in a thread of its own; without one it beats as often as it is asked."""

    def __init__(self, api: Api, change_id: str) -> None:
        self._api = api
        self._path = f"/changes/{change_id}/events"
        self._heard = threading.Event()
        self._ended = threading.Event()
        self._up = False
        self._position: str | None = None
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        threading.Thread(target=self._follow, name="airboss-watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @property
    def up(self) -> bool:
        """Whether a stream is being heard."""
        return self._up

    def wait(self, most_s: float) -> bool:
        """Wait for word, at most so many seconds; return whether to look: word came, none can come, or it was long ago."""
        heard = self._heard.wait(most_s)
        self._heard.clear()
        due = heard or not self._up or time.monotonic() - self._looked >= REST_S
        if due:
            self._looked = time.monotonic()
        return due

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                for line in self._api.stream(self._path, after=self._position):
                    if self._ended.is_set():
                        return
                    self._hear(line)
            except Problem:
                pass  # whoever looks is told why; here it only means to look again and again
            self._up = False
            self._heard.set()
            self._ended.wait(AGAIN_S)

    def _hear(self, line: str) -> None:
        """Take one line of the stream: its first says that it stands, an ID where to go on from, data that something moved."""
        if not self._up:
            self._up = True
            self._heard.set()  # what moved before it stood
        if line.startswith("id: "):
            self._position = line.removeprefix("id: ")
        elif line.startswith("data: "):
            self._heard.set()
