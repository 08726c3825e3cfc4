from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faces.api.desk import Desk

from airboss.testing import ManualClock, SeededChance


@pytest.fixture
def desk(tmp_path: Path, clock: ManualClock, chance: SeededChance) -> Iterator[Desk]:
    """A new house with its first admin."""
    opened = Desk(tmp_path, clock, chance)
    yield opened
    opened.close()
