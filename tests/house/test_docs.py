"""The documentation says what the code says: every code, fact, setting and command, and every link leads somewhere."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from tools.docs import pages, source

from airboss.faces.cli.app import app
from airboss.kernel.settings import Settings
from airboss.sdk import attributes

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
REFERENCE = ROOT / "docs" / "reference"


def _names(text: str) -> set[str]:
    return set(re.findall(r"^## (\S+)$", text, re.MULTILINE))


def test_every_error_code_has_its_section() -> None:
    """A code that a caller may see leads to a meaning and a way out, and no section tells of a code that is gone."""
    written = _names((REFERENCE / "errors.md").read_text())
    assert sorted(source.codes()) == sorted(written)


def test_every_fact_type_is_described() -> None:
    """A type that the journal may hold is in the reference, with the fields the source writes out, and no other is."""
    rows = {row[0]: row[3] for row in pages.table("facts.txt", 4)}
    found = source.facts()
    assert sorted(found) == sorted(rows)
    lacking = {
        name: sorted(key for key in fact.fields if not re.search(rf"\b{key}\b", rows[name]))
        for name, fact in found.items()
    }
    assert {name: keys for name, keys in lacking.items() if keys} == {}


def test_every_setting_and_variable_is_described() -> None:
    """Whoever runs a server finds each setting, and each variable that the source names."""
    text = (REFERENCE / "settings.md").read_text()
    wanted = {f"AIRBOSS_{field.name.upper()}" for field in fields(Settings)}
    assert {name for name in wanted | set(source.variables()) if f"`{name}`" not in text} == set()


def test_every_telemetry_attribute_is_described() -> None:
    """The names other people's systems carry are an interface: each is on the page about telemetry."""
    text = (REFERENCE / "telemetry.md").read_text()
    names = {value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
    assert {name for name in names if name not in text and name != attributes.SERVICE_VERSION} == set()


@pytest.mark.parametrize("name", sorted(pages.PAGES))
def test_generated_pages_are_up_to_date(name: str) -> None:
    """What `make docs` would write is what is there."""
    assert (REFERENCE / name).read_text() == pages.PAGES[name](), "run: make docs"


def _commands() -> set[str]:
    found = set()

    def walk(command: object, path: str) -> None:
        for name, below in getattr(command, "commands", {}).items():
            found.add(f"{path}{name}")
            walk(below, f"{path}{name} ")

    walk(typer.main.get_command(app), "")
    return found


_COMMAND = re.compile(
    r"(?:^|[^/\w.-])airboss ((?!change is\b|metadata\b)[a-z]+(?:-[a-z]+)?)(?: ([a-z]+(?:-[a-z]+)*))?", re.MULTILINE
)


def _named() -> Iterator[tuple[str, str, str | None]]:
    """Yield (where, noun, verb) of each command that the docs, and the ways out of errors, tell a reader to type."""
    for path in WRITTEN:
        text = path.read_text()
        typed = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text))
        for match in _COMMAND.finditer(typed):
            yield path.name, match[1], match[2]
    for where, text in source.ways_out():
        for match in _COMMAND.finditer(text):
            yield where, match[1], match[2]


def test_every_command_that_is_named_exists() -> None:
    """A reader, or somebody following the way out of an error, is never told to type a command that is not there."""
    commands = _commands()
    groups = {name.split(" ")[0] for name in commands if " " in name}
    wrong = []
    for where, noun, verb in _named():
        known = noun in commands and (noun not in groups or verb is None or f"{noun} {verb}" in commands)
        if not known:
            wrong.append(f"{where}: airboss {noun} {verb or ''}")
    assert sorted(set(wrong)) == []


