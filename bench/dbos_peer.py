"""The peer of the controller: a rollout as a DBOS workflow, each move one of its durable steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS


@DBOS.step()
def move(rollout: str, number: int) -> dict[str, object]:
    """Return the state after a move; DBOS writes it down before the workflow goes on."""
    return {"id": rollout, "version": number, "phase": "rolling", "share": 0.1}


@DBOS.workflow()
def fly(rollout: str, moves: int) -> int:
    for number in range(moves):
        move(rollout, number)
    return moves


@contextmanager
def launched(url: str) -> Iterator[None]:
    """Have DBOS run on a database of its own, with as many threads as its default."""
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "enable_otlp": False})
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


def moves_a_second(turn: str, rollouts: int, moves: int) -> float:
    """Start so many workflows at once and wait until all have ended."""
    began = time.monotonic()
    handles = [DBOS.start_workflow(fly, f"{turn}-{number}", moves) for number in range(rollouts)]
    assert all(handle.get_result() == moves for handle in handles)
    return rollouts * moves / (time.monotonic() - began)
