"""The change ID from one service to the next, as W3C baggage, and into log records.

Baggage travels to whomever is called, other companies too: take it out (`without_change`) before a call leaves your house.
Needs `opentelemetry-api`, except `ChangeIdFilter`, which does without and then knows the process's own change only.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Final

from airboss.sdk.attributes import BAGGAGE_KEY, ENV

try:
    from opentelemetry import baggage
    from opentelemetry.context import Context
except ImportError:  # the log filter works without
    _HAS_BAGGAGE = False
else:
    _HAS_BAGGAGE = True

RECORD_FIELD: Final = "airboss_change_id"
"""Attribute of a log record: `%(airboss_change_id)s`, empty where no change is known."""
_ID: Final = re.compile(r"chg_[0-7][0-9a-hjkmnp-tv-z]{25}")


def process_change() -> str | None:
    """Return the change that started this process (AIRBOSS_CHANGE_ID, set by `airboss exec`), None where none did."""
    return _checked(os.environ.get(ENV))


def with_change(change_id: str, context: Context | None = None) -> Context:
    """Return a context whose baggage names a change; attach it, and propagators carry it along with each call.

    Raises ValueError for what is no change ID: baggage is for others to read, and nothing unchecked goes into it.
    """
    if _checked(change_id) is None:
        raise ValueError(f"{change_id!r} is no change ID")
    return baggage.set_baggage(BAGGAGE_KEY, change_id, context)


def without_change(context: Context | None = None) -> Context:
    """Return a context whose baggage names no change, for calls that leave the house."""
    return baggage.remove_baggage(BAGGAGE_KEY, context)


def change_of(context: Context | None = None) -> str | None:
    """Return the change the baggage of a context (the current one by default) names, None where it names none.

    Baggage is what a stranger sent: anything but a well-formed change ID counts as none.
    """
    return _checked(baggage.get_baggage(BAGGAGE_KEY, context)) if _HAS_BAGGAGE else None


class ChangeIdFilter(logging.Filter):
    """Gives every log record the field `airboss_change_id`: the caller's change from baggage, else the process's own.

    Put it on a handler, so that records of every logger pass through it. It lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the field. Never raises."""
        if not hasattr(record, RECORD_FIELD):
            setattr(record, RECORD_FIELD, change_of() or process_change() or "")
        return True


def _checked(value: object) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None
