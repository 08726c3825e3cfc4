"""The declared facts as protobuf messages built at start, the one form in which the engine sees them.

Every scalar is a wrapper type, so a scalar that nobody said reads as null and not as 0, "" or false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

from airboss.decide.policy.vocabulary import MESSAGES, VARIABLES, Field

PACKAGE: Final = "airboss"
_WRAPPERS: Final = {"text": "StringValue", "number": "DoubleValue", "whole": "Int64Value", "truth": "BoolValue"}
_PLAIN: Final = {"text": cel.Type.STRING, "number": cel.Type.DOUBLE, "whole": cel.Type.INT, "truth": cel.Type.BOOL}

Builder = Callable[[Any], Any]


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="airboss/facts.proto", package=PACKAGE, syntax="proto3", dependency=[wrappers.name]
    )
    of = descriptor_pb2.FieldDescriptorProto
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (part, field) in enumerate(fields.items(), start=1):
            if field.kind == "texts":
                message.field.add(name=part, number=number, type=of.TYPE_STRING, label=of.LABEL_REPEATED)
                continue
            kind = _WRAPPERS.get(field.kind)
            message.field.add(
                name=part,
                number=number,
                type=of.TYPE_MESSAGE,
                type_name=f".google.protobuf.{kind}" if kind else f".{PACKAGE}.{field.kind}",
                label=of.LABEL_OPTIONAL,
            )
    pool.Add(file)
    return pool


POOL: Final = _pool()


def _type(field: Field) -> Any:
    if field.kind in MESSAGES:
        message = cel.Type(f"{PACKAGE}.{field.kind}")
        return cel.Type.List(message) if field.many else message
    return _PLAIN[field.kind]


TYPES: Final[Mapping[str, Any]] = {name: _type(field) for name, field in VARIABLES.items()}


def _builder(kind: str) -> Builder:
    """Return a function from a JSON group to its message, made once, because it runs in every decision."""
    make = cast("Callable[[], Any]", message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{kind}")))
    fields = MESSAGES[kind]
    groups = {name: _builder(field.kind) for name, field in fields.items() if field.kind in MESSAGES}
    lists = {name for name, field in fields.items() if field.kind == "texts"}

    def build(value: Mapping[str, Any]) -> Any:
        message = make()
        for name, item in value.items():
            if name in groups:
                getattr(message, name).CopyFrom(groups[name](item))
            elif name in lists:
                getattr(message, name).extend(item)
            else:
                getattr(message, name).value = item
        return message

    return build


_BUILDERS: Final = {field.kind: _builder(field.kind) for field in VARIABLES.values() if field.kind in MESSAGES}


def activation(values: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """Return the wanted variables of a masked input (parsed JSON) as the engine takes them; absent ones stay absent."""
    data: dict[str, Any] = {}
    for name in wanted:
        if (value := values.get(name)) is None:
            continue
        field = VARIABLES[name]
        if field.many:
            data[name] = [_BUILDERS[field.kind](item) for item in value]
        elif field.kind in MESSAGES:
            data[name] = _BUILDERS[field.kind](value)
        else:
            data[name] = value
    return data
