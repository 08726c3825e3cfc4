"""Standard output: JSON for programs, aligned tables and quiet sentences for people.

Colour only on a terminal and never alone: each coloured word has its mark. `NO_COLOR` is honoured (by Rich).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def on_terminal() -> bool:
    """Return whether somebody watches."""
    return sys.stdout.isatty()


def emit(value: Any) -> None:
    """Write one JSON document to standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str = "") -> None:
    """Write a line of words, unwrapped, so that what is copied from it is whole."""
    print(text)


def note(text: str) -> None:
    """Write a line about progress to standard error, and nothing when nobody watches it."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def console() -> Console:
    """Return where Rich draws. Piped output is 80 columns wide unless COLUMNS says otherwise."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str | Text]], *, empty: str, give: str | None = None
) -> None:
    """Write an aligned table; `give` names the column that gives way where the line is too long.

    Without rows, writes the sentence `empty`, which teaches the next step.
    """
    if not rows:
        say(empty)
        return
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", collapse_padding=True)
    for heading in headings:
        giving = heading == give
        drawn.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=1 if giving else None)
    if give is not None:
        drawn.expand = True
    for row in rows:
        drawn.add_row(*row)
    console().print(drawn)


def marked(tone: str, text: str) -> Text:
    """Return words with the mark and the colour of a state."""
    from rich.text import Text

    from airboss.faces.cli.words import COLOURS, MARKS

    return Text(f"{MARKS[tone]} {text}", style=COLOURS[tone])  # type: ignore[index]  # tones come from `words.tone`


def fields(pairs: Sequence[tuple[str, str | Text | None]]) -> None:
    """Write labelled values, aligned; what is None is left out."""
    from rich.table import Table

    shown = [(label, value) for label, value in pairs if value is not None]
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for label, value in shown:
        drawn.add_row(label, value)
    console().print(drawn)
