"""Reading a flag's `spec`: our envelope around flagd's definition. Every refusal says where. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, Final, NoReturn, TypeAlias

from airboss.act.flags.model import Definition, FlagKind, ValueType
from airboss.kernel.canonical import canonical
from airboss.kernel.errors import Invalid
from airboss.kernel.ids import NAME
from airboss.sdk.bucketing import Generation
from airboss.sdk.evaluator import compile_flag
from airboss.sdk.faults import BadDefinition, Path, written
from airboss.sdk.fractional import weighted

Place: TypeAlias = Callable[[Path], str]
"""From a path inside `spec` to `file:line:column`."""

MOST_BYTES: Final = 256 * 1024
_FIELDS: Final = {"owner", "purpose", "kind", "remove_by", "services", "bucketing", "definition"}
_PLAIN_FIELDS: Final = {"state", "variants", "defaultVariant", "targeting", "metadata"}
_PROSE: Final = 500
_ATTRIBUTE: Final = re.compile(r"[^\s.]{1,128}")


def read_definition(name: str, spec: Mapping[str, Any], place: Place | None = None) -> Definition:
    """Return the definition a `kind: Flag` document holds.

    Raises Invalid with the place (or the field's path where no `place` is given) of what cannot be served.
    """
    return _Reader(name, spec, place or _field).read()


def _field(path: Path) -> str:
    return written(("spec", *path))


class _Reader:
    def __init__(self, name: str, spec: Mapping[str, Any], place: Place) -> None:
        self._name = name
        self._spec = spec
        self._place = place

    def read(self) -> Definition:
        if not NAME.fullmatch(self._name):
            self._refuse((), f"{self._name!r} cannot name a flag", "use 1 to 63 of a-z, 0-9, '.', '_' and '-'")
        if not isinstance(self._spec, Mapping):
            self._refuse((), "spec must be a mapping")
        self._known((), self._spec, _FIELDS)
        version, key = self._bucketing()
        plain = self._plain()
        value_type = self._variants(plain["variants"])
        kinds = [kind.value for kind in FlagKind]
        if self._spec.get("kind") not in kinds:
            self._refuse(("kind",), f"kind must be one of {', '.join(kinds)}")
        made = Definition(
            name=self._name,
            owner=self._text("owner"),
            purpose=self._text("purpose"),
            kind=FlagKind(self._spec["kind"]),
            remove_by=self._remove_by(),
            services=self._services(),
            bucketing_version=version,
            bucketing_key=key,
            value_type=value_type,
            plain=plain,
        )
        self._compiles(made)
        return made

    def _text(self, field: str) -> str:
        value = self._spec.get(field)
        if not isinstance(value, str) or not value.strip() or len(value) > _PROSE:
            self._refuse((field,), f"{field} must be a text of 1 to {_PROSE} characters")
        return value.strip()

    def _remove_by(self) -> str | None:
        value = self._spec.get("remove_by")
        if value is None:
            return None
        try:
            return date.fromisoformat(value).isoformat()
        except (TypeError, ValueError):
            self._refuse(("remove_by",), "remove_by must be a date such as 2027-02-01")

    def _services(self) -> tuple[str, ...]:
        value = self._spec.get("services", [])
        if not isinstance(value, list | tuple) or not all(
            isinstance(one, str) and NAME.fullmatch(one) for one in value
        ):
            self._refuse(("services",), "services must be a list of service names")
        return tuple(value)

    def _bucketing(self) -> tuple[str, str]:
        value = self._spec.get("bucketing", {})
        if not isinstance(value, Mapping):
            self._refuse(("bucketing",), "bucketing must be a mapping")
        self._known(("bucketing",), value, {"version", "key"})
        version, key = value.get("version", Generation.V3.value), value.get("key", "targetingKey")
        if version not in list(Generation):
            self._refuse(("bucketing", "version"), f"{version!r} is no bucketing generation", "use v3 or v2")
        if not isinstance(key, str) or not _ATTRIBUTE.fullmatch(key):
            self._refuse(("bucketing", "key"), "key must name one attribute of the evaluation context, without dots")
        return str(version), key

    def _plain(self) -> dict[str, Any]:
        value = self._spec.get("definition")
        if not isinstance(value, Mapping):
            self._refuse(("definition",), "definition must be a mapping: a flag in flagd's format")
        self._known(("definition",), value, _PLAIN_FIELDS)
        try:
            size = len(canonical(dict(value)))
        except (ValueError, TypeError, RecursionError) as fault:
            self._refuse(("definition",), f"the definition is not plain JSON: {fault}")
        if size > MOST_BYTES:
            self._refuse(("definition",), f"the definition is larger than {MOST_BYTES} bytes")
        if not isinstance(value.get("variants"), Mapping) or not value["variants"]:
            self._refuse(("definition", "variants"), "there must be at least one variant")
        return dict(value)

    def _variants(self, variants: Mapping[str, Any]) -> ValueType:
        """Return the one type of all variants: flagd's four, numbers told apart into integers and floats."""
        found: set[str] = set()
        for name, value in variants.items():
            kind = _kind_of(value)
            if kind is None or not name:
                self._refuse(
                    ("definition", "variants", name), "a variant must be a boolean, text, number, mapping or list"
                )
            found.add(kind)
            if len(found - {"integer", "float"}) + bool(found & {"integer", "float"}) > 1:
                self._refuse(
                    ("definition", "variants", name),
                    f"variants must be of one type; this is {kind}, others are {', '.join(sorted(found - {kind}))}",
                )
        for kind in _TYPES:
            if kind in found:
                return kind
        raise AssertionError(found)

    def _compiles(self, made: Definition) -> None:
        try:
            compile_flag(self._name, {**made.plain, "bucketing": {"version": made.bucketing_version}})
        except BadDefinition as fault:
            self._refuse(("definition", *fault.path), fault.detail)
        for path, outcome in _outcomes(made.plain.get("targeting"), ("definition", "targeting")):
            if outcome is None:
                continue
            chosen = str(outcome).lower() if isinstance(outcome, bool) else str(outcome)
            if chosen not in made.variants:
                self._refuse(
                    path,
                    f"targeting may choose {chosen!r}, which is no variant",
                    f"there are {', '.join(sorted(made.variants))}",
                )
        for path, shares in _splits(made.plain.get("targeting"), ("definition", "targeting")):
            if weighted(shares) is None:
                self._refuse(path, "weights must be whole numbers with a sum of 1 to 2147483647: [variant, weight], …")

    def _known(self, path: Path, value: Mapping[str, Any], fields: set[str]) -> None:
        for field in value:
            if field not in fields:
                self._refuse((*path, field), f"unknown field {field!r}; there are {', '.join(sorted(fields))}")

    def _refuse(self, path: Path, detail: str, way_out: str | None = None) -> NoReturn:
        raise Invalid(detail, code="bad-flag", place=self._place(path), way_out=way_out)


_TYPES: Final[tuple[ValueType, ...]] = ("boolean", "string", "float", "integer", "object")


def _kind_of(value: Any) -> ValueType | None:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "float"
        case Mapping() | list() | tuple():
            return "object"
        case _:
            return None


def _outcomes(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the literals a rule may end in, with their places: the ends of `if` and the variants of splits."""
    if isinstance(node, list | tuple):
        return
    if not isinstance(node, Mapping) or len(node) != 1:
        if node != {}:
            yield path, node
        return
    name, given = next(iter(node.items()))
    args = list(given) if isinstance(given, list | tuple) else [given]
    if name in {"if", "?:"}:
        for place, arg in enumerate(args):
            if place % 2 == 1 or place == len(args) - 1:
                yield from _outcomes(arg, (*path, name, place))
    elif name == "fractional":
        for place, arg in enumerate(args):
            if isinstance(arg, list | tuple) and arg:
                yield from _outcomes(arg[0], (*path, name, place, 0))


def _splits(node: Any, path: Path) -> Iterator[tuple[Path, list[Any]]]:
    """Yield the shares of every split whose weights are written out, with its place."""
    if isinstance(node, Mapping):
        for name, given in node.items():
            if name == "fractional" and isinstance(given, list | tuple):
                shares = [arg for arg in given if isinstance(arg, list | tuple)]
                if not any(isinstance(part, Mapping) for share in shares for part in share):
                    yield (*path, name), shares
            yield from _splits(given, (*path, name))
    elif isinstance(node, list | tuple):
        for place, part in enumerate(node):
            yield from _splits(part, (*path, place))
