"""Strict YAML 1.2 for the files people write: plain values, and the place each of them came from.

Core schema only (YAML 1.2.2 section 10.3): `on`, `off`, `yes` and timestamps are strings, `2.4.0` is a string, and
`2.10` is the number 2.1 whose text is still there (`Document.raw`) for a field that wants a version. Refused with
`file:line:column`: duplicate keys, tags, merge keys, keys that are not text, numbers that are not finite, text that is
none (NUL, half a surrogate pair), anchors that contain themselves, and documents beyond the limits below. The limits bound what a hostile file can cost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from airboss.kernel.errors import Invalid

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Path: TypeAlias = tuple[str | int, ...]

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
"""Values in one file, those that aliases repeat counted each time."""
MAX_ALIASES: Final = 200
MAX_DIGITS: Final = 400

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBERS: Final[tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...]] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ESCAPE_LENGTH: Final = {"x": 4, "u": 6, "U": 10}


@dataclass(slots=True)
class _Node:
    """One value with its mark; `index` counts characters from the start of the file, line and column from zero."""

    line: int
    column: int
    index: int
    end: int
    kind: str  # scalar | list | mapping
    style: str = ""
    text: str = ""
    scalar: bool | int | float | str | None = None
    items: list[_Node] = field(default_factory=list)
    entries: dict[str, _Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    complete: bool = True

    def child(self, step: str | int) -> _Node | None:
        if isinstance(step, int):
            return self.items[step] if -len(self.items) <= step < len(self.items) else None
        return self.entries.get(step)

    def plain(self) -> Value:
        if self.kind == "list":
            return [item.plain() for item in self.items]
        if self.kind == "mapping":
            return {key: item.plain() for key, item in self.entries.items()}
        return self.scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a file: its plain value, and where each part of it stands."""

    value: Value
    source: str
    text: str = field(repr=False)
    """The whole file, line ends as `\\n`."""
    _root: _Node = field(repr=False)
    _span: tuple[int, int] = field(repr=False)

    def alone(self) -> bytes:
        """Return this document as a file of its own whose places are the same: the others become empty lines."""
        start, end = self._span
        return ("\n" * self.text.count("\n", 0, start) + self.text[start:end]).encode()

    def place(self, path: Path = ()) -> str:
        """Return `source:line:column` (from 1) of the value at `path`, or of its nearest ancestor when it is absent."""
        node = self._nearest(path)
        return _at(self.source, node.line, node.column)

    def key_place(self, path: Path) -> str:
        """Return the place of the *key* of the entry at `path`: where an unknown or misplaced field is shown."""
        parent = self._find(path[:-1])
        if parent is None or not isinstance(path[-1], str) or path[-1] not in parent.keys:
            return self.place(path)
        return _at(self.source, *parent.keys[path[-1]])

    def raw(self, path: Path) -> str | None:
        """Return the scalar at `path` as it was written (`2.10`, not 2.1), or None if there is no scalar there."""
        node = self._find(path)
        return node.text if node is not None and node.kind == "scalar" else None

    def inside(self, path: Path, offset: int) -> str:
        """Return the place of character `offset` of the string at `path`, through quotes, escapes and block scalars."""
        node = self._find(path)
        if node is None or node.kind != "scalar":
            return self.place(path)
        index = _source_index(self.text, node, offset)
        line = self.text.count("\n", 0, index)
        return _at(self.source, line, index - (self.text.rfind("\n", 0, index) + 1))

    def refuse(self, path: Path, detail: str, *, code: str, way_out: str | None = None) -> NoReturn:
        """Raise Invalid at the place of `path`."""
        raise Invalid(detail, code=code, place=self.place(path), way_out=way_out)

    def _find(self, path: Path) -> _Node | None:
        node: _Node | None = self._root
        for step in path:
            if node is None:
                return None
            node = node.child(step)
        return node

    def _nearest(self, path: Path) -> _Node:
        node = self._root
        for step in path:
            below = node.child(step)
            if below is None:
                break
            node = below
        return node


