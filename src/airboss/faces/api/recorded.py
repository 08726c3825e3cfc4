"""What each route was asked and answered once, as the reference shows it; recorded from a real house, in `examples.json`."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

STREAMED: Final = 'event: moved\nid: 42\ndata: {"change_id": "chg_…", "position": 42, "what": "facts"}\n\n'
REVISED: Final = 'event: message\nid: 7\ndata: {"revision": 7}\n\n'
_STREAMS: Final[Mapping[str, str]] = {
    "get /api/v1/changes/{change}/events": STREAMED,
    "get /api/v1/events": STREAMED,
    "get /ofrep/v1/sse": REVISED,
    "get /sdk/v1/flags/stream": REVISED,
}
_CURSOR: Final = {
    "type": ["string", "null"],
    "description": "give it as `cursor` for the page after; null where there is none",
}
NAME: Final = "[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_ID: Final = "_[0-7][0-9a-hjkmnp-tv-z]{25}"
PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "change": {"pattern": f"^chg{_ID}$", "example": "chg_01kq3z8x5wf6vtd0c1m2n3p4q5"},
    "token": {"pattern": f"^tok{_ID}$", "example": "tok_01kq3z8x5wf6vtd0c1m2n3p4q5"},
    "review": {"pattern": f"^rev{_ID}$", "example": "rev_01kq3z8x5wf6vtd0c1m2n3p4q5"},
    "name": {"pattern": f"^{NAME}$", "example": "checkout"},
    "handle": {"pattern": f"^{NAME}$", "example": "dev-a"},
    "environment": {"example": "production"},
    "service": {"example": "checkout"},
    "gate": {"example": "canary:checkout-errors"},
    "position": {"example": 0},
    "from": {"example": 1},
    "code": {"example": "stale"},
    "key": {"example": "tax.engine"},
}
"""What stands in addresses: its form, and one that may stand there."""


@functools.cache
def examples() -> Mapping[str, Mapping[str, Any]]:
    """Return by operation (`get /api/v1/changes`) its status, and request, media and answer where it has them."""
    text = (resources.files("airboss.faces.api") / "examples.json").read_text("utf-8")
    found: dict[str, Mapping[str, Any]] = json.loads(text)
    return found


def fill(path: str, method: str, operation: dict[str, Any]) -> None:
    """Put what was recorded of an operation into its description."""
    for parameter in operation.get("parameters", ()):
        known = PARAMETERS.get(parameter["name"], {})
        if "example" in known:
            parameter.setdefault("example", known["example"])
        if parameter["in"] == "path" and "pattern" in known:
            parameter["schema"] = {**parameter["schema"], "pattern": known["pattern"]}
    name = f"{method} {path}"
    if name in _STREAMS:
        content = operation["responses"]["200"].setdefault("content", {})
        content["text/event-stream"] = {"schema": {}, "example": _STREAMS[name]}
        return
    packed = operation["responses"].get("200", {}).get("content", {})
    if "application/zip" in packed:
        packed["application/zip"] = {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}
    kept = examples().get(name)
    if kept is None:
        return
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if asked is not None and "request" in kept:
        asked.setdefault("example", kept["request"])
    if "answer" in kept:
        answered = operation["responses"][str(kept["status"])]
        answered["content"] = {kept["media"]: {"schema": _shape(name, kept["answer"]), "example": kept["answer"]}}


def _shape(name: str, answer: Any) -> dict[str, Any]:
    """Return the schema of an answer as far as it is promised: what a GET answers, it answers whole."""
    if not isinstance(answer, dict):
        return {"type": "string"}
    shape: dict[str, Any] = {"type": "object"}
    if name.startswith("get /api/v1/"):
        shape["required"] = sorted(answer)
    if "next_cursor" in answer:
        shape["properties"] = {
            "items": {"type": "array", "items": {"type": "object"}},
            "next_cursor": _CURSOR,
        }
    return shape
