"""Signed notes: text, signed with Ed25519, in a form other tools read.

Sources: C2SP signed-note (format, key IDs, `vkey` and secret key texts as Go's sumdb/note writes them), C2SP
tlog-cosignature (the second signature, which carries the time).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from airboss.kernel.clock import from_micros, to_micros
from airboss.kernel.errors import Invalid, Refused
from airboss.kernel.ids import Chance

ED25519: Final = b"\x01"
COSIGNATURE: Final = b"\x04"
MOST_BYTES: Final = 1_000_000
_NAME: Final = re.compile(r"[^\s+]+")
_MARK: Final = "PRIVATE+KEY+"


class BadNote(ValueError):
    """The note is malformed, or nobody known has signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A note whose signature held. `at` is the signed time, to the second, where the note carries one."""

    text: str
    signed_by: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyKey:
    """A public key with the name it signs under."""

    name: str
    public: bytes

    @classmethod
    def read(cls, vkey: str) -> VerifyKey:
        """Return the key of `<name>+<key ID>+<base64>`. Raises Invalid."""
        way_out = "give the line that `airboss audit key` prints, or the file beside the signing key"
        try:
            name, identifier, data = vkey.strip().split("+", 2)
            raw = base64.b64decode(data, validate=True)
        except (ValueError, binascii.Error) as fault:
            raise Invalid("that is not a public key", code="bad-public-key", way_out=way_out) from fault
        if raw[:1] != ED25519 or len(raw) != 33 or key_id(name, ED25519, raw[1:]).hex() != identifier:
            raise Invalid(f"the public key of {name} is damaged", code="bad-public-key", way_out=way_out)
        return cls(name=name, public=raw[1:])

    @property
    def short(self) -> str:
        """The key's ID as eight hexadecimal digits: enough to tell keys of one log apart."""
        return key_id(self.name, ED25519, self.public).hex()

    def __str__(self) -> str:
        identifier = self.short
        return f"{self.name}+{identifier}+{base64.b64encode(ED25519 + self.public).decode()}"


