"""Logs as JSON lines on standard error, each with the change it is about where there is one."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, Final

from airboss.kernel import spans
from airboss.kernel.clock import from_micros, rfc3339

_CHANGE: Final = re.compile(r"chg_[0-7][0-9a-hjkmnp-tv-z]{25}")
_INCIDENT: Final = re.compile(r"inc_[0-7][0-9a-hjkmnp-tv-z]{25}")


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: at, level, logger, process, message, and change, incident, trace, error where there are."""
        message = record.getMessage()
        line: dict[str, Any] = {
            "at": rfc3339(from_micros(int(record.created * 1_000_000))),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": message,
        }
        if found := _CHANGE.search(message):
            line["change"] = found.group()
        if found := _INCIDENT.search(message):
            line["incident"] = found.group()
        if trace := spans.trace_id():
            line["trace"] = trace
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(process: str) -> None:
    """Send every log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # They tell of every start in words of their own; what matters of that is said by us.
    for loud in ("uvicorn", "alembic"):
        logging.getLogger(loud).setLevel(logging.WARNING)