def test_every_link_leads_somewhere() -> None:
    """A link to a file of the tree leads to one that is there, and to a heading that it has."""
    broken = []
    for path in WRITTEN:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            there = (path.parent / name).resolve() if name else path
            if not there.exists() or (anchor and anchor not in _anchors(there.read_text())):
                broken.append(f"{path.name}: {target}")
    assert broken == []


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_room_is_on_the_map() -> None:
    """A newcomer finds the room of any file: each folder of a wing has its row in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = set()
    for path, _ in source.trees():
        parts = path.split("/")
        if len(parts) > 1 and parts[0] != "testing":
            rooms.add(parts[0])
        if len(parts) > 2 and (source.SOURCE / parts[0] / parts[1] / "__init__.py").exists():
            rooms.add(f"{parts[0]}.{parts[1]}")
    wings = {room.split(".")[0] for room in rooms if "." in room}
    assert {room for room in rooms if room not in wings and f"`{room}`" not in text} == set()


def test_every_function_the_map_names_exists() -> None:
    """What ARCHITECTURE.md calls by its name is called so in the source."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    code = "\n".join(path.read_text() for path in source.SOURCE.rglob("*.py"))
    named = {name.split(".")[-1] for name in re.findall(r"`((?:\w+\.)*_?[A-Za-z]\w*)`", text)}
    assert {name for name in named if len(name) > 3 and not re.search(rf"\b{re.escape(name)}\b", code)} == set()


def test_docs_name_no_place_only_we_know() -> None:
    """No absolute path of somebody's home, no word of how the project is made."""
    forbidden = re.compile(r"/home/|/root/|/Users/|/work/|\blocalhost:\d+/(?:issues|sessions)\b")
    assert [path.name for path in WRITTEN if forbidden.search(path.read_text())] == []


def test_every_decision_says_what_would_change_it() -> None:
    """A decision has its context, its choice, and what would change our mind; and the list of them is whole."""
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for path in sorted(folder.glob("[0-9]*.md")):
        text = path.read_text()
        assert re.match(r"# \d{4} · ", text), path.name
        assert "**Context.**" in text, path.name
        assert "**What would change our mind.**" in text, path.name
        assert f"]({path.name})" in listed, path.name


def _fences(language: str) -> Iterator[tuple[str, str]]:
    for path in WRITTEN:
        for block in re.findall(rf"^```+{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            yield path.name, block


def test_every_document_in_the_docs_is_read() -> None:
    """A reader who copies a document out of the docs is not told that it is wrong."""
    with pages.house() as server:
        for where, block in _fences("yaml"):
            if "apiVersion:" in block:
                documents = server.kinds.parse_all([(block.encode(), f"{where}.yaml")])
                assert documents, where


def test_every_program_in_the_docs_compiles() -> None:
    """Python in the docs is Python, and what it imports of ours is there."""
    for where, block in _fences("python"):
        for node in ast.walk(ast.parse(block, where)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("airboss"):
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == [], where


def _options() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}

    def walk(command: object, path: str) -> None:
        found[path] = {option for given in command.params for option in (*given.opts, *given.secondary_opts)} | {
            "--help"
        }
        for name, below in getattr(command, "commands", {}).items():
            walk(below, f"{path} {name}".strip())

    walk(typer.main.get_command(app), "")
    return found


def test_every_option_that_is_typed_exists() -> None:
    """Each line of the docs that runs `airboss` uses options that the command has."""
    options = _options()
    wrong = []
    for path in WRITTEN:
        if path.name == "cli.md":
            continue
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE):
            for line in re.findall(r"^(?:\S*/)?airboss (.+)$", block, re.MULTILINE):
                words = line.split("#")[0].split(" -- ")[0].split()
                name = max((known for known in options if line.startswith(known)), key=len)
                typed = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
                wrong += [f"{path.name}: airboss {name} {option}" for option in typed - options[name]]
    assert wrong == []


def test_every_option_that_an_error_names_exists() -> None:
    """The way out of an error does not name an option that no command has."""
    known = set().union(*_options().values())
    wrong = set()
    for where, text in source.ways_out():
        if where.startswith(("demo/", "faces/cli/")) or where.endswith(("__main__.py", "backups/postgresql.py")):
            continue
        wrong |= {f"{where}: {word}" for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text) if word not in known}
    assert sorted(wrong) == []
