"""Has Schemathesis try the whole API of a real server, for as long as it is told: `python -m tests.fuzz.openapi --seconds 1500`.

A server process of its own on an empty data folder, an organisation, people, a change in review, and a token that may do
everything. Streams are left out, because they do not end. What is found stands in the report, with the seed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from tests.faces.api.desk import CHANGE, ORGANISATION

STREAMS: Final = "/(events|stream|sse)$"
SCOPES: Final = ("read", "changes.write", "operate", "approve", "admin")
SETTINGS: Final = """\
[checks.positive_data_acceptance]
# What fits its shape may still mean nothing: no such template, a key used before, an edit of an older version.
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "415", "422", "428", "429"]
"""


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """Give the address of a server with an organisation in it, and an admin's token."""
    command = [sys.executable, "-m", "airboss.faces.cli", "serve", "--port", "0", "--ingest-port", "0"]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen([*command, "--data", str(folder / "data")], stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            yield _organised(process)
        finally:
            process.terminate()


def _organised(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    assert process.stdout is not None
    link, url = "", ""
    for line in process.stdout:
        told = json.loads(line)
        link = told.get("link", link)
        if told["event"] == "ready":
            url = told["url"]
            break
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=30) as admin:
        _done(admin.post("/api/v1/session", json={"link": link.rpartition("/")[2], "handle": "admin"}))
        _done(admin.post("/api/v1/apply", json={"files": [{"source": "estate.yaml", "text": ORGANISATION}]}))
        _done(admin.post("/api/v1/people", json={"handle": "dev-a", "role": "engineer"}))
        _done(admin.post("/api/v1/changes?submit=true", content=CHANGE, headers={"Content-Type": "application/yaml"}))
        asked = {"label": "of a run", "scopes": list(SCOPES), "personal": True, "days": 1}
        return url, _done(admin.post("/api/v1/tokens", json=asked))["secret"]


def _done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def main() -> int:
    """Run Schemathesis and end as it does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=50, help="of one operation in one phase")
    parser.add_argument("--keep", type=Path, help="where the server's log and the report go")
    parser.add_argument("more", nargs="*", help="handed to Schemathesis, after --")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = wanted.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with server(folder) as (url, token):
            (folder / "schemathesis.toml").write_text(SETTINGS)
            command = [str(Path(sys.executable).parent / "schemathesis"), "--config-file", "schemathesis.toml"]
            command += ["run", f"{url}/openapi.json"]
            command += ["--header", f"Authorization: Bearer {token}", "--seed", str(wanted.seed)]
            command += ["--max-time", str(wanted.seconds), "--max-examples", str(wanted.examples)]
            command += ["--request-timeout", "30", "--generation-database", "none", "--continue-on-failure"]
            command += ["--suppress-health-check", "all", "--no-color", "--report", "junit,ndjson"]
            command += ["--report-dir", str(folder / "report")]
            command += ["--exclude-path-regex", STREAMS]
            environment = {**os.environ, "PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1"}
            return subprocess.run([*command, *wanted.more], env=environment, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