def load_documents(data: bytes, source: str) -> list[Document]:
    """Return the documents of a YAML file in order; empty ones are left out.

    Raises Invalid (code `bad-yaml`) with `source:line:column`.
    """
    if len(data) > MAX_BYTES:
        _refuse(source, 0, 0, f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start)
        column = fault.start - (data.rfind(b"\n", 0, fault.start) + 1)
        _refuse(source, line, column, "this byte is not UTF-8")
    # One kind of line end, so that marks, offsets and columns agree.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        starts, roots = _Composer(text, source).documents()
    except MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        problem = ", ".join(part for part in (fault.context, fault.problem) if part)
        _refuse(source, mark.line if mark else 0, mark.column if mark else 0, problem or "this is not YAML", fault)
    except ReaderError as fault:
        before = text[: fault.position]
        line = before.count("\n")
        _refuse(source, line, len(before) - (before.rfind("\n") + 1), "a control character may not stand here", fault)
    except YAMLError as fault:
        _refuse(source, 0, 0, f"this is not YAML: {fault}", fault)
    # What stands before a document's first mark, its comments, belongs to it when it is the first.
    bounds = [0, *starts[1:], len(text)]
    return [
        Document(value=root.plain(), source=source, text=text, _root=root, _span=(start, end))
        for root, start, end in zip(roots, bounds, bounds[1:], strict=False)
        if not (root.kind == "scalar" and root.scalar is None and root.text == "")
    ]


def load_one(data: bytes, source: str) -> Document:
    """Return the only document of a file. Raises Invalid (code `bad-yaml`) when there is none or more than one."""
    documents = load_documents(data, source)
    if not documents:
        _refuse(source, 0, 0, "the file is empty")
    if len(documents) > 1:
        raise Invalid("one document is expected, this is a second", code="bad-yaml", place=documents[1].place())
    return documents[0]


