"""The help says what every command does, in 80 columns, at once, with every exit code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

from airboss.faces.cli.app import app
from airboss.faces.cli.exit_codes import MEANING, Exit


def _commands() -> Iterator[tuple[str, ...]]:
    def walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, below in sorted(getattr(command, "commands", {}).items()):
            yield from walk(below, (*path, name))

    yield from walk(typer.main.get_command(app), ())


@pytest.mark.parametrize("path", list(_commands()), ids=" ".join)
def test_every_command_explains_itself(airboss, path):
    """Each command and group has a help with a sentence of its own, no wider than a terminal."""
    ran = airboss(*path, "--help")
    assert ran.code == Exit.OK
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"Usage: airboss {' '.join(path)}".rstrip())
    assert lines[2].strip(), "no sentence says what it does"
    assert max(map(len, lines)) <= 80


def test_no_short_help_breaks_off(airboss):
    """In a list of commands every sentence is whole."""
    for path in _commands():
        listed = airboss(*path, "--help").out.partition("Commands:")[2]
        assert [line for line in listed.splitlines() if line.endswith("...")] == [], " ".join(path)


def test_every_exit_code_is_told(airboss):
    """The table of exit codes stands in the help, each code with its meaning."""
    out = airboss("--help").out
    assert set(MEANING) == set(Exit)
    for code, meaning in MEANING.items():
        assert f"{code:>3}  {meaning}" in out


def test_help_loads_nothing_heavy():
    """The help is there at once because no library a command might need is loaded for it."""
    script = (
        "import sys; from airboss.faces.cli.app import run; run(['--help']);"
        "heavy = {'httpx', 'rich', 'sqlalchemy', 'numpy', 'scipy', 'fastapi', 'pydantic', 'cryptography', 'ruamel'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_command_and_a_missing_argument_are_usage_faults(airboss):
    """What was not understood ends with 2, in three lines on stderr, and points at the help."""
    for arguments in (("nope",), ("change", "show"), ("change", "list", "--nope")):
        ran = airboss(*arguments)
        assert ran.code == Exit.USAGE
        assert ran.out == ""
        assert len(ran.err.splitlines()) == 3
        assert "--help" in ran.err


def test_the_version_is_told(airboss):
    """`airboss --version` says which one it is."""
    ran = airboss("--version")
    assert ran.code == Exit.OK
    assert ran.out.startswith("airboss ")
