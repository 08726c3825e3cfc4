"""What can be wrong with a flag definition."""

from __future__ import annotations

from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document: ("targeting", "if", 0)."""


class BadDefinition(ValueError):
    """A flag definition cannot be compiled. `path` says where, from the definition's root."""

    def __init__(self, detail: str, path: Path = ()) -> None:
        super().__init__(f"{written(path)}: {detail}" if path else detail)
        self.detail = detail
        self.path = path


def written(path: Path) -> str:
    """Return a path as people write it: `targeting.if[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
