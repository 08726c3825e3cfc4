"""The engine port and its two adapters: in a process of its own (production), or in this one (tests, `policy test`)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from airboss.decide.policy.model import Bundle, Point, Ruling
from airboss.decide.policy.program import ENGINE, Fault, Program, rule_json
from airboss.decide.policy.rules import combine, engine_failed
from airboss.kernel.canonical import canonical

DEADLINE_S: Final = 0.25
"""For one judgement."""
EXPLAIN_S: Final = 1.0
"""For one explanation, which asks rules many times."""
LOAD_S: Final = 10.0
"""For starting the worker and for compiling a bundle in it."""
MEMORY_BYTES: Final = 768 * 1024 * 1024
"""Address space of the worker; an idle one maps about a third of it."""


class EngineFailed(Exception):
    """There is no answer, and why, in the words of a denial: `gave no answer within 250 ms`."""


class PolicyEngine(Protocol):
    """Judges masked input by a bundle. Every call may be repeated; nothing is remembered of a judgement."""

    name: str

    def check(self, bundle: Bundle) -> list[Fault]:
        """Compile the bundle and return what cannot be used in it. Raises EngineFailed."""
        ...

    def judge(self, bundle: Bundle, data: bytes) -> Mapping[str, Any]:
        """Return what `Program.judge` returns. Raises EngineFailed: no answer in time, no memory, or no such bundle."""
        ...

    def explain(self, bundle: Bundle, data: bytes, stands: Sequence[int]) -> Mapping[str, Any]:
        """Return what `Program.explain` returns, `stands` being the rules (by index) to clear. Raises EngineFailed."""
        ...

    def close(self) -> None: ...


class InlineEngine:
    """Judges in this process: no isolation, so only for trusted policies and the command line."""

    name = ENGINE

    def __init__(self) -> None:
        self._programs: OrderedDict[str, Program] = OrderedDict()

    def check(self, bundle: Bundle) -> list[Fault]:
        return self._program(bundle).faults

    def judge(self, bundle: Bundle, data: bytes) -> Mapping[str, Any]:
        program = self._program(bundle)
        if program.faults:
            raise EngineFailed("has no usable bundle")
        return program.judge(json.loads(data))

    def explain(self, bundle: Bundle, data: bytes, stands: Sequence[int]) -> Mapping[str, Any]:
        return self._program(bundle).explain(json.loads(data), stands)

    def close(self) -> None:
        self._programs.clear()

    def _program(self, bundle: Bundle) -> Program:
        if bundle.digest not in self._programs:
            self._programs[bundle.digest] = Program([rule_json(rule) for rule in bundle.rules])
            while len(self._programs) > 8:
                self._programs.popitem(last=False)
        return self._programs[bundle.digest]


class WorkerEngine:
    """Judges in a process of its own, with a deadline and a memory limit.

    Whatever goes wrong there (a policy that does not end, one that eats the memory, a crash, a kill) ends that process
    and fails that one judgement; the next starts a new process. Threads share one worker, one judgement at a time.
    """

    name = ENGINE

    def __init__(
        self, *, deadline_s: float = DEADLINE_S, load_s: float = LOAD_S, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._deadline_s, self._load_s, self._memory_bytes = deadline_s, load_s, memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[str] = set()
        self.respawned = 0
        """How often a worker had to be replaced."""

    @property
    def pid(self) -> int | None:
        """Process ID of the worker, if one runs."""
        return self._process.pid if self._process else None

    def check(self, bundle: Bundle) -> list[Fault]:
        with self._lock:
            return [Fault(**fault) for fault in self._load(bundle)]

    def judge(self, bundle: Bundle, data: bytes) -> Mapping[str, Any]:
        # The masked input is canonical JSON already and goes in as it is.
        return self._ask_of(bundle, b'"do":"judge","input":' + data, self._deadline_s)

    def explain(self, bundle: Bundle, data: bytes, stands: Sequence[int]) -> Mapping[str, Any]:
        asked = b'"do":"explain","input":' + data + b',"stands":' + json.dumps(list(stands)).encode()
        return self._ask_of(bundle, asked, EXPLAIN_S)

    def _ask_of(self, bundle: Bundle, asked: bytes, deadline_s: float) -> dict[str, Any]:
        frame = b'{"bundle":"' + bundle.digest.encode() + b'",' + asked + b"}"
        with self._lock:
            if self._process is None or bundle.digest not in self._loaded:
                self._ready(bundle)
            answer = self._ask(frame, deadline_s)
            if "absent" in answer:  # pushed out by newer bundles
                self._ready(bundle)
                answer = self._ask(frame, deadline_s)
            return answer

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ready(self, bundle: Bundle) -> None:
        if self._load(bundle):
            raise EngineFailed("has no usable bundle")

    def _load(self, bundle: Bundle) -> list[dict[str, Any]]:
        rules = [rule_json(rule) for rule in bundle.rules]
        faults: list[dict[str, Any]] = self._ask(
            canonical({"bundle": bundle.digest, "do": "load", "rules": rules}), self._load_s
        )["faults"]
        if not faults:
            self._loaded.add(bundle.digest)
        return faults

    def _ask(self, frame: bytes, deadline_s: float) -> dict[str, Any]:
        try:
            process = self._process or self._start()
        except OSError as fault:  # no memory for another process, no more files, no interpreter
            raise EngineFailed(f"could not be started ({fault.strerror})") from None
        try:
            # A pipe and a process outside: real time, whatever clock the house runs on.
            answer = _exchange(process, frame, time.monotonic() + deadline_s)
        except TimeoutError:
            self._end()
            self.respawned += 1
            raise EngineFailed(f"gave no answer within {deadline_s * 1000:.0f} ms") from None
        except OSError:
            code = self._end()
            self.respawned += 1
            raise EngineFailed(f"ended without an answer ({_death(code)})") from None
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module, numbers
            [
                sys.executable,
                "-m",
                "airboss.decide.policy.worker",
                str(self._memory_bytes),
                # The alarm is the last resort, for a worker whose parent died: well past every deadline.
                str(2 * max(self._deadline_s, self._load_s)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None, "asked for above"
            os.set_blocking(pipe.fileno(), False)
        return self._process

    def _end(self) -> int | None:
        process, self._process = self._process, None
        self._loaded.clear()
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code


def rule_on(engine: PolicyEngine, bundle: Bundle, data: bytes, *, alone: bool = False) -> Ruling:
    """Return the ruling on masked input bytes. Whatever happens to the engine, there is one, and then it blocks.

    `alone`: the bundle is one pack on trial (see `combine`).
    """
    facts = json.loads(data)
    point = Point(facts["point"])
    try:
        answer = engine.judge(bundle, data)
    except EngineFailed as failed:
        return engine_failed(point, str(failed))
    return combine(bundle.rules, answer, point=point, facts=facts, alone=alone)


def _exchange(process: subprocess.Popen[bytes], frame: bytes, until: float) -> bytes:
    """Send a frame and return the answer. Raises TimeoutError, or OSError when the pipe breaks."""
    assert process.stdin is not None, "started with pipes"
    assert process.stdout is not None, "started with pipes"
    to, back = process.stdin.fileno(), process.stdout.fileno()
    view = memoryview(len(frame).to_bytes(4, "big") + frame)
    while view:
        try:
            view = view[os.write(to, view) :]
        except BlockingIOError:
            _wait(to, until, writing=True)
    received = bytearray()
    while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "big"):
        _wait(back, until, writing=False)
        part = os.read(back, 1 << 16)
        if not part:
            raise BrokenPipeError("the worker closed its end")
        received += part
    return bytes(received[4:])


def _wait(descriptor: int, until: float, *, writing: bool) -> None:
    poll = select.poll()  # not select(): descriptors beyond 1024 are ordinary in a server
    poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError


def _death(code: int | None) -> str:
    if code is None or code == 0:
        return "closed"
    return f"signal {-code}" if code < 0 else f"exit code {code}; a policy may have eaten its memory"
