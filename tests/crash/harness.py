"""Lets a process of its own die at a named failpoint, and tells the parent what it had acknowledged before.

The child is a module run with `python -m`. It calls `child()` once it has opened what it needs, works, and calls
`Child.acknowledge` for each thing a caller would by then believe done. Acknowledgements are written straight to a file,
so they survive the SIGKILL as a caller's memory of the answer would. The parent calls `die`, opens the database anew
and compares: what was acknowledged is there, what was not is whole or absent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airboss.kernel import failpoints

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended. `acknowledged` are its words in the order it wrote them."""

    acknowledged: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """The child's side: what it was told, and where it answers."""

    url: str
    told: dict[str, Any]
    _answers: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, word: str) -> None:
        """Tell the parent that a caller now believes `word` done. One line; safe from any thread."""
        with self._lock:
            os.write(self._answers, f"{word}\n".encode())


def child() -> Child:
    """Read what the parent asks for and arm the failpoint. Call it after opening, before working."""
    asked = json.loads(sys.argv[1])
    answers = os.open(asked["answers"], os.O_WRONLY | os.O_APPEND)
    if asked["failpoint"] is not None:
        failpoints.arm(asked["failpoint"], on_pass=asked["on_pass"], action="kill")
    return Child(url=asked["url"], told=asked["told"], _answers=answers)


def url() -> str:
    """Return the database's address, for opening it before `child()` arms anything."""
    return str(json.loads(sys.argv[1])["url"])


def die(
    module: str, url: str, *, folder: Path, failpoint: str | None, on_pass: int = 1, timeout: float = 60, **told: Any
) -> Death:
    """Run `module` until it dies at the failpoint's `on_pass`-th pass, and return what it acknowledged.

    Without a failpoint it must end by itself. Anything else, an ordinary end or another fault, fails the test with the
    child's output.
    """
    answers = folder / "answers"
    answers.write_bytes(b"")
    asked = {"url": url, "failpoint": failpoint, "on_pass": on_pass, "answers": str(answers), "told": told}
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(asked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    output = done.stdout + done.stderr
    wanted = 0 if failpoint is None else -signal.SIGKILL
    assert done.returncode == wanted, f"ended with {done.returncode} instead of {wanted} at {failpoint}:\n{output}"
    return Death(acknowledged=tuple(answers.read_text().splitlines()), output=output)
