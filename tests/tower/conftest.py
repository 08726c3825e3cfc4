"""A world for each test, in memory, closed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.tower.world import World, quick_folder


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds in folders that vanish."""
    worlds: list[World] = []
    with quick_folder() as folder:

        def make(**given: object) -> World:
            home = folder / str(len(worlds))
            home.mkdir()
            worlds.append(World(home, **given))  # type: ignore[arg-type]
            return worlds[-1]

        yield make
        for world in worlds:
            world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world with one service, one flag and ordinary users."""
    return make_world()
