"""Reading and tightening the checked syntax tree of a CEL expression.

Source: cel-spec `proto/cel/expr/syntax.proto` and `checked.proto` (field numbers below). The messages are declared here,
as far as they are used, because the engine hands its trees over only as these bytes.

Two things are done with a tree. *Reads*: which declared facts the expression reads, for the explanation. *Tightening*:
CEL compares null with anything (`null == "critical"` is false, `null != "none"` is true), so an unset scalar could
decide silently; every read of a scalar becomes an operation that null has no overload for (`x + ""`, `x + 0.0`,
`x ? true : false`). Left as they are: `has(x)`, `x == null` and `x != null`, the ways to ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

Read: TypeAlias = tuple[str, ...]
"""Path of a fact, `[]` for any entry of a list: ("services", "[]", "tier")."""

_SCALAR: Final = {"int64": 3, "int32": 5, "bool": 8, "string": 9, "double": 1, "bytes": 12}
_TREE: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "Constant": {
        "|null_value": (1, "int64"),
        "|bool_value": (2, "bool"),
        "|int64_value": (3, "int64"),
        "|double_value": (5, "double"),
        "|string_value": (6, "string"),
    },
    "Expr": {
        "id": (2, "int64"),
        "|const_expr": (3, "Constant"),
        "|ident_expr": (4, "Ident"),
        "|select_expr": (5, "Select"),
        "|call_expr": (6, "Call"),
        "|list_expr": (7, "CreateList"),
        "|struct_expr": (8, "CreateStruct"),
        "|comprehension_expr": (9, "Comprehension"),
    },
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "[]Expr")},
    "CreateList": {"elements": (1, "[]Expr")},
    "CreateStruct": {"entries": (2, "[]Entry")},
    "Entry": {"map_key": (3, "Expr"), "value": (4, "Expr")},
    "Comprehension": {
        "iter_var": (1, "string"),
        "iter_range": (2, "Expr"),
        "accu_var": (3, "string"),
        "accu_init": (4, "Expr"),
        "loop_condition": (5, "Expr"),
        "loop_step": (6, "Expr"),
        "result": (7, "Expr"),
    },
    "Reference": {"name": (1, "string"), "overload_id": (3, "[]string")},
    "Type": {"primitive": (3, "int32"), "wrapper": (4, "int32")},
    "ReferenceEntry": {"key": (1, "int64"), "value": (2, "Reference")},
    "TypeEntry": {"key": (1, "int64"), "value": (2, "Type")},
    "CheckedExpr": {"reference_map": (2, "[]ReferenceEntry"), "type_map": (3, "[]TypeEntry"), "expr": (4, "Expr")},
    "Envelope": {"type_url": (1, "string"), "value": (2, "bytes")},
}
# checked.proto, Type.PrimitiveType
_BOOL, _INT64, _DOUBLE, _STRING = 1, 2, 4, 5
_ADD: Final = {_INT64: "add_int64", _DOUBLE: "add_double", _STRING: "add_string"}


def _classes() -> dict[str, Callable[[], Any]]:
    file = descriptor_pb2.FileDescriptorProto(name="airboss/cel.proto", package="airboss.cel", syntax="proto3")
    of = descriptor_pb2.FieldDescriptorProto
    for name, fields in _TREE.items():
        message = file.message_type.add(name=name)
        for marked, (number, kind) in fields.items():
            part, bare = marked.removeprefix("|"), kind.removeprefix("[]")
            field = message.field.add(name=part, number=number)
            field.label = of.LABEL_REPEATED if kind != bare else of.LABEL_OPTIONAL
            if bare in _SCALAR:
                field.type = cast("Any", _SCALAR[bare])
            else:
                field.type, field.type_name = of.TYPE_MESSAGE, f".airboss.cel.{bare}"
            if part != marked:  # a member of the message's oneof, so that 0 and "" are kept apart from unset
                if not message.oneof_decl:
                    message.oneof_decl.add(name="kind")
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: cast("Any", message_factory.GetMessageClass(pool.FindMessageTypeByName(f"airboss.cel.{name}")))
        for name in ("CheckedExpr", "Envelope", "Expr")
    }


_CLASSES: Final = _classes()


class TooDeep(ValueError):
    """The tree is nested deeper than it can be read."""


class Tree:
    """The checked tree of one expression."""

    def __init__(self, serialized: bytes) -> None:
        """Read what `Expression.serialize` gave. Raises TooDeep."""
        self._envelope = _CLASSES["Envelope"]()
        self._checked = _CLASSES["CheckedExpr"]()
        try:
            self._envelope.ParseFromString(serialized)
            self._checked.ParseFromString(self._envelope.value)
        except DecodeError as fault:
            raise TooDeep("the expression is nested too deeply") from fault

    def reads(self) -> tuple[Read, ...]:
        """Return the facts the expression reads, each once, in order of appearance."""
        found: dict[Read, None] = {}
        _walk(self._checked.expr, {}, found)
        whole = list(found)
        # Reading change.impact.data passes through change and change.impact; only the end is worth telling.
        return tuple(read for read in whole if not any(other != read and other[: len(read)] == read for other in whole))

    def constants(self) -> tuple[bool | int | float | str, ...]:
        """Return the values the expression names, each once, in order of appearance. Ask before `tightened`."""
        found: dict[tuple[type, Any], Any] = {}
        for node in _nodes(self._checked.expr):
            kind = node.const_expr.WhichOneof("kind") if node.WhichOneof("kind") == "const_expr" else None
            if kind is not None and kind != "null_value":
                value = getattr(node.const_expr, kind)
                found[type(value), value] = value
        return tuple(found.values())

    def tightened(self) -> bytes:
        """Return the serialized tree in which every read of an unset scalar is an error."""
        wrapped = {entry.key: entry.value.wrapper for entry in self._checked.type_map if entry.value.wrapper}
        asked = {id_ for node in _nodes(self._checked.expr) for id_ in _asked_about(node)}
        fresh = max((entry.key for entry in self._checked.type_map), default=0) + 1
        for node in list(_nodes(self._checked.expr)):
            if node.WhichOneof("kind") == "select_expr" and node.id in wrapped and node.id not in asked:
                fresh = self._demand(node, wrapped[node.id], fresh)
        self._envelope.value = self._checked.SerializeToString()
        serialized: bytes = self._envelope.SerializeToString()
        return serialized

    def _demand(self, node: Any, kind: int, fresh: int) -> int:
        """Replace `x` by an operation that gives x, and an error for null. Returns the next unused node ID."""
        inner = _CLASSES["Expr"]()
        inner.CopyFrom(node)
        node.Clear()
        node.id = fresh
        call = node.call_expr
        call.args.add().CopyFrom(inner)
        if kind == _BOOL:
            call.function, overload = "_?_:_", "conditional"
            for offset, value in ((1, True), (2, False)):
                constant = call.args.add(id=fresh + offset)
                constant.const_expr.bool_value = value
        else:
            call.function, overload = "_+_", _ADD[kind]
            constant = call.args.add(id=fresh + 1).const_expr
            if kind == _STRING:
                constant.string_value = ""
            elif kind == _DOUBLE:
                constant.double_value = 0.0
            else:
                constant.int64_value = 0
        self._checked.reference_map.add(key=fresh).value.overload_id.append(overload)
        for offset in range(len(call.args)):
            self._checked.type_map.add(key=fresh + offset).value.primitive = kind
        return fresh + len(call.args)


def _children(node: Any) -> Iterator[Any]:
    match node.WhichOneof("kind"):
        case "select_expr":
            yield node.select_expr.operand
        case "call_expr":
            if node.call_expr.HasField("target"):
                yield node.call_expr.target
            yield from node.call_expr.args
        case "list_expr":
            yield from node.list_expr.elements
        case "struct_expr":
            for entry in node.struct_expr.entries:
                if entry.HasField("map_key"):
                    yield entry.map_key
                yield entry.value
        case "comprehension_expr":
            loop = node.comprehension_expr
            yield from (loop.iter_range, loop.accu_init, loop.loop_condition, loop.loop_step, loop.result)
        case _:
            return


def _nodes(node: Any) -> Iterator[Any]:
    """Children first, so that a node may be replaced while its own parts are already done."""
    for child in _children(node):
        yield from _nodes(child)
    yield node


def _asked_about(node: Any) -> Iterator[int]:
    """IDs of nodes whose absence the expression asks about: has(x), x == null, x != null."""
    kind = node.WhichOneof("kind")
    if kind == "select_expr" and node.select_expr.test_only:
        yield node.id
    elif kind == "call_expr" and node.call_expr.function in {"_==_", "_!=_"}:
        left, right = node.call_expr.args
        for one, other in ((left, right), (right, left)):
            if other.const_expr.WhichOneof("kind") == "null_value":
                yield one.id


def _walk(node: Any, bound: dict[str, Read], found: dict[Read, None]) -> Read | None:
    """Collect reads below `node`; return the path the node itself stands for, if it is one."""
    kind = node.WhichOneof("kind")
    if kind == "ident_expr":
        name = node.ident_expr.name.removeprefix(".")
        if name.startswith("@"):
            return None
        path = bound.get(name, (name,))
        if path:
            found[path] = None
        return path or None
    if kind == "select_expr":
        below = _walk(node.select_expr.operand, bound, found)
        return _found(below, node.select_expr.field, found)
    if kind == "comprehension_expr":
        loop = node.comprehension_expr
        over = _walk(loop.iter_range, bound, found)
        inner = {**bound, loop.iter_var: (*over, "[]") if over else (), loop.accu_var: ()}
        for part in (loop.accu_init, loop.loop_condition, loop.loop_step, loop.result):
            _walk(part, inner, found)
        return over
    paths = [_walk(child, bound, found) for child in _children(node)]
    if kind == "call_expr" and node.call_expr.function == "_[_]":
        return _found(paths[0], "[]", found)
    return None


def _found(below: Read | None, step: str, found: dict[Read, None]) -> Read | None:
    if below is None:
        return None
    path = (*below, step)
    found[path] = None
    return path
