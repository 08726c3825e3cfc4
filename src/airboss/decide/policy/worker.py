"""The policy worker: `python -m airboss.decide.policy.worker`, a process that may be killed at any moment.

It reads frames on standard input and answers each on standard output. A frame is four bytes of length, big endian, and
canonical JSON:

    {"do": "load", "bundle": digest, "rules": [...]}        -> {"faults": [...]}
    {"do": "judge", "bundle": digest, "input": {...}}       -> what `Program.judge` returns, or {"absent": digest}
    {"do": "explain", "bundle": digest, "input": {...}, "stands": [...]} -> what `Program.explain` returns, or the same

It holds no secrets (its environment is emptied), opens nothing, and is bounded three ways: the engine's own limits,
the address space, and an alarm that ends the process even when its parent is gone. Nothing of a decision is kept.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections import OrderedDict
from dataclasses import asdict
from typing import Any, Final

from airboss.decide.policy.program import Program

MAX_FRAME: Final = 16 * 1024 * 1024
KEPT: Final = 4
"""Bundles kept compiled: the one in force, and those being tried or replayed."""


def main(memory_bytes: int, alarm_s: float) -> None:
    """Serve until standard input closes."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the group; the parent ends us
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not write into the frames
    programs: OrderedDict[str, Program] = OrderedDict()
    while (frame := _read()) is not None:
        signal.setitimer(signal.ITIMER_REAL, alarm_s)
        answer = json.dumps(_answer(frame, programs), separators=(",", ":")).encode()
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, len(answer).to_bytes(4, "big") + answer)


def _answer(frame: bytes, programs: OrderedDict[str, Program]) -> dict[str, Any]:
    asked = json.loads(frame)
    bundle = asked["bundle"]
    if asked["do"] == "load":
        program = Program(asked["rules"])
        if not program.faults:
            programs[bundle] = program
            while len(programs) > KEPT:
                programs.popitem(last=False)
        return {"faults": [asdict(fault) for fault in program.faults]}
    if bundle not in programs:
        return {"absent": bundle}
    programs.move_to_end(bundle)
    if asked["do"] == "explain":
        return programs[bundle].explain(asked["input"], asked["stands"])
    return programs[bundle].judge(asked["input"])


def _read() -> bytes | None:
    head = _exactly(4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    return _exactly(size) if size <= MAX_FRAME else None


def _exactly(size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(0, size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _write(to: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(to, view) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
