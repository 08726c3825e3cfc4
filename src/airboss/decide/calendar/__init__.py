"""When changes may start: windows, freezes, and the schedule of a change.

The tower asks `Calendar.state` before it starts a change and shows the answer; policy reads the same answer as a fact.
`state` and `occurrences` are the pure rules behind it. `WINDOW` tells the catalog how to keep the documents.

A freeze (`allow: false`) without a scope stops everything. An allowing window without a scope constrains only the
changes that name it in `schedule.window`; with a scope it constrains every change it means. Rollbacks do not ask.
"""

from airboss.decide.calendar.model import Closed, Length, Open, Reach, Window
from airboss.decide.calendar.rules import active, occurrences, state
from airboss.decide.calendar.service import Calendar
from airboss.decide.calendar.shapes import WINDOW, window

__all__ = [
    "WINDOW",
    "Calendar",
    "Closed",
    "Length",
    "Open",
    "Reach",
    "Window",
    "active",
    "occurrences",
    "state",
    "window",
]
