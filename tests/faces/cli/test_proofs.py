"""One claim of the record, proven by a command against a checkpoint kept elsewhere; whatever was changed is found."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faces.api.desk import Desk
from tests.faces.cli.conftest import Airboss

from airboss.faces.cli.exit_codes import Exit
from airboss.testing import ManualClock, SeededChance


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One record for this file; nothing here changes it but what is added to it."""
    opened = Desk(tmp_path_factory.mktemp("desk"), ManualClock(), SeededChance(5))
    yield opened.organised()
    opened.close()


@pytest.fixture
def kept(desk: Desk, become: Callable[..., None], airboss: Airboss, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint and a public key, kept elsewhere; the record went on since."""
    become("admin")
    desk.house.store.sequence()
    desk.house.checkpoints.write_now()
    checkpoint, key = tmp_path / "checkpoint", tmp_path / "key"
    assert airboss("audit", "checkpoint", "-o", str(checkpoint)).code == Exit.OK
    assert airboss("audit", "key", "-o", str(key)).code == Exit.OK
    desk.proposed()
    desk.house.store.sequence()
    desk.house.checkpoints.write_now()
    return checkpoint, key


def test_an_entry_is_proven_into_a_checkpoint_that_was_kept(
    airboss: Airboss, kept: tuple[Path, Path], tmp_path: Path
) -> None:
    """It says what the entry is; the same proof, taken away, holds on a machine that never saw the server."""
    checkpoint, key = map(str, kept)
    file = tmp_path / "proof.json"
    told = airboss("audit", "proof", "3", "--checkpoint", checkpoint, "--key", key, "-o", str(file))
    assert (told.code, told.err) == (Exit.OK, "")
    assert "Proven: entry 3 is in the record: " in told.out
    assert "Not shown" not in told.out
    offline = airboss("audit", "verify", str(file), "--checkpoint", checkpoint, "--key", key, "--json")
    assert offline.code == Exit.OK, offline.err
    assert (offline.json()["ok"], offline.json()["signatures"]) == (True, 1)
    assert "not checked" in " ".join(
        airboss("audit", "verify", str(file), "--checkpoint", checkpoint, "--json").json()["caveats"]
    )
    alone = airboss("audit", "verify", str(file), "--key", key)
    assert (alone.code, "checkpoint-missing" in alone.err) == (Exit.USAGE, True)


def test_the_record_goes_on_from_what_was_kept(airboss: Airboss, kept: tuple[Path, Path], tmp_path: Path) -> None:
    """The later record begins with the earlier one, by the server's proof and our own sums; and later by itself."""
    checkpoint, key = map(str, kept)
    file = tmp_path / "proof.json"
    told = airboss("audit", "consistency", "--checkpoint", checkpoint, "--key", key, "-o", str(file))
    assert (told.code, told.err) == (Exit.OK, "")
    assert "you kept a checkpoint of" in " ".join(told.out.split())
    offline = airboss("audit", "verify", str(file), "--checkpoint", checkpoint, "--key", key, "--json")
    assert (offline.code, offline.json()["signatures"]) == (Exit.OK, 2)


def _other_root(note: str) -> str:
    origin, size, _, *rest = note.split("\n")
    return "\n".join([origin, size, base64.b64encode(b"x" * 32).decode(), *rest])


def _changed(value: dict[str, Any], how: str) -> dict[str, Any]:
    if how == "fact":
        return {**value, "fact": {**value["fact"], "type": "change.approved"}}
    if how == "position":
        return {**value, "position": value["position"] + 1}
    if how == "hash":
        return {**value, "proof": [base64.b64encode(b"x" * 32).decode(), *value["proof"][1:]]}
    return {**value, "proof": value["proof"][:-1]}


@pytest.mark.parametrize("how", ["fact", "position", "hash", "short"])
def test_a_proof_that_was_changed_does_not_hold(
    airboss: Airboss, kept: tuple[Path, Path], tmp_path: Path, how: str
) -> None:
    """Another fact, another place, another hash, one left out: each ends with 11 and is named."""
    checkpoint, key = map(str, kept)
    file = tmp_path / "proof.json"
    airboss("audit", "proof", "3", "--checkpoint", checkpoint, "-o", str(file))
    file.write_text(json.dumps(_changed(json.loads(file.read_text()), how)))
    told = airboss("audit", "verify", str(file), "--checkpoint", checkpoint, "--key", key)
    assert told.code == Exit.DAMAGED
    assert "proof-wrong at position" in told.out


def test_a_checkpoint_that_does_not_fit_is_found(airboss: Airboss, kept: tuple[Path, Path], tmp_path: Path) -> None:
    """A kept root that the record does not have, a signature that was not made over it, a history that became shorter."""
    checkpoint, key = kept
    forged = tmp_path / "forged"
    forged.write_text(_other_root(checkpoint.read_text()))
    for verb in (("proof", "3"), ("consistency",)):
        told = airboss("audit", *verb, "--checkpoint", str(forged), "--json")
        assert told.code == Exit.DAMAGED
        assert [one["kind"] for one in told.json()["findings"]] == ["proof-wrong"]
        signed = airboss("audit", *verb, "--checkpoint", str(forged), "--key", str(key), "--json")
        assert [one["kind"] for one in signed.json()["findings"]] == ["checkpoint-signature"]
    origin, size, *rest = checkpoint.read_text().split("\n")
    forged.write_text("\n".join([origin, str(int(size) + 1_000), *rest]))
    cut = airboss("audit", "consistency", "--checkpoint", str(forged))
    assert (cut.code, cut.out.split()[0]) == (Exit.DAMAGED, "tail-cut")
    forged.write_text("nothing\n")
    assert airboss("audit", "consistency", "--checkpoint", str(forged)).code == Exit.USAGE


def test_the_record_says_how_far_it_goes(airboss: Airboss, kept: tuple[Path, Path]) -> None:
    """Entries, what is signed, the key; and a bare proof is JSON to take away."""
    told = airboss("audit", "show")
    assert "public key" in told.out
    assert airboss("audit", "show", "--json").json()["checkpoint"]["size"] > 5
    assert airboss("audit", "proof", "0").json()["kind"] == "inclusion"
    assert airboss("audit", "proof", "99999").code == Exit.USAGE
