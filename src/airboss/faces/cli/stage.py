"""Shows the demo: on a terminal one calm board with the three changes, piped one line for each thing that happens."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.text import Text

from airboss.demo.director import Board
from airboss.faces.cli.draw import bar, fact_line, head
from airboss.faces.cli.words import MARKS, clock_time

if TYPE_CHECKING:
    from rich.live import Live

    from airboss.demo.scene import Story

SENTENCE_LINES: Final = 2
TALL: Final = 26
"""A terminal of so many lines has room for a second fact under each change."""


class LiveBoard:
    """The board, drawn anew while the stories are told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, sentence: str) -> None:
        """Write a sentence above the board."""
        self._console.print(Text(sentence), soft_wrap=True)  # an address stays whole, to be copied

    def show(self, told: Sequence[Story], *, elapsed_s: float, up: bool) -> None:
        """Draw the stories as they stand."""
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        facts = 2 if self._console.height >= TALL else 1
        self._live.update(board(told, elapsed_s=elapsed_s, up=up, facts=facts), refresh=True)

    def end(self, lines: Sequence[str]) -> None:
        """Leave the last picture and write the report beneath."""
        self.close()
        self._console.print()
        for line in lines:
            self._console.print(Text(line, style=_style(line)), soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class Lines:
    """Each fact as a line, for a pipe or a log."""

    def __init__(self, *, quiet: bool) -> None:
        self._out = sys.stderr if quiet else sys.stdout
        self._told: dict[str, int] = {}
        self._notes: dict[int, str] = {}

    def say(self, sentence: str) -> None:
        """Write a sentence."""
        print(sentence, file=self._out, flush=True)

    def show(self, told: Sequence[Story], *, elapsed_s: float, up: bool) -> None:  # noqa: ARG002 - the board's signature
        """Write what is new."""
        for story in told:
            if story.note and self._notes.get(story.number) != story.note:
                self.say(f"[{story.number}] {story.note}")
            self._notes[story.number] = story.note
            for name, followed in ((f"[{story.number}]", story.change), (f"[{story.number} again]", story.again)):
                if followed is None:
                    continue
                shown = self._told.get(followed.id, 0)
                for fact in followed.facts[shown:]:
                    self.say(f"{name} {clock_time(fact['at'])}  {fact['text']}")
                self._told[followed.id] = len(followed.facts)

    def end(self, lines: Sequence[str]) -> None:
        """Write the report."""
        self.say("\n".join(["", *lines]))


@contextlib.contextmanager
def stage(*, quiet: bool) -> Iterator[Board]:
    """Yield the board that fits where it is shown; the terminal is given back whatever happens."""
    if quiet or not sys.stdout.isatty():
        yield Lines(quiet=quiet)
        return
    shown = LiveBoard(Console(highlight=False, markup=False, emoji=False))
    try:
        yield shown
    finally:
        shown.close()


def board(told: Sequence[Story], *, elapsed_s: float, up: bool, facts: int = 1) -> RenderableType:
    """Return the picture: each story's change with its bar, its sentence and its latest facts. Its height never changes."""
    server = (
        Text(f"{MARKS['well']} server up", style="green") if up else Text(f"{MARKS['harmed']} server dead", style="red")
    )
    top = Text(f"Airboss demo   {elapsed_s:3.0f} s   ", style="bold")
    parts: list[RenderableType] = [top.append_text(server)]
    for story in told:
        parts += [Text(), Text(f"{story.number}  {story.promise}", style="bold"), *_story(story, facts)]
    return Group(*parts)


def _story(story: Story, count: int) -> list[RenderableType]:
    change = story.change
    if change is None or not change.view:
        return [Text("○ not proposed yet", style="dim"), *(Text() for _ in range(1 + SENTENCE_LINES + count))]
    told = textwrap.wrap(str(change.view["sentence"]), 76, max_lines=SENTENCE_LINES, placeholder=" …")
    sentence = [Text(f"  {line}", no_wrap=True) for line in [*told, ""][:SENTENCE_LINES]]
    latest = [fact_line(fact) for fact in change.facts[-count:]]
    note = story.note
    if not note and story.again is not None and story.again.view:
        note = f"proposed again: {story.again.view['sentence']}"
    if note:
        latest[-1:] = [Text(f"  {note}", style="yellow", no_wrap=True, overflow="ellipsis")]
    missing = SENTENCE_LINES - len(sentence) + count - len(latest)
    return [head(change.view), bar(change.view), *sentence, *latest, *(Text() for _ in range(missing))]


def _style(line: str) -> str:
    if line.startswith("✓"):
        return "green"
    return "red" if line.startswith("✕") or "FAILED" in line else ""
