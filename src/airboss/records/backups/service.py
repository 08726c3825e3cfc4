"""Takes a backup and puts one back."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import Invalid, Refused, Unavailable
from airboss.records.audit import Report, StateDigests, verify
from airboss.records.backups import postgresql
from airboss.records.backups.emptying import emptied_on_failure
from airboss.records.backups.model import BUCKETS, CHECKPOINTS, DATABASE, KEY, MANIFEST, Manifest, Places, not_one
from airboss.records.store import parse

_PIECE: Final = 1024 * 1024


def back_up(places: Places, out: Path, *, at: datetime, version: str, states: Sequence[StateDigests] = ()) -> Manifest:
    """Write everything a server keeps into one new file that only its owner can read. The server may run.

    The copy is verified before it counts as a backup. Raises Refused (the file is there already, or what is copied does
    not verify), Invalid or Unavailable; then no file is left.
    """
    if out.exists():
        raise Refused(f"{out} is there already", code="file-exists", way_out="name another file, or move it away")
    with _written(out) as part, tempfile.TemporaryDirectory(dir=out.parent, prefix=".airboss-backup-") as folder:
        work = Path(folder)
        # The file of checkpoints first: it may lag behind the database, and must not be ahead of it.
        for name, path in ((CHECKPOINTS, places.checkpoints), (KEY, places.key)):
            if path.exists():
                shutil.copyfile(path, work / name)
        kind = "sqlite" if parse(places.database).get_backend_name() == "sqlite" else "postgresql"
        if kind == "sqlite":
            _copy_sqlite(places.database, work / DATABASE)
            report = _verified(f"sqlite:///{work / DATABASE}", states)
        else:
            report = _verified(places.database, states)
            postgresql.dump(places.database, work / DATABASE)
        if places.buckets != places.database and places.buckets.startswith("sqlite"):
            _copy_sqlite(places.buckets, work / BUCKETS)
        names = [name for name in (DATABASE, BUCKETS, KEY, CHECKPOINTS) if (work / name).exists()]
        manifest = Manifest(
            database="sqlite" if kind == "sqlite" else "postgresql",
            taken_at=rfc3339(at),
            version=version,
            log_id=report.log_id or "",
            size=report.size,
            root=base64.b64encode(report.root).decode(),
            files={name: _digest(work / name) for name in names},
        )
        (work / MANIFEST).write_bytes(manifest.to_json())
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive:
            for name in (MANIFEST, *names):
                archive.add(work / name, arcname=name, filter=_bare)
    return manifest


def restore(file: Path, places: Places, *, states: Sequence[StateDigests] = ()) -> Manifest:
    """Put a backup where there is nothing yet, and verify what was put there.

    Raises Invalid (not a backup, or damaged), Refused (something is there already, or it does not verify), Unavailable.
    What was already there is never touched, and nothing is put into the folder before all is verified. A PostgreSQL
    database can be verified only after it was filled: if it does not verify, what the restore made there is dropped again.
    """
    kind = "sqlite" if parse(places.database).get_backend_name() == "sqlite" else "postgresql"
    with (
        tempfile.TemporaryDirectory(dir=places.key.parent, prefix=".airboss-restore-") as folder,
        contextlib.ExitStack() as stack,
    ):
        work = Path(folder)
        manifest = _unpacked(file, work)
        if manifest.database != kind:
            raise Refused(
                f"it is a backup of {manifest.database}, and {kind} is to be restored",
                code="backup-of-another-kind",
                place=str(file),
                way_out="name a database of its kind with --database"
                if manifest.database == "postgresql"
                else "leave --database out: an embedded database is restored into the data folder",
            )
        wanted = _wanted(places, manifest)
        for path in wanted.values():
            if path.exists():
                raise _taken(str(path))
        if kind == "postgresql":
            if _has_tables(places.database):
                raise _taken("the database")
            postgresql.restore(places.database, work / DATABASE)
            stack.enter_context(emptied_on_failure(places.database))
            report = _verified(places.database, states)
        else:
            report = _verified(f"sqlite:///{work / DATABASE}", states)
        if report.size < manifest.size or (
            report.size == manifest.size and base64.b64encode(report.root).decode() != manifest.root
        ):
            raise not_one(str(file), f"it says {manifest.size:,} entries, and other {report.size:,} are in it")
        for name, path in wanted.items():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (work / name).chmod(0o600)
            (work / name).replace(path)
    return manifest


def _wanted(places: Places, manifest: Manifest) -> dict[str, Path]:
    """Return where each file of a backup goes; a dump goes into its database instead."""
    paths = {KEY: places.key, CHECKPOINTS: places.checkpoints}
    for name, url in ((DATABASE, places.database), (BUCKETS, places.buckets)):
        parsed = parse(url)
        if parsed.get_backend_name() == "sqlite":
            paths[name] = Path(str(parsed.database))
    return {name: path for name, path in paths.items() if name in manifest.files}


def _verified(url: str, states: Sequence[StateDigests]) -> Report:
    report = verify(url, state_digests=states)
    if report.findings:
        first = report.findings[0]
        raise Refused(
            f"the record in it is not what was recorded: {first.kind} at {first.place}",
            code="backup-not-verified",
            way_out="airboss audit verify says the rest; restore an older backup beside this one and compare",
        )
    return report


def _copy_sqlite(url: str, to: Path) -> None:
    """Copy a database as one snapshot, through the engine's own way; writers go on meanwhile."""
    path = parse(url).database
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(to)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as fault:
        raise Unavailable(
            f"{path} cannot be copied: {fault}",
            code="database-unavailable",
            way_out="name the folder airboss serve was given, with room for a copy beside the backup",
        ) from fault


