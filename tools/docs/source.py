"""Reads the source as a tree: which error codes, fact types, failpoints and environment variables it holds.

Nothing is imported and nothing is run, so a page can be checked against code that is only half of a feature yet.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "airboss"
CODE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
FACT = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")
VARIABLE = re.compile(r"AIRBOSS_[A-Z][A-Z_]*[A-Z]")


Named: TypeAlias = Iterator[tuple[str, str]]
"""(code, class that carries it or nothing)."""
Bodies: TypeAlias = Iterator[tuple[str, set[str]]]
"""(fact type, fields of its body)."""


@dataclass(slots=True)
class Found:
    """Where a word was found: rooms by name, and the classes that carry it (for codes)."""

    rooms: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


@cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    """Return (path below src/airboss, syntax tree) of every module."""
    paths = sorted(SOURCE.rglob("*.py"))
    return tuple((path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(), str(path))) for path in paths)


def room(path: str) -> str:
    """Return the room a module lies in, as readers name it."""
    parts = path.split("/")
    if len(parts) == 1:
        return parts[0].removesuffix(".py")
    return ".".join(parts[:2]) if len(parts) > 2 else parts[0]


@cache
def codes() -> dict[str, Found]:
    """Return every stable error code, with the rooms that use it and the classes that carry it."""
    found: dict[str, Found] = defaultdict(Found)
    for path, tree in trees():
        for node in ast.walk(tree):
            for read in (_calls, _findings, _defaults, _parameters, _tables, _from_pydantic):
                for name, owner in read(node):
                    if CODE.fullmatch(name):
                        found[name].rooms.add(room(path))
                        found[name].classes.update([owner] if owner else [])
    return dict(sorted(found.items()))


def _calls(node: ast.AST) -> Named:
    """`Invalid(…, code="bad-name")`."""
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg == "code":
                yield from ((text, _class(node.func)) for text in _texts(keyword.value))


def _findings(node: ast.AST) -> Named:
    """`finding("flag-jump", …)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "finding" and node.args:
        yield from ((text, "Finding") for text in _texts(node.args[0]))


def _defaults(node: ast.AST) -> Named:
    """`default_code = "invalid"` of an error class."""
    if isinstance(node, ast.ClassDef):
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "default_code":
                yield from ((text, node.name) for text in _texts(line.value))


def _parameters(node: ast.AST) -> Named:
    """`def refuse(…, code="bad-flag")`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if argument.arg == "code" and default is not None:
                yield from ((text, "") for text in _texts(default))


def _tables(node: ast.AST) -> Named:
    """The codes that validators of ours bring, and those of plain HTTP faults: (code, title, words) by status."""
    if not isinstance(node, ast.AnnAssign) or node.value is None:
        return
    name = ast.unparse(node.target)
    if name == "OWN_CODES":
        yield from ((text, "Invalid") for text in _all_texts(node.value))
    elif name == "_STATUS" and isinstance(node.value, ast.Dict):
        for row in node.value.values:
            if isinstance(row, ast.Tuple):
                yield from ((text, "") for text in _texts(row.elts[0]))


def _from_pydantic(node: ast.AST) -> Named:
    """What `_told` returns for Pydantic's kinds of error: (code, words)."""
    if isinstance(node, ast.FunctionDef) and node.name == "_told":
        for inner in ast.walk(node):
            if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Tuple):
                yield from ((text, "Invalid") for text in _texts(inner.value.elts[0]))


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the constant texts an expression may come to."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _all_texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _class(func: ast.expr) -> str:
    name = ast.unparse(func).rsplit(".", 1)[-1]
    return name if name[:1].isupper() else ""


@cache
def facts() -> dict[str, Found]:
    """Return every fact type, with the fields of its body as far as they are written out."""
    found: dict[str, Found] = defaultdict(Found)
    for path, tree in trees():
        for node in ast.walk(tree):
            for read in (_recorded, _paired, _handed, _kinds, _phases, _endings):
                for name, keys in read(node):
                    if FACT.fullmatch(name):
                        found[name].rooms.add(room(path))
                        found[name].fields.update(keys)
    return dict(sorted(found.items()))


def _recorded(node: ast.AST) -> Bodies:
    """`Fact(type="vote.cast", body={…})`."""
    if isinstance(node, ast.Call) and _class(node.func) == "Fact":
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if "type" in given:
            yield from ((text, _keys(given.get("body"))) for text in _texts(given["type"]))


def _paired(node: ast.AST) -> Bodies:
    """`("hold.begun", {…})`: what the engine's rules return."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[1], ast.Dict | ast.Name):
        yield from ((text, _keys(node.elts[1])) for text in _texts(node.elts[0]))


def _handed(node: ast.AST) -> Bodies:
    """`self._record(tx, flag, "flag.killed", …)`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("._record", "._save")):
        for argument in node.args[1:]:
            yield from ((text, set()) for text in _texts(argument))


def _kinds(node: ast.AST) -> Bodies:
    """`Held(kind="Team")`: a kind of document the catalog keeps is changed."""
    if isinstance(node, ast.Call) and _class(node.func) == "Held":
        for keyword in node.keywords:
            if keyword.arg == "kind":
                yield from ((f"{text.lower()}.changed", set()) for text in _texts(keyword.value))


def _phases(node: ast.AST) -> Bodies:
    """The table of a change's phases and the fact of arriving in each."""
    if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FACTS" and node.value is not None:
        yield from ((text, set()) for text in _all_texts(node.value))


def _endings(node: ast.AST) -> Bodies:
    """`f"flag.{state}"`, where `state` is a parameter with a Literal type."""
    if not isinstance(node, ast.FunctionDef):
        return
    literals = {
        argument.arg: list(_all_texts(argument.annotation))
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if isinstance(argument.annotation, ast.Subscript) and ast.unparse(argument.annotation.value) == "Literal"
    }
    for inner in ast.walk(node):
        if isinstance(inner, ast.JoinedStr) and len(inner.values) == 2:
            noun, ending = inner.values
            if isinstance(ending, ast.FormattedValue):
                known = literals.get(ast.unparse(ending.value), ())
                yield from ((start + text, set()) for start in _all_texts(noun) for text in known)


def _keys(body: ast.expr | None) -> set[str]:
    if not isinstance(body, ast.Dict):
        return set()
    return {key.value for key in body.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def variables() -> dict[str, set[str]]:
    """Return every environment variable of ours that the source names, and the rooms that do."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for name in VARIABLE.findall(node.value):
                    found[name].add(room(path))
    return dict(sorted(found.items()))


def ways_out() -> Iterator[tuple[str, str]]:
    """Yield (module, text) of every text that may tell a reader what to type: all but docstrings."""
    for path, tree in trees():
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
                yield path, node.value
