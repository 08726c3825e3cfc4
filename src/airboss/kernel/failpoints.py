"""Named places where a test may kill the process, to prove that nothing is lost or done twice.

A failpoint costs one dictionary look-up while nothing is armed. Production never arms one.
"""

from __future__ import annotations

import os
import signal
from typing import Final, Literal, TypeAlias

NAMES: Final[frozenset[str]] = frozenset(
    {
        "store.before_commit",
        "store.after_commit",
        "journal.before_sequence",
        "journal.after_sequence",
        "tower.after_claim",
        "tower.before_decide",
        "tower.after_decide",
        "tower.before_effect",
        "tower.before_target",
        "tower.after_effect",
        "tower.after_effect_recorded",
    }
)

Action: TypeAlias = Literal["kill", "stop", "raise"]

_armed: dict[str, tuple[int, Action]] = {}


class Reached(Exception):
    """An armed failpoint with action `raise` was reached."""


def arm(name: str, *, on_pass: int = 1, action: Action = "raise") -> None:
    """Make the `on_pass`-th pass through `name` kill this process, stop it until SIGCONT, or raise. Raises KeyError for an unknown name."""
    if name not in NAMES:
        raise KeyError(name)
    _armed[name] = (on_pass, action)


def disarm() -> None:
    """Forget every armed failpoint."""
    _armed.clear()


def reach(name: str) -> None:
    """Pass a failpoint: nothing, unless a test armed it."""
    if not _armed or name not in _armed:
        return
    left, action = _armed[name]
    if left > 1:
        _armed[name] = (left - 1, action)
        return
    del _armed[name]
    if action != "raise":
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
        return
    raise Reached(name)