def _has_tables(url: str) -> bool:
    engine = sa.create_engine(parse(url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            return bool(sa.inspect(connection).get_table_names())
    except SQLAlchemyError as fault:
        reason = str(getattr(fault, "orig", None) or fault).splitlines()[0]
        raise Unavailable(
            f"the database does not answer: {reason}",
            code="database-unavailable",
            way_out="make it first (createdb), and see that its address is right",
        ) from fault


def _unpacked(file: Path, work: Path) -> Manifest:
    """Unpack the files a backup should hold, and only those, each with the digest its manifest names."""
    try:
        with tarfile.open(file, "r:") as archive:
            for name in (MANIFEST, DATABASE, BUCKETS, KEY, CHECKPOINTS):
                with contextlib.suppress(KeyError):
                    member = archive.extractfile(archive.getmember(name))
                    if member is not None:
                        with (work / name).open("wb") as kept:
                            shutil.copyfileobj(member, kept, _PIECE)
    except OSError as fault:
        raise Invalid(
            f"it cannot be read: {fault.strerror or fault}", code="bad-backup", place=str(file), way_out="name the file"
        ) from fault
    except tarfile.TarError as fault:
        raise not_one(str(file)) from fault
    if not (work / MANIFEST).exists():
        raise not_one(str(file))
    manifest = Manifest.read((work / MANIFEST).read_bytes(), place=str(file))
    for name, digest in manifest.files.items():
        if not (work / name).exists() or _digest(work / name) != digest:
            raise not_one(str(file), f"{name} in it is damaged or missing")
    return manifest


@contextlib.contextmanager
def _written(out: Path) -> Iterator[Path]:
    """Give a file beside `out` that takes its name when the block ends well, and goes when it does not."""
    part = out.with_name(f".{out.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(out)
    except OSError as fault:
        raise Invalid(
            f"it cannot be written: {fault.strerror}",
            code="bad-backup-file",
            place=str(out),
            way_out="name a file in a folder you can write, with room for it: -o FILE",
        ) from fault
    finally:
        part.unlink(missing_ok=True)


def _taken(what: str) -> Refused:
    return Refused(
        f"{what} is not empty, and a restore replaces nothing",
        code="restore-not-empty",
        way_out="name an empty folder or database; what is there stays as it is",
    )


def _bare(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
