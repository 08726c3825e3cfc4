"""The server's processes: `airboss serve` is `serve(settings, role=…)`.

*control* answers the API and the pages and steers changes; *ingest* takes telemetry in, in a process of its own, so that
a flood of spans does not delay a rollback. `all` runs control with ingest as its child.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from airboss.faces.server.single import alone
from airboss.kernel.settings import Settings

__all__ = ["Role", "alone", "serve"]

Role: TypeAlias = Literal["all", "control", "ingest"]


def serve(settings: Settings, role: Role = "all") -> None:
    """Run a server until it is told to stop (SIGTERM, SIGINT).

    Says on standard output when it listens: `{"event": "ready", "url": …, "otlp": …, "pid": …}` as one line of JSON for
    programs, in words on a terminal. Logs go to standard error, as JSON lines.
    Raises Invalid or Refused (folder, port, exposed without protection) before it listens.
    """
    # Each process loads only what it runs.
    if role == "ingest":
        from airboss.faces.server.ingest import run_ingest  # noqa: PLC0415 - see above

        run_ingest(settings)
    else:
        from airboss.faces.server.control import run_control  # noqa: PLC0415 - see above

        run_control(settings, with_ingest=role == "all")
