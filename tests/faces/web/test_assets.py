"""The files that pages ask for: named by content, small, kept as long as they may be."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from airboss.faces.web import Assets
from airboss.kernel.errors import Unavailable


def _ask(assets: Assets, path: str, *, query: bytes = b"", method: str = "GET", **headers: str):
    sent = []

    async def send(message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(assets(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets()


def test_a_file_asked_by_its_content_is_kept_for_ever(assets: Assets) -> None:
    """The address changes with the content, so a browser need not ask again; an old address is asked again."""
    path, _, query = assets.url("airboss.css").partition("?")
    status, headers, body = _ask(assets, path, query=query.encode())
    assert status == 200
    assert b"immutable" in headers[b"cache-control"]
    assert body == assets.files["airboss.css"].body
    assert b"no-cache" in _ask(assets, path)[1][b"cache-control"]


def test_files_are_packed_where_that_is_understood(assets: Assets) -> None:
    """Packed bytes unpack to the same file, and go only to who asked for them."""
    status, headers, body = _ask(assets, "/static/vendor/htmx.min.js", accept_encoding="gzip, br")
    assert (status, headers[b"content-encoding"]) == (200, b"gzip")
    assert gzip.decompress(body) == assets.files["vendor/htmx.min.js"].body
    assert len(body) < 20_000


def test_an_unchanged_file_is_not_sent_again(assets: Assets) -> None:
    """A browser that names what it has gets nothing."""
    etag = f'"{assets.files["airboss.js"].mark}"'
    assert _ask(assets, "/static/airboss.js", if_none_match=etag)[::2] == (304, b"")


@pytest.mark.parametrize(
    "path", ["/static/../assets.py", "/static/%2e%2e/render.py", "/static/nothing.css", "/static/"]
)
def test_nothing_else_is_served(assets: Assets, path: str) -> None:
    """Only the files read at the start exist; a path is a name, never a way through folders."""
    assert _ask(assets, path)[0] == 404


def test_files_are_read_only(assets: Assets) -> None:
    """POST to a file is refused, HEAD tells its size."""
    assert _ask(assets, "/static/airboss.css", method="POST")[0] == 405
    status, headers, body = _ask(assets, "/static/airboss.css", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) == len(assets.files["airboss.css"].body)


def test_an_unfinished_build_is_told_with_the_way_out(tmp_path: Path) -> None:
    """A package without its JavaScript says how to get it instead of serving broken pages."""
    with pytest.raises(Unavailable, match="fetched when the package is built") as told:
        Assets(tmp_path)
    assert "hatch_build.py" in str(told.value.way_out)
