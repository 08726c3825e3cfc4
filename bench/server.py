"""A real `airboss serve` in a folder of its own, as its user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

AIRBOSS = str(Path(sys.executable).with_name("airboss"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that says it listens."""

    url: str
    otlp: str
    link: str | None
    """The first admin's one-time link, in a folder that has none yet."""
    ready_s: float
    """From the start of the process to its word that it listens."""
    folder: Path


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Start a server on free loopback ports; end it with its ingest."""
    command = [AIRBOSS, "serve", "--data", str(folder), "--port", "0", "--ingest-port", "0"]
    began, link = time.monotonic(), None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if told["event"] == "ready":
                took = time.monotonic() - began
                yield Served(url=told["url"], otlp=told["otlp"], link=link, ready_s=took, folder=folder)
                break
            link = told["link"]
        else:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def new_folder() -> Iterator[Path]:
    """Give a folder on a disk, where the work is."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        yield Path(name).resolve() / "data"
