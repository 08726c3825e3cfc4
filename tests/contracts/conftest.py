"""Every target there is, each behind the same small stage: a unit, and a way to ask what people really get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contracts.edge import LEFT_OUT, WITHOUT, Edge


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    """A running Envoy of this test's own."""
    if LEFT_OUT:
        pytest.skip(WITHOUT)
    one = Edge(tmp_path / "edge")
    one.start()
    yield one
    one.close()
