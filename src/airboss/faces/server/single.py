"""One server to a data folder: embedded databases have one writer, and a second would count and steer beside the first."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from airboss.kernel.errors import Refused
from airboss.kernel.settings import Settings

CONTROL: Final = ".control.lock"
INGEST: Final = ".ingest.lock"


@contextmanager
def alone(settings: Settings, *, control: bool, ingest: bool) -> Iterator[None]:
    """Hold the data folder for these roles while the block runs. Raises Refused when another server holds it.

    Only where the role's database is a file; servers of one PostgreSQL work side by side. The kernel lets go of the lock
    with the process, however it ends, so a killed server stands in nobody's way.
    """
    with ExitStack() as held:
        if control and settings.database_url.startswith("sqlite"):
            held.enter_context(_lock(settings.data, CONTROL))
        if ingest and settings.buckets_url.startswith("sqlite"):
            held.enter_context(_lock(settings.data, INGEST))
        yield


@contextmanager
def _lock(folder: Path, name: str) -> Iterator[None]:
    with (folder / name).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise Refused(
                f"another server works in {folder}",
                code="folder-in-use",
                way_out="end it first, name another folder (--data FOLDER), or have them share a PostgreSQL (--database)",
            ) from fault
        yield
