"""PostgreSQL's own tools, which know every version of it: `pg_dump` and `pg_restore`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from airboss.kernel.errors import Refused, Unavailable
from airboss.records.store import parse


def dump(url: str, to: Path) -> None:
    """Write a database as one snapshot. Raises Refused (no such tool here) or Unavailable."""
    with _address(url) as address:
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={to}", f"--dbname={address}")


def restore(url: str, source: Path) -> None:
    """Put a dump into an empty database, all of it or nothing. Raises alike."""
    with _address(url) as address:
        _run(
            *("pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"),
            *(f"--dbname={address}", str(source)),
        )


@contextmanager
def _address(url: str) -> Iterator[str]:
    """Give the address as the tools take it. A password goes by a file: other users can read command lines."""
    parsed = parse(url).set(drivername="postgresql")
    if parsed.password is None:
        yield parsed.render_as_string(hide_password=False)
        return
    with tempfile.NamedTemporaryFile("w", prefix="airboss-pgpass-") as file:  # made with mode 0600
        file.write(f"*:*:*:*:{_escaped(str(parsed.password))}\n")
        file.flush()
        # Without one in `set`, the toolkit keeps the old password.
        bare = URL.create(
            "postgresql",
            username=parsed.username,
            host=parsed.host,
            port=parsed.port,
            database=parsed.database,
            query={**parsed.query, "passfile": file.name},
        )
        yield bare.render_as_string(hide_password=False)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _run(tool: str, *arguments: str) -> None:
    found = shutil.which(tool)
    if found is None:
        raise Refused(
            f"{tool} is not installed here",
            code="tool-missing",
            way_out="install PostgreSQL's client tools (postgresql-client), of the server's version or newer",
        )
    done = subprocess.run([found, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed tool, no shell
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
        raise Unavailable(
            reason.strip(),
            code="database-unavailable",
            way_out=f"nothing was changed; see that {tool} is of the server's version or newer and may reach it",
        )
