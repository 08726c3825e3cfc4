"""What each exit code means: one table, for `airboss --help`, the reference and scripts.

The codes are an interface: a pipeline branches on them. None is ever given a second meaning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAULT = 1
    USAGE = 2
    REFUSED = 3
    WAITING = 4
    TAKEN_BACK = 5
    ROLLBACK_FAILED = 6
    NOT_FOUND = 7
    FORBIDDEN = 8
    STALE = 9
    UNAVAILABLE = 10
    DAMAGED = 11
    UNKNOWN = 12
    INTERRUPTED = 130


MEANING: Final[dict[Exit, str]] = {
    Exit.OK: "done; the change is allowed or completed",
    Exit.FAULT: "a fault of ours or of this machine, or a check that failed",
    Exit.USAGE: "the command or its input is wrong; mend it",
    Exit.REFUSED: "refused: blocked by policy, rejected, expired or called off",
    Exit.WAITING: "it waits: for people (--no-wait), or past --timeout",
    Exit.TAKEN_BACK: "the change was taken back",
    Exit.ROLLBACK_FAILED: "the rollback failed; production needs somebody now",
    Exit.NOT_FOUND: "there is no such thing, or you may not see it",
    Exit.FORBIDDEN: "nobody is signed in, or you may not do this",
    Exit.STALE: "somebody was faster; look again and decide again",
    Exit.UNAVAILABLE: "the server cannot be reached; nothing happened",
    Exit.DAMAGED: "the record is not what was recorded (audit verify)",
    Exit.UNKNOWN: "it may have happened; look before you repeat it",
    Exit.INTERRUPTED: "interrupted from the keyboard",
}

_BY_STATUS: Final = {
    400: Exit.USAGE,
    401: Exit.FORBIDDEN,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    409: Exit.REFUSED,
    412: Exit.STALE,
    413: Exit.USAGE,
    415: Exit.USAGE,
    422: Exit.USAGE,
    428: Exit.STALE,
    429: Exit.UNAVAILABLE,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNKNOWN,
}
_BY_OUTCOME: Final = {
    "completed": Exit.OK,
    "rolled back": Exit.TAKEN_BACK,
    "rollback failed": Exit.ROLLBACK_FAILED,
    "rejected": Exit.REFUSED,
    "cancelled": Exit.REFUSED,
    "expired": Exit.REFUSED,
}


def of_status(status: int, code: str = "") -> Exit:
    """Return the exit code of an answer of the API: by the problem's code where that says more than its status."""
    if code in ("outcome-unknown", "answer-lost", "idempotency-in-progress"):
        return Exit.UNKNOWN
    return _BY_STATUS.get(status, Exit.FAULT)


def of_change(change: dict[str, Any]) -> Exit | None:
    """Return how a change ended, from its view; None while it has not."""
    return _BY_OUTCOME.get(str(change["outcome"]))


def of_decision(change: dict[str, Any]) -> Exit | None:
    """Return what was decided about a change, from its view; None while neither policy nor people have."""
    ended = of_change(change)
    if ended is not None:
        return ended
    match change["phase"]:
        case "in_review":
            blocked = change["decision"] is not None and change["decision"].get("outcome") == "block"
            return Exit.REFUSED if blocked else None
        case "awaiting_approval":
            return Exit.WAITING
        case "draft":
            return None
        case _:
            return Exit.OK


def table() -> str:
    """Return the table as text of at most 80 columns."""
    return "\n".join(f"  {code:>3}  {MEANING[code]}" for code in Exit)
