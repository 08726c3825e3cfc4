"""A draft as its author would write it: YAML, the fields in the order of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

_FIRST: Final = (
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "template",
    "title",
    "why",
    "services",
    "owner",
    "environment",
)
"""Fields that stand first, in this order; the others follow by name."""


def written(document: Mapping[str, Any]) -> str:
    """Return a document as YAML."""
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 96
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    yaml.dump(_ordered(document), out)
    return out.getvalue()


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
        return {name: _ordered(value[name]) for name in names}
    return [_ordered(one) for one in value] if isinstance(value, list) else value
