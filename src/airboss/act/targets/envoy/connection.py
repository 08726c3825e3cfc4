"""How to reach an Envoy: the `envoy` of a `Connection` document, checked and read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from airboss.catalog import Shape, fit
from airboss.kernel.yaml import Document

SYSTEM: Final = "envoy"
"""What a Connection names: `spec: {envoy: {…}}`; also the kind of target."""
NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
"""Routes, clusters and runtime keys: orders to Envoy are built from them, so nothing else gets in."""
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
OUR_OWN: Final = "AIRBOSS_"
"""Variables that begin so are the server's own and are sent to nobody."""


def _admin(text: str) -> str:
    """Accept `http(s)://host:port` and nothing around it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        port, parts = None, urlsplit("")
    bare = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in ("", "/")
    if parts.scheme not in ("http", "https") or not parts.hostname or port is None or not bare:
        raise PydanticCustomError(
            "bad_target", "the admin address is http://HOST:PORT or https://HOST:PORT, with nothing behind it", {}
        )
    return text.rstrip("/")


def _path(text: str) -> str:
    """Accept a path below the folder of route files."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or path.suffix not in SUFFIXES or "\0" in text:
        raise PydanticCustomError(
            "bad_target",
            "a route file is a .yaml or .json below the server's folder of route files: routes/checkout.yaml",
            {},
        )
    return text


def _variable(text: str) -> str:
    if text.startswith(OUR_OWN):
        raise PydanticCustomError(
            "bad_target", "{name} is the server's own and is sent to nobody; use another name", {"name": text}
        )
    return text


class RouteFileShape(Shape):
    path: Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_path)]


class CredentialsShape(Shape):
    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"), AfterValidator(_variable)]


class EnvoyShape(Shape):
    admin: Annotated[str, Field(max_length=300), AfterValidator(_admin)]
    route_file: RouteFileShape
    credentials: CredentialsShape | None = None

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> EnvoyShape:
        host = urlsplit(self.admin).hostname or ""
        if self.credentials is not None and self.admin.startswith("http:") and not _is_loopback(host):
            raise PydanticCustomError(
                "bad_target", "credentials are not sent in the clear to another machine: use https://", {}
            )
        return self


class EnvoySpecShape(Shape):
    envoy: EnvoyShape


class EnvoyConnectionShape(Shape):
    """The part of a Connection document that this room reads; the envelope was judged before."""

    api_version: str = Field(alias="apiVersion")
    kind: str
    metadata: dict[str, Any]
    spec: EnvoySpecShape


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyConnection:
    """Where an Envoy's admin address and its route file are. `variable` names what holds the bearer token, if any."""

    name: str
    admin: str
    route_file: str
    variable: str | None = None


def check_connection(document: Document) -> None:
    """Refuse an Envoy connection that could not be used, where it stands in the file. Other systems pass unread."""
    spec = document.value.get("spec") if isinstance(document.value, dict) else None
    if isinstance(spec, dict) and SYSTEM in spec:
        fit(EnvoyConnectionShape, document)


def read_connection(name: str, settings: Mapping[str, Any]) -> EnvoyConnection:
    """Return a connection from the settings of a document that was checked."""
    given = EnvoyShape.model_validate(dict(settings))
    return EnvoyConnection(
        name=name,
        admin=given.admin,
        route_file=given.route_file.path,
        variable=None if given.credentials is None else given.credentials.env,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
