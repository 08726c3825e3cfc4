"""Lists in pages: `limit` rows after `cursor`, and `next_cursor` for the page after; null where there is none.

A cursor names the last row that was shown, by what its list is ordered by. What is added or removed between two pages
moves no other row from one page to another: walking on, each row that stayed is seen once.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from fastapi import Depends, Query

from airboss.kernel.errors import Invalid

LIMIT: Final = 200
LIMIT_MOST: Final = 1_000

Row: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[str | int, ...]
"""What orders a list; no two rows have the same."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list is wanted: `limit` rows after the row of `cursor`, None: from its beginning."""

    cursor: str | None
    limit: int


async def _part(
    cursor: Annotated[
        str | None, Query(max_length=2_000, description="`next_cursor` of the page before, as it was given")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MOST, description="rows of a page at most")] = LIMIT,
) -> Part:
    return Part(cursor, limit)


PartQuery = Annotated[Part, Depends(_part)]


def paged(rows: Iterable[Row], part: Part, *, by: Callable[[Row], Key], newest_first: bool = False) -> dict[str, Any]:
    """Return one page of a whole list, in the order of `by`: {items, next_cursor}. Raises Invalid for a strange cursor."""
    whole = sorted(((by(row), row) for row in rows), key=lambda one: one[0], reverse=newest_first)
    if part.cursor is not None:
        try:
            after = key_of(part.cursor)
            whole = [one for one in whole if (one[0] < after if newest_first else one[0] > after)]
        except TypeError as fault:
            raise bad_cursor() from fault
    page = whole[: part.limit]
    return {
        "items": [row for _, row in page],
        "next_cursor": cursor_of(page[-1][0]) if len(whole) > part.limit else None,
    }


def cursor_of(key: Key) -> str:
    """Return the cursor of a row, from what its list is ordered by."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).rstrip(b"=").decode()


def key_of(cursor: str) -> Key:
    """Return what `cursor_of` was given. Raises Invalid."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError) as fault:
        raise bad_cursor() from fault
    if not isinstance(found, list) or not found or not all(type(one) in (str, int) for one in found):
        raise bad_cursor()
    return tuple(found)


def bad_cursor() -> Invalid:
    """Return the refusal of a cursor that is none of its list."""
    return Invalid(
        "this is no cursor of this list",
        code="bad-cursor",
        place="cursor",
        way_out="give next_cursor of the page before as it was, or none to begin anew",
    )
