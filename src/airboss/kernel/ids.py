"""Identifiers, and the port they come from.

Prefixes in use: chg change, fct fact, usr person, tok token, ses session, lnk sign-in link, eff effect, vot vote,
rnd approval round, dec decision, cmd command, rev review, log journal, ing ingester.
"""

from __future__ import annotations

import re
import secrets
from typing import NewType, Protocol

from airboss.kernel.clock import Clock
from airboss.kernel.errors import Invalid
from airboss.sdk.ids import BadId, decode, encode, uuid7

ChangeId = NewType("ChangeId", str)
FactId = NewType("FactId", str)
ActorId = NewType("ActorId", str)

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
"""What may name a service, team, flag, environment or policy pack: 1 to 63 of a-z 0-9 . _ -, not at the ends."""


class Ids(Protocol):
    """Mints identifiers."""

    def new(self, prefix: str) -> str: ...


class Chance(Protocol):
    """Gives random bytes. Secrets are made from it, so production wires the operating system's."""

    def token(self, count: int) -> bytes: ...


class SystemChance:
    """Randomness of the operating system."""

    def token(self, count: int) -> bytes:
        return secrets.token_bytes(count)


class TimeOrderedIds:
    """Mints TypeIDs from a clock and a source of chance."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance

    def new(self, prefix: str) -> str:
        unix_ms = int(self._clock.now().timestamp() * 1000)
        return encode(prefix, uuid7(unix_ms, self._chance.token(10)))


def change_id(text: str) -> ChangeId:
    """Return `text` as a change ID. Raises Invalid with the way out."""
    try:
        decode(text, "chg")
    except BadId as fault:
        raise Invalid(str(fault), code="bad-change-id", way_out="mint one with: airboss id new") from fault
    return ChangeId(text)


def name(text: str, *, of: str) -> str:
    """Return `text` if it may name a thing of kind `of`. Raises Invalid."""
    if not NAME.fullmatch(text):
        raise Invalid(
            f"{text!r} cannot name a {of}",
            code="bad-name",
            way_out="use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting and ending with a letter or digit",
        )
    return text
