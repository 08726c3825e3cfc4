"""`kind: Flag` documents, for the one register through which files are applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airboss.act.flags.definition import Place, read_definition
from airboss.act.flags.service import Flags
from airboss.catalog import Applied, Kind, Order, Parsed
from airboss.kernel.yaml import Document
from airboss.people.access import Action, Actor
from airboss.sdk.faults import Path


def flag_kind(flags: Flags) -> Kind:
    """Return how `kind: Flag` is checked and applied; bootstrap registers it with the catalog's `Kinds`."""

    def apply(parsed: Parsed, actor: Actor) -> Applied:
        done = flags.put(parsed.name, parsed.value["spec"], actor=actor, place=_places(parsed.document))
        return Applied(kind="Flag", name=parsed.name, outcome=done.outcome, warnings=done.warnings)

    return Kind(kind="Flag", order=Order.FLAG, action=Action.FLAG_APPLY, check=_check, apply=apply)


def _check(document: Document) -> str:
    value = document.value
    assert isinstance(value, dict)
    for field in value:
        if field not in {"apiVersion", "kind", "metadata", "spec"}:
            document.refuse(
                (field,), f"unknown field {field!r}; there are apiVersion, kind, metadata, spec", code="bad-flag"
            )
    metadata: Any = value.get("metadata")
    if not isinstance(metadata, Mapping) or set(metadata) != {"name"} or not isinstance(metadata["name"], str):
        document.refuse(("metadata",), "metadata holds the flag's name and nothing else", code="bad-flag")
    spec: Any = value.get("spec")
    if not isinstance(spec, Mapping):
        document.refuse(("spec",), "spec is missing or no mapping", code="bad-flag")
    name: str = metadata["name"]
    read_definition(name, spec, _places(document))
    return name


def _places(document: Document) -> Place:
    def place(path: Path) -> str:
        return document.place(("spec", *path))

    return place
