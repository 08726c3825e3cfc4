"""The OpenAPI description: what FastAPI knows, and what it does not (bare routes, problems, who is let in)."""

from __future__ import annotations

import copy
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from airboss.faces.api.recorded import fill

PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "description": "the page of the code"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "stable, for programs"},
        "place": {"type": "string", "description": "where the fault lies: file:line:column, or a path in the body"},
        "way_out": {"type": "string", "description": "what to do"},
        "incident": {"type": "string", "description": "the ID under which a fault of ours stands in the log"},
    },
    "example": {
        "type": "https://airboss.example.com/docs/errors/order-not-possible",
        "title": "Not now",
        "status": 409,
        "detail": "change chg_… is completed; abort is not possible",
        "code": "order-not-possible",
        "way_out": "nothing can be ordered any more",
    },
}
_REFUSALS: Final = {
    "default": {
        "description": "What went wrong, and the way out (RFC 9457)",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
_EVALUATION: Final = {
    "default": {
        "description": "What went wrong, as OFREP says it; who is not let in gets a problem document",
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["errorCode", "errorDetails"]},
                "example": {"key": "tax.engine", "errorCode": "FLAG_NOT_FOUND", "errorDetails": "no flag tax.engine"},
            },
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }
}
_PUBLIC: Final = frozenset({"/healthz", "/readyz", "/docs/errors/{code}"})
_CONTEXT: Final[dict[str, Any]] = {
    "required": False,
    "content": {
        "application/json": {
            "schema": {"type": "object"},
            "example": {"context": {"targetingKey": "user-1", "country": "ES"}},
        }
    },
}
_ENVIRONMENT: Final = {
    "name": "environment",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "default": "production"},
}
_KEY: Final = {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}


def _bare(summary: str, operation: str, media: str, *more: dict[str, Any], body: bool = False) -> dict[str, Any]:
    return {
        "tags": ["evaluation"],
        "summary": summary,
        "operationId": operation,
        "parameters": [_ENVIRONMENT, *more],
        "responses": {"200": {"description": "Successful Response", "content": {media: {}}}},
        **({"requestBody": _CONTEXT} if body else {}),
    }


_BARE: Final[dict[str, Any]] = {
    "/ofrep/v1/evaluate/flags/{key}": {
        "post": _bare("Evaluate one flag (OFREP)", "ofrep_evaluate", "application/json", _KEY, body=True)
    },
    "/ofrep/v1/evaluate/flags": {
        "post": _bare("Evaluate all flags (OFREP)", "ofrep_evaluate_all", "application/json", body=True)
    },
    "/ofrep/v1/sse": {"get": _bare("Word of new flag revisions (OFREP)", "ofrep_stream", "text/event-stream")},
    "/sdk/v1/flags": {"get": _bare("All definitions, for our SDK", "sdk_flags", "application/json")},
    "/sdk/v1/flags/stream": {
        "get": _bare("Word of new flag revisions, for our SDK", "sdk_stream", "text/event-stream")
    },
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "Fresh for each act, the same for each retry of it: within 24 hours the act is done once, "
    "and answered alike each time (`Idempotency-Replayed: true`).",
}


def describe(app: FastAPI) -> None:
    """Have the application tell its whole API at /openapi.json."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _whole(
                get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's way to extend it


def _whole(found: dict[str, Any]) -> dict[str, Any]:
    found["paths"] |= copy.deepcopy(_BARE)
    components = found.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "airboss_session"},
    }
    found["security"] = [{"token": []}, {"session": []}]
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            responses = operation.setdefault("responses", {})
            responses.pop("422", None)
            fill(path, method, operation)
            if method == "post" and path.startswith("/api/v1/") and path != "/api/v1/session":
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
            operation["responses"] = responses | (_EVALUATION if path.startswith(("/ofrep/", "/sdk/")) else _REFUSALS)
            if path in _PUBLIC or (path, method) == ("/api/v1/session", "post"):
                operation["security"] = []
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    return found
