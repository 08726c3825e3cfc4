"""The fields of the kinds of file, read from the models that judge them; what they mean stands in `fields.txt`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from airboss.catalog import shapes as catalog
from airboss.changes.shapes import ChangeShape
from airboss.decide.calendar.shapes import WindowShape

KINDS: Mapping[str, type[BaseModel]] = {
    "Team": catalog.TeamShape,
    "Group": catalog.GroupShape,
    "Rota": catalog.RotaShape,
    "Environment": catalog.EnvironmentShape,
    "Connection": catalog.ConnectionShape,
    "Service": catalog.ServiceShape,
    "Runbook": catalog.RunbookShape,
    "Window": WindowShape,
    "Change": ChangeShape,
}
_WORDS: Mapping[str, str] = {
    "Duration": "duration",
    "Percent": "percentage",
    "Share": "percentage",
    "Moment": "time with its zone",
    "Quantile": "quantile (`p95`)",
    "LocalTime": "date and time",
    "Zone": "time zone",
    "Handles": "handles",
    "Handle": "handle",
    "Names": "names",
    "Name": "name",
    "Line": "line",
    "Reason": "line of 10 characters or more",
    "Prose": "text",
    "bool": "`true` or `false`",
    "int": "whole number",
    "float": "number",
    "str": "text",
}
"""What a type of the models is called on the page."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind: its path, what may stand there, and what it is where it is left out."""

    path: str
    kind: str
    default: str


def fields_of(kind: str) -> list[Field]:
    """Return the fields of a kind in the order of its models, `apiVersion` and `kind` left out."""
    return [field for field in _walk(KINDS[kind], "") if field.path not in ("apiVersion", "kind")]


def _walk(model: type[BaseModel], path: str) -> Iterator[Field]:
    written = get_type_hints(model, include_extras=True)
    said = _annotations(model)
    for name, info in model.model_fields.items():
        at = f"{path}.{info.alias or name}".lstrip(".")
        below = list(dict.fromkeys(_models(written[name])))
        many = bool(below) and re.search(r"\b(list|Steps|Gates)\b", said[name]) is not None
        at += "[]" if many else ""
        if not below:
            yield Field(at, _type(said[name], written[name]), _default(info))
        for one in below:
            yield from _walk(one, at)


def _annotations(model: type[BaseModel]) -> dict[str, str]:
    """Return the annotations of a model and its ancestors as they are written."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        found |= {name: str(text) for name, text in vars(one).get("__annotations__", {}).items()}
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models anywhere in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _type(said: str, annotation: Any) -> str:
    values = list(dict.fromkeys(_values(annotation)))
    if said.startswith("dict") or "dict[" in said:
        return "mapping"
    if values:
        return ("list of " if "list[" in said or said.endswith("Types") else "") + ", ".join(
            f"`{one}`" for one in values
        )
    plain = re.sub(r"Field\([^()]*\)|AfterValidator\([^()]*\)|BeforeValidator\([^()]*\)", "", said)
    word = next((words for name, words in _WORDS.items() if re.search(rf"\b{name}\b", plain)), "see below")
    return f"list of {word}" if re.search(r"\blist\[", plain) else word


def _values(annotation: Any) -> Iterator[str]:
    """Yield the words of the literals in an annotation."""
    for argument in get_args(annotation):
        if isinstance(argument, str) and not argument.startswith("<"):
            yield argument
        elif not isinstance(argument, type):
            yield from _values(argument)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value in ([], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
