"""`airboss audit …`: verify without trusting the server, and take the record away."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, api, read_file
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, marked, say

app = typer.Typer(no_args_is_help=True, help="Verify the record, and take it away.")


class PackForm(StrEnum):
    """How the record of one change is taken away."""

    JSON = "json"
    PAGE = "page"
    ZIP = "zip"


Kept = Annotated[
    Path | None, typer.Option("--checkpoint", help="Checkpoints kept elsewhere: only they show a cut-off tail.")
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", "--public-key", help="Public key (airboss audit key), or a file that holds it."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it; standard output otherwise.")]


@app.command("verify")
def verify(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A data folder, a database, an export, a pack, or a proof."),
    ] = "airboss-data",
    checkpoint: Kept = None,
    key: Keys = None,
    as_json: AsJson = False,
) -> int:
    """Check every entry, every proof and every state row.

    Works offline; writes nothing; the server may run. Of a pack or a proof it checks what that holds.

    Ends with 0 when all is as it was recorded, with 11 when anything was altered, removed, added or reordered.
    """
    from airboss.faces.cli.offline import verify_source

    report = verify_source(
        source,
        checkpoint=None if checkpoint is None else read_file(checkpoint),
        keys=key_texts(key),
    )
    if as_json:
        emit(report)
    else:
        tell(report)
    return Exit.OK if report["ok"] else Exit.DAMAGED


def key_texts(given: list[str] | None) -> list[str]:
    """Return verification keys as their texts, read from files where files were named. Raises Problem."""
    return [_key(one) for one in given or ()]


def _key(given: str) -> str:
    """Return a verification key: the text itself, or the first line of a file that holds one."""
    path = Path(given)
    if "+" in given and not path.exists():
        return given
    lines = [line.strip() for line in read_file(path).splitlines() if line.strip()]
    if not lines:
        raise Problem("it is empty", place=given, exit_code=Exit.USAGE, code="bad-public-key")
    return lines[0]


def tell(report: dict[str, Any], *, claim: str | None = None) -> None:
    """Write what was looked at and what was found, in words: of a whole record, or of one claim about it."""
    from airboss.faces.cli.screen import console

    of = f"{report['size']:,} entries about {report['subjects']:,} subjects" if claim is None else "the proof"
    if report["ok"]:
        told = f"All is as it was recorded: {of}" if claim is None else f"Proven: {claim}"
        console().print(marked("well", told))
    else:
        count = len(report["findings"]) + report["findings_left_off"]
        console().print(marked("harmed", f"{count} thing{'s' if count > 1 else ''} not as recorded, in {of}"))
    if claim is None:
        say(
            f"  {report['checkpoints']} checkpoints, {report['signatures']} signatures, "
            f"{report['states']} state rows, {report['texts']} texts checked"
        )
    say(f"  root {report['root']}")
    for finding in report["findings"]:
        say(f"  {finding['kind']} at {finding['place']}: {finding['sentence']}")
    if report["findings_left_off"]:
        say(f"  and {report['findings_left_off']} more")
    for caveat in report["caveats"]:
        say(f"  Not shown by this run: {caveat}")


@app.command("export")
def export(out: Out = None) -> None:
    """Write the whole journal as JSON lines.

    Facts by position with their bytes unchanged, checkpoints, root.
    """
    _write(out, api().lines("/audit/export"))


@app.command("checkpoint")
def checkpoint_(out: Out = None) -> None:
    """Print the newest signed checkpoint. Keep it elsewhere: it cannot be unsigned."""
    _write(out, [api().raw("/audit/checkpoint").encode()])


@app.command("key")
def key_(out: Out = None) -> None:
    """Print the public key of the log. Note it when the log is made."""
    text = api().raw("/audit/key").strip()
    _write(out, [text.encode() + b"\n"])


@app.command("new-key")
def new_key(
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, for the record.")],
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.  [env: AIRBOSS_DATA]")] = None,
    database: Annotated[str | None, typer.Option("--database", help="Address of its database.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the record with a new key from now on.

    For when the old one is lost or was read; stop the server first. The change is recorded. Give `audit verify` both public keys afterwards.
    """
    from airboss.bootstrap import new_key as change
    from airboss.bootstrap import open_folder, read_settings
    from airboss.faces.server import alone

    settings = read_settings(data=data, database=database)
    open_folder(settings)
    with alone(settings, control=True, ingest=False):
        public = change(settings, reason=reason)
    if as_json:
        emit({"public_key": public})
        return
    say("The change of key is recorded. Note the new public key beside the old one; both are needed to verify:")
    say(public)


@app.command("pack")
def pack(
    change: Annotated[str, typer.Argument(metavar="CHANGE", help="The change to take away.")],
    out: Out = None,
    form: Annotated[
        PackForm, typer.Option("--as", help="json: facts and proofs; page: HTML to read; zip: everything.")
    ] = PackForm.JSON,
) -> None:
    """Write the record of one change, with its proofs.

    `airboss audit verify FILE` checks the JSON without anything else; the ZIP holds it with a page that tells it.
    """
    below = {PackForm.JSON: "", PackForm.PAGE: "/page", PackForm.ZIP: "/archive"}[form]
    _write(out, api().lines(f"/changes/{api().change_id(change)}/evidence-pack{below}"))


def _write(out: Path | None, chunks: Any) -> None:
    if out is None:
        stream = typer.get_binary_stream("stdout")
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        return
    parts = iter(chunks)
    first = next(parts, b"")  # a refusal comes before the file is touched
    with out.open("wb") as file:
        file.write(first)
        for chunk in parts:
            file.write(chunk)
    say(str(out))