class Signer:
    """Signs notes with a key that never leaves its file.

    Who can read the file can sign any history, and who can also write the database can make it fit; a copy of a
    checkpoint kept elsewhere still tells, because it cannot be unsigned.
    """

    def __init__(self, *, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.key: Final = VerifyKey(name=name, public=self._key.public_key().public_bytes_raw())

    @classmethod
    def load(cls, path: Path, *, name: str, chance: Chance) -> Signer:
        """Return the signer of a key file, made on first use with mode 0600, its public key beside it (`.pub`).

        Raises Refused where others may read the file, Invalid where it is not a key or is another log's.
        """
        with contextlib.suppress(FileExistsError):
            new = cls(name=name, seed=chance.token(32))
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(new._secret() + "\n")
                file.flush()
                os.fsync(file.fileno())
        if path.stat().st_mode & 0o077:
            raise Refused(
                f"others may read the signing key {path}",
                code="key-file-open",
                way_out=f"chmod 600 {path}; if they may have read it, start a new log",
            )
        found = cls._read(path)
        if found.key.name != name:
            raise Invalid(
                f"the signing key {path} belongs to {found.key.name}, not to {name}",
                code="key-of-another-log",
                way_out="put back the key of this database, or move the file away to have a new one made",
            )
        path.with_suffix(".pub").write_text(f"{found.key}\n")
        return found

    @classmethod
    def _read(cls, path: Path) -> Signer:
        try:
            name, identifier, data = path.read_text().strip().removeprefix(_MARK).split("+", 2)
            raw = base64.b64decode(data, validate=True)
            found = cls(name=name, seed=raw[1:])
        except (ValueError, binascii.Error) as fault:
            raise Invalid(f"{path} holds no signing key", code="bad-key-file", way_out="restore it") from fault
        if raw[:1] != ED25519 or key_id(name, ED25519, found.key.public).hex() != identifier:
            raise Invalid(f"the signing key {path} is damaged", code="bad-key-file", way_out="restore it")
        return found

    def _secret(self) -> str:
        identifier = key_id(self.key.name, ED25519, self.key.public).hex()
        return f"{_MARK}{self.key.name}+{identifier}+{base64.b64encode(ED25519 + self._seed).decode()}"

    @property
    def vkey(self) -> str:
        """The public key as one line, for whoever verifies."""
        return str(self.key)

    def sign(self, text: str, *, at: datetime) -> bytes:
        """Return the note of `text`, which ends in a newline: signed as it is, and cosigned with the time."""
        seconds = to_micros(at) // 1_000_000
        plain = self._key.sign(text.encode())
        timed = seconds.to_bytes(8, "big") + self._key.sign(_timed_message(text, seconds))
        return f"{text}\n{self._line(ED25519, plain)}{self._line(COSIGNATURE, timed)}".encode()

    def _line(self, kind: bytes, signature: bytes) -> str:
        raw = key_id(self.key.name, kind, self.key.public) + signature
        return f"— {self.key.name} {base64.b64encode(raw).decode()}\n"


def key_id(name: str, kind: bytes, public: bytes) -> bytes:
    """Return the four bytes that name a key and its algorithm."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def open_note(note: bytes, keys: Iterable[VerifyKey]) -> Opened:
    """Return the text of a note that one of `keys` signed.

    Raises BadNote when it is malformed, when no known key signed it, or when a known key's signature is wrong.
    Signatures of unknown keys are ignored, as the format demands.
    """
    text, lines = split_note(note)
    known = {
        (key.name, key_id(key.name, kind, key.public)): (key, kind) for key in keys for kind in (ED25519, COSIGNATURE)
    }
    signed_by, at = None, None
    for name, raw in lines:
        found = known.get((name, raw[:4]))
        if found is None:
            continue
        key, kind = found
        try:
            if kind == ED25519:
                Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text.encode())
                signed_by = name
            else:
                seconds = int.from_bytes(raw[4:12], "big")
                Ed25519PublicKey.from_public_bytes(key.public).verify(raw[12:], _timed_message(text, seconds))
                at = from_micros(seconds * 1_000_000)
        except (InvalidSignature, OverflowError) as fault:
            raise BadNote(f"the signature of {name} does not fit the text") from fault
    if signed_by is None:
        raise BadNote("no known key has signed it")
    return Opened(text=text, signed_by=signed_by, at=at)


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a note's text and its (key name, signature bytes) lines, unverified. Raises BadNote."""
    if len(note) > MOST_BYTES:
        raise BadNote("it is larger than a note may be")
    try:
        whole = note.decode()
    except UnicodeDecodeError as fault:
        raise BadNote("it is not UTF-8") from fault
    text, separator, tail = whole.rpartition("\n\n")
    if not separator or not tail.endswith("\n") or any(letter < " " and letter != "\n" for letter in whole):
        raise BadNote("it is not a signed note")
    lines = []
    for line in tail.removesuffix("\n").split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, data = rest.partition(" ")
        try:
            raw = base64.b64decode(data, validate=True)
        except ValueError as fault:  # not base64, or not even ASCII
            raise BadNote("a signature line cannot be read") from fault
        if dash != "—" or not _NAME.fullmatch(name) or len(raw) < 5:
            raise BadNote("a signature line cannot be read")
        lines.append((name, raw))
    return text + "\n", lines


def split_notes(data: bytes) -> list[bytes]:
    """Return the notes of a file that holds one after the other, each followed by an empty line or not."""
    notes: list[bytes] = []
    current: list[bytes] = []
    for line in data.splitlines(keepends=True):
        signature = line.startswith("— ".encode())
        if current and current[-1].startswith("— ".encode()) and not signature:
            notes.append(b"".join(current))
            current = []
        if current or line.strip():
            current.append(line)
    return [*notes, b"".join(current)] if current else notes


def _timed_message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