class _Composer:
    """Reads events one by one, so that a limit stops the file before it is read to the end."""

    def __init__(self, text: str, source: str) -> None:
        reader = YAML(typ="safe", pure=True)
        self._events: Iterator[Any] = reader.parse(text)
        self._source = source
        self._anchors: dict[str, _Node] = {}
        self._nodes = 0
        self._aliases = 0

    def documents(self) -> tuple[list[int], list[_Node]]:
        """Return where each document starts, and its root."""
        starts, roots = [], []
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if event.version not in (None, (1, 2)):
                    self._refuse(event, "only YAML 1.2 is read")
                self._anchors = {}
                starts.append(event.start_mark.index)
                roots.append(self._node(next(self._events), depth=1))
                end = next(self._events)
                assert isinstance(end, DocumentEndEvent), "a document ends after its root"
        return starts, roots

    def _node(self, event: Any, *, depth: int) -> _Node:
        if isinstance(event, AliasEvent):
            return self._alias(event, depth=depth)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(event, f"more than {MAX_NODES:,} values in one file")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            self._refuse(event, f"the tag {event.tag} is not read; write the value plainly")
        start, end = event.start_mark, event.end_mark
        node = _Node(line=start.line, column=start.column, index=start.index, end=end.index, kind="scalar")
        if event.anchor is not None:
            node.complete = False
            self._anchors[event.anchor] = node
        if isinstance(event, ScalarEvent):
            node.style, node.text = event.style or "", self._text(event)
            node.scalar = self._resolve(event) if not node.style else node.text
        elif isinstance(event, SequenceStartEvent):
            node.kind = "list"
            self._fill_list(node, depth)
        elif isinstance(event, MappingStartEvent):
            node.kind = "mapping"
            self._fill_mapping(node, depth)
        node.complete = True
        return node

    def _fill_list(self, node: _Node, depth: int) -> None:
        while not isinstance(event := next(self._events), SequenceEndEvent):
            item = self._node(event, depth=depth + 1)
            node.items.append(item)
            node.size += item.size

    def _fill_mapping(self, node: _Node, depth: int) -> None:
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event)
            if key in node.keys:
                line = node.keys[key][0] + 1
                self._refuse(event, f"the key {key!r} stands twice in one mapping, first on line {line}")
            node.keys[key] = (event.start_mark.line, event.start_mark.column)
            value = self._node(next(self._events), depth=depth + 1)
            node.entries[key] = value
            node.size += value.size

    def _key(self, event: NodeEvent) -> str:
        if not isinstance(event, ScalarEvent):
            self._refuse(event, "a key is plain text here, not a list, a mapping or an alias")
        if event.tag is not None or event.anchor is not None:
            self._refuse(event, "a key carries no tag and no anchor")
        if event.value == "<<" and not event.style:
            self._refuse(event, "merge keys belong to YAML 1.1; write the fields out")
        return self._text(event)

    def _text(self, event: ScalarEvent) -> str:
        """Return a scalar's text. JSON writes what lies beyond 16 bits as a pair of escapes: the pair is one character."""
        text: str = event.value
        if "\0" in text:
            self._refuse(event, "the character NUL stands in no text")
        if not _SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._refuse(event, "half of a surrogate pair is no character")

    def _alias(self, event: AliasEvent, *, depth: int) -> _Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._refuse(event, f"more than {MAX_ALIASES} aliases in one file")
        node = self._anchors.get(event.anchor)
        if node is None:
            self._refuse(event, f"no anchor &{event.anchor} stands before this alias")
        if not node.complete:
            self._refuse(event, f"the anchor &{event.anchor} contains itself")
        self._nodes += node.size
        if self._nodes > MAX_NODES:
            self._refuse(event, f"aliases repeat more than {MAX_NODES:,} values")
        if depth + _height(node) - 1 > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        return node

    def _resolve(self, event: ScalarEvent) -> bool | int | float | str | None:
        text: str = event.value
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _NOT_FINITE.fullmatch(text):
            self._refuse(event, f"{text} is not a finite number")
        for form, read in _NUMBERS:
            if form.fullmatch(text):
                if len(text) > MAX_DIGITS or not _fits_a_double(number := read(text)):
                    self._refuse(event, "this number is too large")
                return number
        return text

    def _refuse(self, event: Any, detail: str) -> NoReturn:
        _refuse(self._source, event.start_mark.line, event.start_mark.column, detail)


def _fits_a_double(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond every double
        return False


def _height(node: _Node) -> int:
    return 1 + max((_height(below) for below in (*node.items, *node.entries.values())), default=0)


def _source_index(text: str, node: _Node, offset: int) -> int:
    """Walk the source beside the value: what YAML drops (indents, quotes, backslashes) is stepped over."""
    at = node.index + (1 if node.style else 0)
    if node.style in ("|", ">"):
        at = text.find("\n", node.index) + 1  # the header line carries indicators, never content
    here = at
    for letter in node.text[: max(offset, 0) + 1]:
        found = _step_to(text, at, node, letter)
        if found is None:
            break
        here, at = found
    return here if offset < len(node.text) else min(at, node.end)


def _step_to(text: str, at: int, node: _Node, letter: str) -> tuple[int, int] | None:
    """Return where `letter` of the value stands in the source, and where the search goes on; None when it is lost."""
    while at < node.end:
        here = text[at]
        if here == "\\" and node.style == '"':
            length = _ESCAPE_LENGTH.get(text[at + 1], 2)
            if letter > "\uffff" and text[at + 1] == "u":
                length *= 2  # a surrogate pair is written as two
            if text[at + 1] != "\n":
                return at, at + length
            at += length
        elif here == letter or (letter == " " and here == "\n"):  # a fold makes a space of a line end
            return at, at + 1
        else:
            at += 1
    return None


def _at(source: str, line: int, column: int) -> str:
    return f"{source}:{line + 1}:{column + 1}"


def _refuse(source: str, line: int, column: int, detail: str, cause: Exception | None = None) -> NoReturn:
    raise Invalid(detail, code="bad-yaml", place=_at(source, line, column)) from cause
