"""The reference shows of every route what it is asked and answers, and what it shows is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
from tests.faces.api.desk import Desk
from tests.faces.api.recording import FILE, recorded

from airboss.kernel.ids import NAME


def test_every_route_has_examples_that_fit_their_schema(desk: Desk) -> None:
    """No request body and no answer is without an example, no name in an address either, and each fits its own schema."""
    whole = json.loads(json.dumps(desk.app.openapi()))
    components = {"components": whole["components"]}
    shown = 0
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            name = f"{method} {path}"
            for parameter in operation.get("parameters", ()):
                if parameter["required"] or "example" in parameter:
                    _fits(parameter, components, f"{name} {parameter['name']}")
            for media, body in operation.get("requestBody", {}).get("content", {}).items():
                _fits(body, components, f"{name} {media}")
                shown += 1
            for status, answer in operation["responses"].items():
                if not status.startswith("2") or status == "204":
                    continue
                assert answer.get("content"), f"{name} {status}"
                for media, body in answer["content"].items():
                    _fits(body, components, f"{name} {status} {media}")
                    shown += 1
    assert shown > 85


def _fits(described: dict[str, Any], components: dict[str, Any], where: str) -> None:
    assert "example" in described, f"{where} has no example: python -m tests.faces.api.recording"
    fault = next(iter(jsonschema_rs.iter_errors({**described["schema"], **components}, described["example"])), None)
    assert fault is None, f"{where}: {fault}"


def test_the_examples_are_what_the_api_answers(tmp_path: Path) -> None:
    """A house asked today answers in the shape that the reference shows: `python -m tests.faces.api.recording` shows it anew."""
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    now = recorded(tmp_path)
    assert set(now) == set(kept)
    assert [name for name in now if _shape(now[name]) != _shape(kept[name])] == []


def _shape(value: Any) -> Any:
    """Return what stays when names, times and numbers change."""
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_the_form_of_names_is_that_of_the_kernel() -> None:
    """What the reference says may stand in an address is what is taken there."""
    from airboss.faces.api import recorded as reference

    assert NAME.pattern == reference.NAME
