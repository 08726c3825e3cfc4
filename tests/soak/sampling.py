"""What a server's processes and files weigh, as the kernel says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. Sizes in MiB; memory is resident, by server and process; of a process that is not there nothing is said."""

    at_s: float
    memory_mib: dict[str, float]
    database_mib: float
    tables_mib: dict[str, float]
    facts: int
    changes: int


def parts(pid: int) -> dict[str, int]:
    """Return the processes of a server by what they are: control, ingest, policy."""
    found = {"control": pid}
    for child in _children(pid):
        try:
            command = (Path("/proc") / str(child) / "cmdline").read_bytes()
        except OSError:
            continue
        found["ingest" if b"airboss.faces.server" in command else "policy"] = child
    return found


def _children(pid: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                yield int(folder.name)


def memory_mib(pid: int) -> float | None:
    """Return the resident memory of a process, None where there is none."""
    try:
        return int((Path("/proc") / str(pid) / "statm").read_text().split()[1]) * PAGE / 2**20
    except (OSError, IndexError):
        return None


def size_mib(folder: Path, prefix: str) -> float:
    """Return what the files of a folder that begin so take together."""
    total = 0
    for path in folder.glob(f"{prefix}*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # a write-ahead log that was just folded in
            continue
    return total / 2**20
