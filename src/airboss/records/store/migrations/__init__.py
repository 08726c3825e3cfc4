"""Brings a database to this version's schema."""

from __future__ import annotations

from sqlalchemy import Connection

from airboss.records.store.schema import metadata


def upgrade(connection: Connection) -> None:
    """Create what is missing."""
    metadata.create_all(connection)
