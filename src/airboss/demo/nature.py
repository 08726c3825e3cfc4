"""What is true in the demo's shop, whatever Airboss finds out about it: how long requests take and how often they fail.

Durations are lognormal, some customers are always slower than others, an old client build always fails, once a minute
everything is slower and fails more for some seconds, and the new engine has the fault the demo was told to give it.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one service does."""

    route: str
    flag: str
    median_s: float
    spread: float
    """Standard deviation of the logarithm of a duration, between requests of one customer."""
    error_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with the new engine."""

    error_rate: float
    """Added to the service's own."""
    slower: float
    """Factor on the duration."""


SERVICES: Final = {
    "checkout": Shape(route="/checkout", flag="tax.engine", median_s=0.015, spread=0.4, error_rate=0.002),
    "search": Shape(route="/search", flag="search.ranking", median_s=0.012, spread=0.45, error_rate=0.002),
    "pay": Shape(route="/pay", flag="pay.button", median_s=0.018, spread=0.4, error_rate=0.002),
}
FAULTS: Final = {
    "none": Fault(error_rate=0.0, slower=1.0),
    "mild": Fault(error_rate=0.006, slower=1.1),
    "severe": Fault(error_rate=0.028, slower=1.3),
}
BETWEEN_CUSTOMERS: Final = 0.2
"""Standard deviation of the logarithm of a duration, between customers."""
SHOCK_EVERY_S: Final = 60.0
SHOCK_LASTS_S: Final = 6.0
SHOCK_SLOWER: Final = 1.6
SHOCK_ERRORS: Final = 2.0
REFUSED_BUILD: Final = b"3.1"


class Nature:
    """What happens to a request, drawn from a seed: how long it takes, and whether it fails."""

    def __init__(
        self,
        shape: Shape,
        fault: Fault,
        *,
        seed: int | str,
        phase_s: float,
        monotonic: Callable[[], float],
        start_s: float | None = None,
    ) -> None:
        """`phase_s` is when in each minute the common shock begins, told by the caller so that it is one for all services.

        Minutes are counted from `start_s` on the monotonic clock, now unless given: two versions share their weather.
        """
        self.shape, self.fault, self.monotonic = shape, fault, monotonic
        self.chance = random.Random(seed)  # noqa: S311  # weather, not keys
        self.phase_s, self.start = phase_s, monotonic() if start_s is None else start_s

    def shock(self) -> bool:
        """Tell whether the common shock is on."""
        return (self.monotonic() - self.start - self.phase_s) % SHOCK_EVERY_S < SHOCK_LASTS_S

    def draw(self, customer: bytes, build: bytes, *, new: bool) -> tuple[float, bool]:
        """Return (seconds of work, whether it fails) for one request."""
        shape, shock = self.shape, self.shock()
        own = (zlib.crc32(customer) / 2**32 - 0.5) * math.sqrt(12) * BETWEEN_CUSTOMERS  # a customer is as fast as ever
        seconds = shape.median_s * math.exp(self.chance.gauss(own, shape.spread))
        error_rate = shape.error_rate
        if shock:
            seconds *= SHOCK_SLOWER
            error_rate *= SHOCK_ERRORS
        if new:
            seconds *= self.fault.slower
            error_rate += self.fault.error_rate
        return seconds, build == REFUSED_BUILD or self.chance.random() < error_rate
