"""The sample pages on a real port, with the headers they have in real life."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

import uvicorn
from tests.faces.web import samples, samples_lists

from airboss.faces.web import SECURITY_HEADERS, Assets, Renderer


class Site:
    """Answers /<sample>, the plots' data and the static files."""

    def __init__(self, *, moving: bool) -> None:
        self.moving = moving
        self.assets = Assets()
        self.renderer = Renderer(self.assets)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/static/"):
            await self.assets(scope, receive, send)
            return
        sample = samples_lists.PAGES.get(path.lstrip("/"))
        if scope["method"] == "POST":
            await self._say(send, 200, "text/html; charset=utf-8", self.renderer.page("error", samples.refusal()))
            return
        if sample is not None:
            template, make = sample
            await self._say(send, 200, "text/html; charset=utf-8", self.renderer.page(template, make()))
        elif path.endswith(".json"):
            await self._say(send, 200, "application/json", json.dumps(samples.plot_data()))
        elif path.endswith("/live"):
            await self._say(send, 200, "text/html; charset=utf-8", self.renderer.page("live", samples.taken_back()))
        elif path.endswith("/stream"):
            await self._stream(receive, send)
        else:
            await self._say(send, 404, "text/plain", "")

    async def _stream(self, receive, send) -> None:
        """One message where something is to move, then silence until the reader leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        first = b'event: moved\nid: 455\ndata: {"what": "moved"}\n\n' if self.moving else b": nothing\n\n"
        await send({"type": "http.response.body", "body": first, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _say(self, send, status: int, kind: str, text: str) -> None:
        body = text.encode()
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        headers += [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def served(*, moving: bool = False) -> Iterator[str]:
    """Serve the samples while the block runs; yields the address."""
    config = uvicorn.Config(
        Site(moving=moving), port=0, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    with config.bind_socket() as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
