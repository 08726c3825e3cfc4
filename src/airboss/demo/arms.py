"""Asks the shop, as a few customers would, which side of a flag each of them is on: over and over the same ones."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

CUSTOMERS: Final = 240
FIRST: Final = 900_001
"""Customers of the probe are none of the load's."""
AT_ONCE: Final = 8
TIMEOUT_S: Final = 5.0


def ask(url: str, customers: int = CUSTOMERS) -> dict[str, str]:
    """Return customer → variant, "" where the shop did not answer."""
    names = [f"user-{FIRST + number:06d}" for number in range(customers)]
    shares = [names[start::AT_ONCE] for start in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {name: variant for part in pool.map(lambda share: _ask(url, share), shares) for name, variant in part}


def _ask(url: str, names: Iterable[str]) -> list[tuple[str, str]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    answers = []
    for name in names:
        try:
            connection.request("GET", parts.path, headers={"shop-customer": name, "shop-build": "4.0"})
            answer = connection.getresponse()
            answer.read()
            answers.append((name, answer.getheader("shop-variant") or ""))
        except (OSError, http.client.HTTPException):
            connection.close()
            answers.append((name, ""))
    connection.close()
    return answers


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[int, int]:
    """Return how many customers changed sides at all, and how many of them went back from the new to the old side."""
    changed = [name for name, variant in before.items() if after.get(name) != variant]
    return len(changed), sum(before[name] == "on" for name in changed)
