"""A furnished desk."""

from __future__ import annotations

import pytest
from tests.changes.desk import Desk


@pytest.fixture
def desk(store, journal, clock, ids) -> Desk:
    return Desk(store, journal, clock, ids).furnish()
