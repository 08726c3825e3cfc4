"""What is done to a server's folder while no server runs on it: `backup`, `restore`, and `clock accept`."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airboss.faces.cli.options import AsJson
from airboss.faces.cli.screen import emit, note, say
from airboss.kernel.clock import rfc3339

if TYPE_CHECKING:
    from airboss.kernel.settings import Settings
    from airboss.records.backups import Places

Data = Annotated[Path | None, typer.Option("--data", help="The data folder.  [env: AIRBOSS_DATA]")]
Database = Annotated[str | None, typer.Option("--database", help="Address of its database, where that is PostgreSQL.")]
Buckets = Annotated[str | None, typer.Option("--buckets", help="Address of its telemetry counts, where set.")]


clock = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Say which is wrong: a clock or the record.")


@clock.callback()
def _clock() -> None:
    """Say which is wrong: a clock or the record."""


@clock.command("accept")
def accept_clock(
    reason: Annotated[str, typer.Option("--reason", "-m", help="How you know, for the record.")],
    data: Data = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say that this clock is right and the record ran ahead.

    For when a machine's clock was wrong, and is right again. Servers go on by the machine's clock from then on; on an embedded database stop the server first. It is recorded.
    """
    from airboss.bootstrap import accept_clock as accept
    from airboss.bootstrap import open_folder, read_settings
    from airboss.faces.server import alone

    settings = read_settings(data=data, database=database)
    open_folder(settings)
    with alone(settings, control=True, ingest=False):
        ran_to = accept(settings, reason=reason)
    if as_json:
        emit({"record_ran_ahead_to": rfc3339(ran_to)})
        return
    say(f"Recorded: this machine's clock is right, and the record had run ahead to {ran_to:%Y-%m-%d %H:%M:%S} UTC.")


def backup(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="A new file. It holds the signing key.")],
    data: Data = None,
    database: Database = None,
    buckets: Buckets = None,
    as_json: AsJson = False,
) -> None:
    """Write everything a server keeps into one file.

    Database, telemetry counts, signing key and checkpoints, while the server runs. The record in it is verified first. Keep the file as secret as the data folder.
    """
    from airboss.bootstrap import read_settings, state_digests
    from airboss.kernel.clock import SystemClock
    from airboss.records.backups import back_up

    settings = read_settings(data=data, database=database, buckets=buckets)
    note("Copying and verifying")
    manifest = back_up(
        _places(settings), out, at=SystemClock().now(), version=metadata.version("airboss"), states=state_digests()
    )
    if as_json:
        emit({"file": str(out), **_told(manifest)})
        return
    say(f"{manifest.size:,} entries, verified, in {out}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What airboss backup wrote.")],
    data: Data = None,
    database: Database = None,
    buckets: Buckets = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup where there is nothing yet.

    Into an empty data folder, or an empty PostgreSQL database and the folder beside it. The record is verified before it counts. Nothing that is there already is replaced.
    """
    from airboss.bootstrap import open_folder, read_settings, state_digests
    from airboss.records.backups import restore as put_back

    settings = read_settings(data=data, database=database, buckets=buckets)
    open_folder(settings, files=False)
    note("Putting back and verifying")
    manifest = put_back(file, _places(settings), states=state_digests())
    if as_json:
        emit({"data": str(settings.data), **_told(manifest)})
        return
    say(f"{manifest.size:,} entries, verified, as they were at {manifest.taken_at}")
    say("What happened since is not in it. Before you start the server, see what is exposed now, and compare with a")
    say(f"checkpoint you kept: airboss audit verify {settings.data} --checkpoint FILE")


def _places(settings: Settings) -> Places:
    from airboss.bootstrap import CHECKPOINT_FILE, KEY_FILE
    from airboss.records.backups import Places

    return Places(
        database=settings.database_url,
        buckets=settings.buckets_url,
        key=settings.data / KEY_FILE,
        checkpoints=settings.data / CHECKPOINT_FILE,
    )


def _told(manifest: Any) -> dict[str, Any]:
    return {
        "taken_at": manifest.taken_at,
        "version": manifest.version,
        "database": manifest.database,
        "log_id": manifest.log_id,
        "size": manifest.size,
        "root": manifest.root,
        "files": dict(manifest.files),
    }
