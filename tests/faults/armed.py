"""`airboss` with a hand on its failpoints: at SIGUSR1 the process arms what a file beside its data says.

    AIRBOSS_TEST_ARM=file python -m tests.faults.armed serve …

The file holds {"name", "action"}; without a name all are disarmed. Leases last AIRBOSS_TEST_LEASE_S, and the clock may be
wrong by what a file beside it says. Nothing else differs from the command line's own entry.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from airboss.faces.cli import main
from airboss.kernel import failpoints
from airboss.kernel.clock import SystemClock
from airboss.tower import fly, loop


def _arm(*_: object) -> None:
    told = json.loads(Path(os.environ["AIRBOSS_TEST_ARM"]).read_text())
    failpoints.disarm()
    if told["name"] is not None:
        failpoints.arm(told["name"], action=told["action"])


def _wall() -> float:
    wrong = Path(os.environ["AIRBOSS_TEST_ARM"]).with_name("clock")
    return time.time() + (float(wrong.read_text()) if wrong.exists() else 0.0)


if __name__ == "__main__":
    loop.LEASE_S = fly.LEASE_S = float(os.environ["AIRBOSS_TEST_LEASE_S"])  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, _arm)
    SystemClock.__init__.__kwdefaults__["wall"] = _wall
    sys.exit(main())
