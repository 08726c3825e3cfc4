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

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "airboss"
CODE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
FACT = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")
VARIABLE = re.compile(r"AIRBOSS_[A-Z][A-Z_]*[A-Z]")


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


def codes() -> dict[str, Found]:
    """Return every stable error code: `code="…"` in calls, `default_code = "…"`, and defaults of parameters `code`."""
    found: dict[str, Found] = defaultdict(Found)
    for path, tree in trees():
        for name, owner in _codes_of(tree):
            if CODE.fullmatch(name):
                found[name].rooms.add(room(path))
                if owner:
                    found[name].classes.add(owner)
    return dict(sorted(found.items()))


def _codes_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func, keywords=keywords):
                for keyword in keywords:
                    if keyword.arg == "code":
                        yield from ((text, _name(func)) for text in _texts(keyword.value))
            case ast.ClassDef(name=owner, body=body):
                for line in body:
                    match line:
                        case ast.Assign(targets=[ast.Name(id="default_code")], value=ast.Constant(value=str() as text)):
                            yield text, owner
            case ast.AnnAssign(target=ast.Name(id="OWN_CODES"), value=ast.expr() as value):
                yield from ((text, "Invalid") for text in _all_texts(value))
            case ast.AnnAssign(target=ast.Name(id="_STATUS"), value=ast.Dict(values=values)):
                yield from ((row.elts[0].value, "") for row in values)  # (code, title, words) by HTTP status
            case ast.FunctionDef(name="_told", body=body):  # from Pydantic's kinds of error to (code, words)
                for inner in ast.walk(ast.Module(body=body, type_ignores=[])):
                    match inner:
                        case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str() as text), _])):
                            yield text, "Invalid"
        match node:
            case ast.Call(func=ast.Name(id="finding"), args=[ast.Constant(value=str() as text), *_]):
                yield text, "Finding"
            case ast.FunctionDef(args=arguments) | ast.AsyncFunctionDef(args=arguments):
                pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
                for argument, default in pairs:
                    if argument.arg == "code" and default is not None:
                        yield from ((text, "") for text in _texts(default))


def _texts(node: ast.expr) -> Iterator[str]:
    """Yield the constant texts an expression may come to."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)


def _all_texts(node: ast.expr) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _name(func: ast.expr) -> str:
    match func:
        case ast.Name(id=name):
            return name if name[0].isupper() else ""
        case ast.Attribute(attr=name):
            return name if name[0].isupper() else ""
    return ""


def facts() -> dict[str, Found]:
    """Return every fact type: `Fact(type="…")`, pairs (type, {body}), and tables of types, with literal body fields."""
    found: dict[str, Found] = defaultdict(Found)
    for path, tree in trees():
        for name, names in _facts_of(tree):
            found[name].rooms.add(room(path))
            found[name].fields.update(names)
    return dict(sorted(found.items()))


def _facts_of(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="Held"), keywords=keywords):  # a kind of document the catalog keeps
                for keyword in keywords:
                    if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant):
                        yield f"{str(keyword.value.value).lower()}.changed", set()
            case ast.FunctionDef():
                yield from ((text, set()) for text in _endings(node))
            case ast.Call(func=func, keywords=keywords) if _name(func) == "Fact":
                given = {keyword.arg: keyword.value for keyword in keywords}
                names = _keys(given.get("body"))
                for text in _texts(given["type"]) if "type" in given else ():
                    yield text, names
            case ast.Call(func=ast.Attribute(attr="_record" | "_save"), args=[_, *rest]):
                for argument in rest:
                    yield from ((text, set()) for text in _texts(argument) if FACT.fullmatch(text))
            case ast.Tuple(elts=[ast.Constant(value=str() as text), body]) if FACT.fullmatch(text):
                if isinstance(body, ast.Dict | ast.Name):
                    yield text, _keys(body)
            case ast.AnnAssign(target=ast.Name(id="FACTS"), value=ast.expr() as value):
                for inner in ast.walk(value):
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and FACT.fullmatch(inner.value):
                        yield inner.value, set()


def _endings(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the types a function records as `f"noun.{ending}"`, where `ending` is a parameter with a Literal type."""
    texts = {
        argument.arg: list(_all_texts(argument.annotation))
        for argument in (*function.args.args, *function.args.kwonlyargs)
        if isinstance(argument.annotation, ast.Subscript) and ast.unparse(argument.annotation.value) == "Literal"
    }
    for node in ast.walk(function):
        match node:
            case ast.JoinedStr(values=[ast.Constant(value=str() as noun), ast.FormattedValue(value=ast.Name(id=name))]):
                if name in texts and noun.endswith("."):
                    yield from (noun + ending for ending in texts[name])


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
