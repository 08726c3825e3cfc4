"""What a server is told from outside, read once, in bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_PORT: Final = 8700
DEFAULT_INGEST_PORT: Final = 4318
"""The OTLP/HTTP port of the OpenTelemetry specification."""


DATABASE_FILE: Final = "airboss.db"
BUCKETS_FILE: Final = "telemetry.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where a server keeps things, where it listens, and whom it trusts.

    `database` and `buckets` are addresses of databases; without them both lie as SQLite files in `data`. `public_url` is how
    people reach the pages; its host, and the names in `hosts`, are the only ones a request may name.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    ingest_port: int = DEFAULT_INGEST_PORT
    database: str | None = None
    buckets: str | None = None
    public_url: str | None = None
    hosts: tuple[str, ...] = ()
    behind_proxy: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    demo: bool = False
    lateness_s: int = 8
    """How long after its time telemetry is still counted; every second here is one more until harm is found."""
    route_folder: Path | None = None
    """Below which the route files of Envoy connections lie; the data folder where it is not said."""

    spans_to: str | None = None
    """Where spans of the server's own work are sent, OTLP over HTTP: the whole address."""

    @property
    def routes(self) -> Path:
        """The folder that the route files of connections are named from."""
        return self.route_folder or self.data

    @property
    def database_url(self) -> str:
        """The address of the main database."""
        return self.database or f"sqlite:///{self.data / DATABASE_FILE}"

    @property
    def buckets_url(self) -> str:
        """The address of the telemetry buckets: a file of their own, or the main database where that is PostgreSQL."""
        if self.buckets is not None:
            return self.buckets
        if self.database is not None and not self.database.startswith("sqlite"):
            return self.database
        return f"sqlite:///{self.data / BUCKETS_FILE}"

    @property
    def base_url(self) -> str:
        """How people reach the pages."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        scheme = "https" if self.tls_certificate is not None else "http"
        return f"{scheme}://{self.host}:{self.port}"
