"""The files that pages ask for: read once, named by their content, packed once.

A page names a file as `/static/airboss.css?v=<hash>`; with the hash an answer may be kept for ever, since new content has
another name.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from airboss.kernel.errors import Unavailable

HERE: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOR_EVER: Final = b"public, max-age=31536000, immutable"
ASK_AGAIN: Final = b"public, no-cache"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file. `mark` is the start of its SHA-256; `packed` its bytes as gzip."""

    name: str
    kind: str
    body: bytes
    packed: bytes
    mark: str


class Assets:
    """All files below a folder, in memory; also the ASGI application that serves them under /static/."""

    def __init__(self, folder: Path = HERE) -> None:
        """Raises Unavailable when the files fetched at build time are missing."""
        if not (folder / "vendor" / "htmx.min.js").is_file():
            raise Unavailable(
                "the web face's JavaScript is not there: it is fetched when the package is built",
                code="web-files-missing",
                way_out="install Airboss again (make demo), or run `python hatch_build.py` in the checkout",
            )
        self.files: Mapping[str, Asset] = MappingProxyType(
            {
                asset.name: asset
                for path in sorted(folder.rglob("*"))
                if path.suffix in TYPES
                for asset in [_read(path, path.relative_to(folder).as_posix())]
            }
        )

    def url(self, name: str) -> str:
        """Return the address of a file. Raises KeyError for one that does not exist: a template's fault."""
        return f"/static/{name}?v={self.files[name].mark}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's signature
        """Answer GET and HEAD for one file; `scope["path"]` ends with its name."""
        name = str(scope["path"]).rpartition("/static/")[2]
        asset = self.files.get(name)
        if asset is None or scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 404 if asset is None else 405, [(b"content-type", b"text/plain")], b"")
            return
        asked = dict(scope["headers"])
        etag = f'"{asset.mark}"'.encode()
        fixed = f"v={asset.mark}".encode() in bytes(scope.get("query_string", b""))
        headers = [
            (b"content-type", asset.kind.encode()),
            (b"cache-control", FOR_EVER if fixed else ASK_AGAIN),
            (b"etag", etag),
            (b"vary", b"accept-encoding"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if asked.get(b"if-none-match") == etag:
            await _answer(send, 304, headers, b"")
            return
        body = asset.body
        if b"gzip" in asked.get(b"accept-encoding", b""):
            body = asset.packed
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", str(len(body)).encode()))
        await _answer(send, 200, headers, b"" if scope["method"] == "HEAD" else body)


def _read(path: Path, name: str) -> Asset:
    body = path.read_bytes()
    return Asset(
        name=name,
        kind=TYPES[path.suffix],
        body=body,
        packed=gzip.compress(body, 9, mtime=0),
        mark=hashlib.sha256(body).hexdigest()[:16],
    )


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
