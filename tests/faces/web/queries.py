"""What is asked of the database while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def queries() -> Iterator[list[str]]:
    """Collect the SELECTs that any database is sent while the block runs."""
    asked: list[str] = []

    def note(*given: object) -> None:
        if str(given[2]).startswith("SELECT"):
            asked.append(str(given[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)
