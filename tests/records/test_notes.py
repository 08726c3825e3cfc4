"""Signed notes: others' notes open here, ours have the public form, and a changed byte is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.kernel.errors import Invalid, Refused
from airboss.records.audit import BadNote, Signer, TreeHead, VerifyKey, open_note
from airboss.records.audit.notes import split_notes
from airboss.testing import ManualClock, SeededChance

# The example of Go's golang.org/x/mod/sumdb/note package.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.load(tmp_path / "journal.key", name="airboss/log_test", chance=SeededChance(1))


def test_a_note_of_another_tool_opens():
    """Go's own example opens with Go's own key."""
    opened = open_note(GO_NOTE, [VerifyKey.read(GO_KEY)])
    assert (opened.signed_by, opened.text.count("\n")) == ("PeterNeumann", 2)
    assert str(VerifyKey.read(GO_KEY)) == GO_KEY


def test_our_note_has_the_public_form(signer: Signer, clock: ManualClock):
    """Origin, size and root, a blank line, our signature line first; and it opens with the time it was signed at."""
    tree = TreeHead(origin="airboss/log_test", size=7, root=bytes(32))
    note = signer.sign(str(tree), at=clock.now())
    lines = note.decode().split("\n")
    assert lines[:4] == ["airboss/log_test", "7", base64.b64encode(bytes(32)).decode(), ""]
    assert lines[4].startswith("— airboss/log_test ")
    opened = open_note(note, [VerifyKey.read(signer.vkey)])
    assert TreeHead.read(opened.text) == tree
    assert opened.at == clock.now()


def test_a_signature_that_is_not_even_ascii_is_refused(signer: Signer, clock: ManualClock):
    """A line break turned into a letter joins two lines, dash and all: a note that cannot be read, and no other fault."""
    first, _, second = signer.sign("airboss/log_test\n7\nA=\n", at=clock.now()).rstrip(b"\n").rpartition(b"\n")
    with pytest.raises(BadNote, match="cannot be read"):
        open_note(first + b"*" + second + b"\n", [signer.key])


@given(st.data())
def test_a_changed_byte_is_refused(data: st.DataObject):
    """Whatever byte of a note is changed, it no longer opens, or opens to the very same text."""
    signer = Signer(name="airboss/log_test", seed=bytes(range(32)))
    note = signer.sign("airboss/log_test\n7\n" + "A" * 43 + "=\n", at=ManualClock().now())
    at = data.draw(st.integers(0, len(note) - 1))
    changed = bytearray(note)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        opened = open_note(bytes(changed), [signer.key])
    except BadNote:
        return
    assert note.startswith(opened.text.encode())


def test_unknown_signatures_are_ignored_and_alone_do_not_count(signer: Signer, clock: ManualClock):
    """A witness may add its line; a note signed only by strangers is refused."""
    stranger = Signer(name="witness.example/w", seed=bytes(32))
    text = "airboss/log_test\n1\n" + "A" * 43 + "=\n"
    note = signer.sign(text, at=clock.now())
    cosigned = note + stranger.sign(text, at=clock.now()).rpartition(b"\n\n")[2]
    assert open_note(cosigned, [signer.key]).text == text
    with pytest.raises(BadNote, match="no known key"):
        open_note(stranger.sign(text, at=clock.now()), [signer.key])


@pytest.mark.parametrize(
    "note", [b"", b"\n\n", b"text\n\n", b"text\n\n- name AAAA\n", b"a\x01\n\n" + b"x\n", b"\xff\n\nx\n", b"text"]
)
def test_what_is_not_a_note_is_refused(signer: Signer, note: bytes):
    """Malformed input is refused with one kind of error."""
    with pytest.raises(BadNote):
        open_note(note, [signer.key])


def test_a_file_of_notes_is_taken_apart(signer: Signer, clock: ManualClock):
    """Notes written one after the other, with or without an empty line between them, are found again."""
    notes = [signer.sign(f"airboss/log_test\n{n}\n{'A' * 43}=\n", at=clock.now()) for n in range(3)]
    assert split_notes(b"".join(notes)) == notes
    assert split_notes(b"\n".join(notes) + b"\n\n") == notes
    assert split_notes(b"") == []


def test_the_key_file_is_private_and_stays(tmp_path: Path):
    """Made once with mode 0600 and read again; its public key lies beside it for whoever verifies."""
    path = tmp_path / "journal.key"
    first = Signer.load(path, name="airboss/log_a", chance=SeededChance(1))
    again = Signer.load(path, name="airboss/log_a", chance=SeededChance(2))
    assert path.stat().st_mode & 0o777 == 0o600
    assert first.vkey == again.vkey == path.with_suffix(".pub").read_text().strip()
    assert first.vkey.startswith("airboss/log_a+")


def test_a_key_others_may_read_is_refused(tmp_path: Path):
    """A signing key with wide permissions is not used, and the way out is named."""
    path = tmp_path / "journal.key"
    Signer.load(path, name="airboss/log_a", chance=SeededChance(1))
    path.chmod(0o640)
    with pytest.raises(Refused) as told:
        Signer.load(path, name="airboss/log_a", chance=SeededChance(1))
    assert told.value.code == "key-file-open"


def test_a_key_of_another_log_or_no_key_is_refused(tmp_path: Path):
    """A key that belongs to another database, or a file that holds none, is never used to sign."""
    path = tmp_path / "journal.key"
    Signer.load(path, name="airboss/log_a", chance=SeededChance(1))
    with pytest.raises(Invalid, match="belongs to airboss/log_a"):
        Signer.load(path, name="airboss/log_b", chance=SeededChance(1))
    path.write_text("not a key")
    with pytest.raises(Invalid):
        Signer.load(path, name="airboss/log_a", chance=SeededChance(1))


@pytest.mark.parametrize("vkey", ["", "a+b", GO_KEY.replace("c74f", "c75f"), GO_KEY[:-4] + "AAAA", "x+00+!!"])
def test_a_damaged_public_key_is_refused(vkey: str):
    """A public key whose parts do not belong together is refused before anything is verified with it."""
    with pytest.raises(Invalid):
        VerifyKey.read(vkey)
