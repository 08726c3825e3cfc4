"""Secrets, passwords, backoff: pure, but for the chance that is passed in and the work that scrypt is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from airboss.kernel.errors import Invalid
from airboss.kernel.ids import Chance, name
from airboss.people.access import Role, TokenScope

SECRET_BYTES: Final = 32
SESSION_PREFIX: Final = "abs_"
LINK_PREFIX: Final = "abl_"
TOKEN_PREFIX: Final = "abt_"  # noqa: S105 - the prefix by which scanners find leaked tokens

PASSWORD_LEAST: Final = 12
PASSWORD_MOST: Final = 200
FREE_GUESSES: Final = 5
RESERVED_HANDLES: Final = frozenset({"airboss", "system", "anonymous", "local"})
LONGEST_WAIT_S: Final = 900

PERSONAL_SCOPES: Final = frozenset(
    {TokenScope.READ, TokenScope.CHANGES_WRITE, TokenScope.OPERATE, TokenScope.APPROVE, TokenScope.ADMIN}
)
SERVICE_SCOPES: Final = frozenset(
    {TokenScope.READ, TokenScope.CHANGES_WRITE, TokenScope.TELEMETRY_WRITE, TokenScope.FLAGS_READ}
)
EVERY_SERVICE: Final = "*"
"""What a token of a collector is bound to, which passes on what many services send."""
BOUND_SCOPES: Final = frozenset({TokenScope.TELEMETRY_WRITE, TokenScope.FLAGS_READ})

_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 3
_at_once = threading.BoundedSemaphore(2)  # each guess takes tens of MiB: strangers must not choose how many at a time


def mint(prefix: str, chance: Chance) -> str:
    """Return a new secret: the prefix and 256 random bits, safe in a URL and a header."""
    return prefix + base64.urlsafe_b64encode(chance.token(SECRET_BYTES)).decode().rstrip("=")


def hashed(secret: str) -> str:
    """Return the SHA-256 of a secret, in hex. Enough for 256 random bits; a password needs `keep_password`."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_password(password: str, *, handle: str) -> None:
    """Refuse a password that is too short, too long or too plain. Raises Invalid (NIST SP 800-63B section 5.1.1)."""
    fault = None
    if len(password) < PASSWORD_LEAST:
        fault = f"it has {len(password)} characters"
    elif len(password) > PASSWORD_MOST:
        fault = f"it has {len(password)} characters, and {PASSWORD_MOST} are the most"
    elif len(set(password)) < 5:
        fault = "it repeats the same few characters"
    elif handle.lower() in password.lower():
        fault = "it holds your name"
    if fault:
        raise Invalid(
            f"this password will not do: {fault}",
            code="weak-password",
            way_out=f"use {PASSWORD_LEAST} characters or more, such as four unrelated words",
        )


def check_handle(handle: str) -> str:
    """Return a handle nobody mistakes for the tower's own acts. Raises Invalid."""
    if name(handle, of="person") in RESERVED_HANDLES:
        raise Invalid(
            f"{handle} is what the record calls the server itself", code="bad-name", way_out="choose another name"
        )
    return handle


def check_teams(role: Role, teams: Iterable[str]) -> tuple[str, ...]:
    """Return teams as they are kept: each once, by name. Raises Invalid, also for an admin, whom nothing narrows."""
    found = tuple(sorted({name(team, of="team") for team in teams}))
    if found and role is Role.ADMIN:
        raise Invalid(
            "an admin is not narrowed to teams",
            code="admin-narrowed",
            place="teams",
            way_out="leave them out, or choose another role",
        )
    return found


def keep_password(password: str, *, salt: bytes, log_n: int) -> str:
    """Return what is stored of a password: `scrypt$log_n$r$p$salt$key`, salt and key in hex (RFC 7914)."""
    key = _scrypt(password, salt=salt, log_n=log_n, r=_SCRYPT_R, p=_SCRYPT_P)
    return f"scrypt${log_n}${_SCRYPT_R}${_SCRYPT_P}${salt.hex()}${key.hex()}"


def is_password(password: str, kept: str | None, *, log_n: int) -> bool:
    """Return whether a password is the kept one, in constant time. None costs as much and is never the one."""
    if kept is None:
        _scrypt(password, salt=bytes(16), log_n=log_n, r=_SCRYPT_R, p=_SCRYPT_P)
        return False
    _, kept_log_n, r, p, salt, key = kept.split("$")
    found = _scrypt(password, salt=bytes.fromhex(salt), log_n=int(kept_log_n), r=int(r), p=int(p))
    return hmac.compare_digest(found, bytes.fromhex(key))


def next_guess_at(failures: int, now: datetime) -> datetime:
    """Return when the next guess is allowed after so many failures: five are free, then 2, 4, 8 … s, at most 15 min."""
    if failures < FREE_GUESSES:
        return now
    return now + timedelta(seconds=min(LONGEST_WAIT_S, 2.0 ** min(failures - FREE_GUESSES + 1, 20)))


def check_token(
    *, label: str, scopes: frozenset[TokenScope], days: int, personal: bool, service: str | None, most_days: int
) -> None:
    """Refuse a token that would carry too much, too little or too long. Raises Invalid."""
    allowed = PERSONAL_SCOPES if personal else SERVICE_SCOPES
    kind = "personal" if personal else "service"
    if not 1 <= len(label.strip()) <= 100 or not label.isprintable():
        raise Invalid("a token needs a label of 1 to 100 printable characters", code="bad-token", place="label")
    if not scopes:
        raise Invalid(
            "a token without a scope may do nothing",
            code="bad-token",
            place="scopes",
            way_out=f"choose of: {', '.join(sorted(allowed))}",
        )
    if wrong := scopes - allowed:
        raise Invalid(
            f"a {kind} token cannot carry {', '.join(sorted(wrong))}",
            code="bad-token",
            place="scopes",
            way_out=f"choose of: {', '.join(sorted(allowed))}",
        )
    if not 1 <= days <= most_days:
        raise Invalid(
            f"a token lasts 1 to {most_days} days, not {days}",
            code="bad-token",
            place="days",
            way_out="rotate it before it is over",
        )
    if personal and service is not None:
        raise Invalid("a personal token is bound to its person, not to a service", code="bad-token", place="service")
    if scopes & BOUND_SCOPES and service is None:
        raise Invalid(
            f"{', '.join(sorted(scopes & BOUND_SCOPES))} needs the service it is for",
            code="bad-token",
            place="service",
            way_out="name the service: telemetry of one service must not decide about another",
        )
    if service is not None and service != EVERY_SERVICE:
        name(service, of="service")


def _scrypt(password: str, *, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    words = unicodedata.normalize("NFKC", password).encode()
    memory = 128 * r * (2**log_n + p) + 2**20
    with _at_once:
        return hashlib.scrypt(words, salt=salt, n=2**log_n, r=r, p=p, maxmem=memory, dklen=32)
