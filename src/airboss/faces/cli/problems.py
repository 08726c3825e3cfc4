"""What goes wrong on a command line, told in at most three lines: what and where, why, way out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from airboss.faces.cli.exit_codes import Exit

_TITLES: Final = {
    Exit.FAULT: "Failed",
    Exit.USAGE: "Not understood",
    Exit.REFUSED: "Refused",
    Exit.NOT_FOUND: "Not found",
    Exit.FORBIDDEN: "Not allowed",
    Exit.STALE: "Somebody was faster",
    Exit.UNAVAILABLE: "Not reachable",
    Exit.DAMAGED: "The record is damaged",
    Exit.UNKNOWN: "Outcome unknown",
}


class Problem(Exception):
    """Why a command did not do what it was asked to; carries its exit code."""

    def __init__(
        self,
        detail: str,
        *,
        exit_code: Exit = Exit.FAULT,
        code: str = "",
        place: str | None = None,
        way_out: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.exit_code = exit_code
        self.code = code or exit_code.name.lower().replace("_", "-")
        self.place = place
        self.way_out = way_out

    def as_json(self) -> dict[str, Any]:
        """Return the problem for programs."""
        return {
            "code": self.code,
            "detail": self.detail,
            "place": self.place,
            "way_out": self.way_out,
            "exit_code": int(self.exit_code),
        }

    def lines(self) -> list[str]:
        """Return what and where, why, and the way out where one is known."""
        where = f" at {self.place}" if self.place else ""
        told = [f"{_TITLES.get(self.exit_code, 'Failed')} ({self.code}){where}", f"  {_one_line(self.detail)}"]
        if self.way_out:
            told.append(f"  Way out: {_one_line(self.way_out)}")
        return told


def tell(problem: Problem, *, as_json: bool) -> None:
    """Write a problem to stderr: three lines for people, one line of JSON for programs."""
    text = json.dumps(problem.as_json(), ensure_ascii=False) if as_json else "\n".join(problem.lines())
    print(text, file=sys.stderr)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def placed(path: Path) -> Iterator[None]:
    """Have what a server says about the body it was sent point at the file the body came from."""
    try:
        yield
    except Problem as fault:
        if fault.place is not None and fault.place.startswith("request:"):
            fault.place = f"{path}{fault.place.removeprefix('request')}"
        raise
