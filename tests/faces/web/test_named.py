"""What pages name exists: every command a page gives to copy, with every option it gives it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from airboss.faces import reads, web
from airboss.faces.cli.app import app

PLACES = [Path(str(package.__file__)).parent for package in (web, reads)]
COMMAND = re.compile(r"airboss((?: [a-z][a-z-]*)+)([^\"\'`<)]*)")
WORDS = {"says", "them"}
"""Where a sentence goes on after the command."""


def named() -> Iterator[tuple[str, list[str], str]]:
    """Return (where, words, the rest with its options) of each command a page or its code names."""
    for folder in PLACES:
        for file in sorted([*folder.rglob("*.html"), *folder.glob("*.py")]):
            for line in file.read_text().splitlines():
                if "airboss " not in line or line.startswith(("from ", "import ")):
                    continue
                for found in COMMAND.finditer(line):
                    yield file.name, found[1].split(), found[2]


NAMED = list(named())


def test_pages_name_commands() -> None:
    """The search below finds what it is to check."""
    assert len(NAMED) >= 15


@pytest.mark.parametrize(("where", "words", "rest"), NAMED, ids=[f"{one[0]}-{' '.join(one[1])}" for one in NAMED])
def test_a_command_on_a_page_exists(where: str, words: list[str], rest: str) -> None:
    """Each word leads to a command, and each option is one of it."""
    at = typer.main.get_command(app)
    for word in words:
        commands = getattr(at, "commands", None)
        if commands is None or word in WORDS:
            break
        assert word in commands, f"{where} names airboss {' '.join(words)}: there is no {word}"
        at = commands[word]
    known = {option for parameter in at.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest)) <= known
