"""How long a person waits for the first answer: of the command line, of a server, and for its first page.

A start here has its files in the machine's page cache, as the second start of a day has. The peers: Python itself, and Python
with what any server of this kind imports (FastAPI, SQLAlchemy, numpy).
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urljoin

import httpx

from bench.server import AIRBOSS, Served, new_folder, served
from bench.table import Effort, Row, interleaved, named, over

IMPORTS = "import fastapi, sqlalchemy, numpy, uvicorn"
_ASSET = re.compile(r"""<(?:link|script|img)\b[^>]*?(?:href|src)="(/[^"]+)\"""")


def ran(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def ready(folder: Path) -> float:
    with served(folder) as server:
        return server.ready_s


def page_bytes(server: Served) -> tuple[int, int]:
    """Sign in and fetch the first page with everything it names, as a browser with an empty cache would. Return the
    bytes of all bodies as they came over the wire, and how many there were."""
    with httpx.Client(base_url=server.url, headers={"accept-encoding": "gzip", "origin": server.url}) as client:
        assert server.link is not None
        answer = client.post("/api/v1/session", json={"link": server.link.rpartition("/")[2], "handle": "admin"})
        assert answer.status_code == 201, answer.text
        page = client.get("/", follow_redirects=True)
        assert page.status_code == 200, page.text
        assert "text/html" in page.headers["content-type"]
        found = [page]
        for path in sorted(set(_ASSET.findall(page.text))):
            asset = client.get(urljoin(str(page.url), path))
            if "text/html" not in asset.headers.get("content-type", ""):  # rel=next and the like are not fetched
                assert asset.status_code == 200, path
                found.append(asset)
        return sum(one.num_bytes_downloaded for one in found), len(found)


def rows(effort: Effort) -> Iterator[Row]:
    with new_folder() as folder:
        with served(folder) as server:
            first, (size, parts) = server.ready_s, page_bytes(server)
        contenders: dict[str, Callable[[], float]] = {
            "help": lambda: ran([AIRBOSS, "--help"]),
            "python": lambda: ran([sys.executable, "-c", "pass"]),
            "ready": lambda: ready(folder),
            "imports": lambda: ran([sys.executable, "-c", IMPORTS]),
        }
        found = interleaved(contenders, effort.of(7, quick=3))
    yield Row(
        what="cold start: `airboss --help`",
        ours=found["help"].told(2, "s"),
        peer=f"python -c pass: {found['python'].told(2, 's')}",
        goal="≤ 0.3 s",
        reached=found["help"].median <= 0.3,
    )
    yield Row(
        what="cold start: `airboss serve` says that it listens",
        ours=found["ready"].told(2, "s"),
        peer=f"importing {named('fastapi')}, {named('sqlalchemy')} and {named('numpy')}: {found['imports'].told(2, 's')}",
        ratio=over(found["ready"], found["imports"]).told(1, "× the time"),
        goal="≤ 2 s",
        reached=found["ready"].median <= 2,
        note=f"the first start in a new folder, with its schema, {first:.2f} s",
    )
    yield Row(
        what="first page after signing in, with all it loads",
        ours=f"{size / 1000:.1f} kB in {parts} answers",
        goal="≤ 100 kB",
        reached=size <= 100_000,
    )
