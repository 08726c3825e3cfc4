"""Feeds broken files to everything that reads files, for as long as it is told: `python -m tests.fuzz.run --seconds 1800`.

A file is either read, or refused with a place in it and a reason, within moments. Whatever else happens is written to
a folder, with the seed and the number that make it again.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from tests.fuzz.mutations import broken

from airboss.bootstrap import build
from airboss.decide.policy import InlineEngine
from airboss.kernel.errors import Invalid
from airboss.kernel.settings import Settings

ROOT: Final = Path(__file__).parents[2]
LONGEST_S: Final = 5.0
PLACE: Final = re.compile(r"[^:]+:([1-9][0-9]*):([1-9][0-9]*)")


def corpus() -> list[tuple[bytes, str]]:
    """Return every file of ours that the parsers read."""
    folders = ("examples", "src/airboss/demo/files", "src/airboss/changes/templates", "src/airboss/decide/policy/packs")
    found = [path for folder in folders for path in sorted((ROOT / folder).iterdir())]
    return [(path.read_bytes(), path.name) for path in found if path.suffix in (".yaml", ".md")]


@contextmanager
def reader() -> Iterator[Callable[[bytes, str], object]]:
    """Give what reads files on a server: every kind with all its checks."""
    with tempfile.TemporaryDirectory() as folder:
        house = build(Settings(data=Path(folder)), engine=InlineEngine())
        try:
            yield house.kinds.parse
        finally:
            house.close()


def wrong(read: Callable[[bytes, str], object], data: bytes, name: str) -> str | None:
    """Return what is wrong with how a file is read; None where it is read, or refused as it should be."""
    began = time.process_time()  # of ours, whatever else the machine does
    try:
        read(data, name)
    except Invalid as fault:
        found = PLACE.fullmatch(fault.place or "")
        if found is None:
            return f"refused without a place: {fault.place!r} {fault.detail}"
        if (
            int(found[1])
            > data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 2
        ):
            return f"the place {fault.place} is outside of the file"
        if not fault.detail or len(fault.detail) > 2000:
            return f"a reason of {len(fault.detail)} characters"
    except Exception:  # noqa: BLE001 - whatever else is raised is what is looked for
        return traceback.format_exc()
    took = time.process_time() - began
    return f"took {took:.1f} s" if took > LONGEST_S else None


def main() -> int:
    """Fuzz until the time is over; return 1 when something was found."""
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, default=Path("fuzz-found"))
    given = options.parse_args()
    chance, files, found, rounds = Random(given.seed), corpus(), 0, 0
    seen: set[str] = set()
    end = time.monotonic() + given.seconds
    with reader() as read:
        while time.monotonic() < end:
            rounds += 1
            data, name = broken(chance, files)
            said = wrong(read, data, name)
            if said is None:
                continue
            key = re.sub("[0-9]+", "N", said.strip().rsplit("\n", 1)[-1])[:60]
            if key in seen:
                continue
            seen.add(key)
            found += 1
            given.keep.mkdir(parents=True, exist_ok=True)
            (given.keep / f"{given.seed}-{rounds}-{name}").write_bytes(data)
            (given.keep / f"{given.seed}-{rounds}.txt").write_text(said)
            sys.stdout.write(f"round {rounds}, {name}: {key}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{rounds:,} files, {found} findings, seed {given.seed}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
