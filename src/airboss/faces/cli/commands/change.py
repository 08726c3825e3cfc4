"""`airboss change …` and the verbs people use on one change: approve, pause, rollback, …"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from airboss.faces.cli import completion
from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, ChangeName, Cursor, Limit, Reason, answer, api, listed, page, read_file
from airboss.faces.cli.problems import placed
from airboss.faces.cli.screen import console, emit, marked, say, table
from airboss.faces.cli.words import short_id, tone, word

app = typer.Typer(no_args_is_help=True, help="Propose changes, and see where they stand.")

Timeout = Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait at most.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once policy has spoken; 4 when it asks people.")]
Follow = Annotated[bool, typer.Option("--follow", help="Follow it to its end.")]
DECIDE_S: Final = 600.0


@app.command("list")
def list_(
    as_json: AsJson = False,
    phase: Annotated[str | None, typer.Option(help="draft, rolling_out, awaiting_approval, …")] = None,
    service: Annotated[str | None, typer.Option(autocompletion=completion.services)] = None,
    kind: Annotated[str | None, typer.Option()] = None,
    team: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Rows at most.")] = 30,
    cursor: Cursor = None,
) -> None:
    """List changes, newest first."""
    found = listed("/changes", limit, cursor, phase=phase, service=service, kind=kind, team=team)
    if as_json:
        emit({"items": found["items"], "next_cursor": found["next_cursor"]})
        return
    rows = [
        (short_id(item["id"]), marked(tone(item), word(item)), item["title"], ", ".join(item["services"]))
        for item in found["items"]
    ]
    table(
        ("ID", "State", "Title", "Services"),
        rows,
        empty="No change yet. Propose one: airboss change new",
        give="Title",
    )


@app.command("show")
def show(
    change: ChangeName,
    as_json: AsJson = False,
    gates: Annotated[bool, typer.Option("--gates", help="Show the gates of every step.")] = False,
) -> None:
    """Show where a change stands.

    State, exposure, steps, gates, and who was asked.
    """
    view = _view(change)
    if as_json:
        emit(view)
        return
    from airboss.faces.cli.draw import whole

    console().print(whole(view, gates_of="all" if gates else "now"))
    say()
    page(f"/changes/{view['id']}")


@app.command("submit")
def submit(
    what: Annotated[str, typer.Argument(metavar="FILE|CHANGE", help="A change's file, or the ID of a draft.")],
    as_json: AsJson = False,
    no_wait: NoWait = False,
    timeout: Timeout = DECIDE_S,
    follow: Follow = False,
) -> int:
    """Hand a change over for review, and wait until it is decided.

    Ends with 0 when it may go on, 3 when policy or a person refused it, 4 when it still waits.
    """
    path = Path(what)
    if path.exists() or what == "-":
        with placed(path):
            view = api().post("/changes", text=read_file(path), submit="true")
    else:
        view = api().post(f"/changes/{api().change_id(what)}/submit")
    return after_submit(str(view["id"]), as_json=as_json, no_wait=no_wait, timeout=timeout, follow=follow)


def after_submit(change: str, *, as_json: bool, no_wait: bool, timeout: float, follow: bool) -> int:
    """Wait as the options say and tell the end of it."""
    from airboss.faces.cli.watch import decided, watch

    if not as_json:
        page(f"/changes/{change}")
    if follow:
        code, view = watch(api(), change, timeout_s=None)
    else:
        code, view = decided(api(), change, timeout_s=timeout, people=not no_wait, quiet=as_json)
    if as_json:
        emit(view)
    elif not follow:
        say(str(view["sentence"]))
    return code


@app.command("edit")
def edit(change: ChangeName, file: Annotated[Path, typer.Argument(metavar="FILE")], as_json: AsJson = False) -> None:
    """Replace what a change says. Votes on what did not change stand."""
    id_ = api().change_id(change)
    version = int(api().get(f"/changes/{id_}")["version"])
    with placed(file):
        view = api().put(f"/changes/{id_}", text=read_file(file), kind="application/yaml", version=version)
    answer(view, as_json=as_json, sentence=f"Edited: {view['sentence']}", at=f"/changes/{id_}")


@app.command("cancel")
def cancel(change: ChangeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Call off a change nothing of which is in the world yet."""
    id_ = api().change_id(change)
    view = api().post(f"/changes/{id_}/cancel", {"reason": reason})
    answer(view, as_json=as_json, sentence=str(view["sentence"]), at=f"/changes/{id_}")


@app.command("watch")
def watch_(
    change: ChangeName,
    as_json: AsJson = False,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds to follow it at most.")] = None,
) -> int:
    """Follow a change to its end, and end as it does.

    0 completed, 3 refused, 5 taken back, 6 rollback failed.
    """
    from airboss.faces.cli.watch import watch

    if as_json:
        from airboss.faces.cli.watch import quietly

        code, view = quietly(api(), api().change_id(change), timeout_s=timeout)
        emit(view)
        return code
    code, view = watch(api(), api().change_id(change), timeout_s=timeout)
    page(f"/changes/{view['id']}")
    return code


@app.command("evidence")
def evidence(
    change: ChangeName,
    green: Annotated[bool, typer.Option("--green/--red", help="What the build came to.")],
    source: Annotated[str, typer.Option("--source", help="Where it can be looked up.")],
    kind: Annotated[str, typer.Option("--type", help="What kind of evidence it is.")] = "ci",
    digest: Annotated[str | None, typer.Option("--digest", help="The artifact it vouches for: sha256:…")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a machine found out about a change: CI, a scan."""
    id_ = api().change_id(change)
    body = {"type": kind, "green": green, "source": source, "digest": digest}
    view = api().post(f"/changes/{id_}/evidence", body)
    sentence = f"Recorded: {kind} is {'green' if green else 'red'}"
    answer(view, as_json=as_json, sentence=sentence, at=f"/changes/{id_}")


@app.command("facts")
def facts(change: ChangeName, as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List everything that happened to a change, in order."""
    found = listed(f"/changes/{api().change_id(change)}/facts", limit, cursor)
    if as_json:
        emit(found)
        return
    for fact in found["items"]:
        say(f"{fact['at']}  {fact['actor']:<16}  {fact['text']}")


@app.command("approval")
def approval(change: ChangeName, as_json: AsJson = False) -> None:
    """Show what you weigh before you vote: risk, reach, way back."""
    id_ = api().change_id(change)
    view = api().get(f"/changes/{id_}/approval")
    api().post(f"/changes/{id_}/looks")
    if as_json:
        emit(view)
        return
    from airboss.faces.cli.explained import weighed

    for line in weighed(view):
        say(line)
    say()
    page(f"/changes/{id_}")


@app.command("traces")
def traces(change: ChangeName, as_json: AsJson = False) -> None:
    """List traces worth opening: failed, then slowest, of both arms."""
    found = api().get(f"/changes/{api().change_id(change)}/exemplars")
    if as_json:
        emit(found)
        return
    rows = [
        (arm, one["why"], f"{one['duration_ms']:,.0f} ms", one["at"], one["trace_id"], one["name"])
        for arm in ("canary", "baseline")
        for one in found[arm]
    ]
    table(
        ("Arm", "Why", "Took", "At", "Trace", "Span"),
        rows,
        empty="No trace is kept of this change: they are kept while it is in flight, and for a week",
        give="Trace",
    )


# -- deciding ------------------------------------------------------------------------------------------------------

Seen = Annotated[
    str | None, typer.Option("--seen", help="Digest of what you looked at; what you looked at last without it.")
]


def approve(change: ChangeName, reason: Reason = "", seen: Seen = None, as_json: AsJson = False) -> None:
    """Vote for a change, on exactly what you looked at.

    Edited since you last looked (airboss change approval, or its page), it ends with 9 and nothing is said.
    """
    _vote(change, "approve", reason, seen, as_json=as_json)


def reject(change: ChangeName, reason: Reason = "", seen: Seen = None, as_json: AsJson = False) -> None:
    """Vote against a change."""
    _vote(change, "reject", reason, seen, as_json=as_json)


def ask(change: ChangeName, reason: Reason = "", seen: Seen = None, as_json: AsJson = False) -> None:
    """Ask for something to be changed before you vote."""
    _vote(change, "ask", reason, seen, as_json=as_json)


def comment(
    change: ChangeName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What you have to say.")],
    as_json: AsJson = False,
) -> None:
    """Say something about a change, without deciding."""
    _vote(change, "comment", text, None, as_json=as_json)


def abstain(change: ChangeName, reason: Reason = "", seen: Seen = None, as_json: AsJson = False) -> None:
    """Say that you leave the decision to the others asked."""
    _vote(change, "abstain", reason, seen, as_json=as_json)


def _vote(change: str, verdict: str, comment: str, seen: str | None, *, as_json: bool) -> None:
    """Say a word. A vote is never on what its voter has not seen: the server compares."""
    id_ = api().change_id(change)
    if seen is None:
        view = api().get(f"/changes/{id_}/approval")
        seen = view["last_seen"] or view["seen"]
    body = {"verdict": verdict, "comment": comment or None, "seen": seen}
    found = api().post(f"/changes/{id_}/votes", body)
    answer(found, as_json=as_json, sentence=str(found["sentence"]), at=f"/changes/{id_}")


# -- commanding ----------------------------------------------------------------------------------------------------

_SAID: Final = {
    "pause": "Pausing; the gates keep watching",
    "resume": "Going on",
    "promote": "Going to the next step",
    "abort": "Taking it back",
    "rollback": "Taking it back",
    "retry": "Trying again",
    "mitigated": "Recorded as mitigated by hand",
}


def pause(change: ChangeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Stay at this exposure until told to resume.

    The gates keep watching, and harm is still taken back.
    """
    _order(change, "pause", reason, as_json=as_json)


def resume(change: ChangeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Go on after a pause."""
    _order(change, "resume", reason, as_json=as_json)


def promote(change: ChangeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Answer a step that asks, or skip a step, with a reason."""
    _order(change, "promote", reason, as_json=as_json)


def abort(
    change: ChangeName,
    reason: Reason = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once it is ordered.")] = False,
    as_json: AsJson = False,
) -> int | None:
    """Stop a change: call it off, or take it back if exposed."""
    return _order(change, "abort", reason, as_json=as_json, no_wait=no_wait)


def rollback(
    change: ChangeName,
    reason: Reason = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once it is ordered.")] = False,
    as_json: AsJson = False,
) -> int | None:
    """Take a change back now. Asks nobody: no telemetry, no policy, no gate."""
    return _order(change, "rollback", reason, as_json=as_json, no_wait=no_wait)


def retry(
    change: ChangeName,
    reason: Reason = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once it is ordered.")] = False,
    as_json: AsJson = False,
) -> int | None:
    """Try again: a failed rollback, or what was taken back."""
    return _order(change, "retry", reason, as_json=as_json, no_wait=no_wait)


def mitigated(change: ChangeName, reason: Reason = "", as_json: AsJson = False) -> None:
    """Say that a failed rollback was mitigated by hand.

    Needs a reason, which is recorded; the runbook says how.
    """
    _order(change, "mitigated", reason, as_json=as_json)


def _order(change: str, verb: str, reason: str, *, as_json: bool, no_wait: bool = True) -> int | None:
    """Give an order; with waiting, end as the taking back does (done: 0, failed: 6)."""
    id_ = api().change_id(change)
    view: dict[str, Any] = api().post(f"/changes/{id_}/orders", {"verb": verb, "reason": reason})
    if no_wait:
        answer(view, as_json=as_json, sentence=f"{_SAID[verb]}: {view['sentence']}", at=f"/changes/{id_}")
        return None
    from airboss.faces.cli.watch import quietly, watch

    if as_json:
        code, view = quietly(api(), id_, timeout_s=None)
        emit(view)
    else:
        say(_SAID[verb])
        page(f"/changes/{id_}")
        code, view = watch(api(), id_, timeout_s=None)
    # Who ordered it back got what they wanted.
    return Exit.OK if code in (Exit.TAKEN_BACK, Exit.REFUSED) else code


VERBS: Final = (approve, reject, ask, comment, abstain, pause, resume, promote, abort, rollback, retry, mitigated)


def _view(change: str) -> dict[str, Any]:
    found: dict[str, Any] = api().get(f"/changes/{api().change_id(change)}")
    return found


def inbox(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List what waits for your vote."""
    found = listed("/inbox", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = []
    for item in found["items"]:
        about = item.get("change", item)
        asked = item.get("approval") or {}
        risk = item.get("tier") or "-"
        waits = asked.get("sentence", about["sentence"])
        rows.append((short_id(about["id"]), risk, marked("needs", about["title"]), waits))
    table(("ID", "Risk", "Title", "Waits for"), rows, empty="Nothing waits for you.", give="Waits for")


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE|DIR", help="YAML to apply; - is standard input.")],
    no_submit: Annotated[bool, typer.Option("--no-submit", help="Leave changes as drafts.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    follow: Follow = False,
    as_json: AsJson = False,
) -> int:
    """Put files in force, and propose the changes among them.

    Services, objectives, policies, flags, calendars and changes, as YAML.

    Ends with 3 when a change in them was refused.
    """
    from airboss.faces.cli.options import documents

    body = {"files": documents(file), "submit": not no_submit, "dry_run": dry_run}
    done = api().post("/apply", body)
    refused = [one for one in done["changes"] if one["refused"] is not None]
    if as_json:
        emit(done)
    else:
        _applied(done, dry_run=dry_run)
    code = Exit.REFUSED if refused else Exit.OK
    if follow and not dry_run:
        from airboss.faces.cli.watch import quietly, watch

        for one in done["changes"]:
            if one["refused"] is None and one["submitted"]:
                ended, _ = (quietly if as_json else watch)(api(), one["id"], timeout_s=None)
                code = max(code, ended)
    return code


def _applied(done: dict[str, Any], *, dry_run: bool) -> None:
    rows = [(one["outcome"], one["kind"], one["name"]) for one in done["results"]]
    table(("Would be" if dry_run else "Outcome", "Kind", "Name"), rows, empty="No documents.", give="Name")
    for one in done["results"]:
        for warning in one["warnings"]:
            say(f"warning: {one['kind']} {one['name']}: {warning}")
    for one in done["changes"]:
        if one["refused"] is not None:
            fault = one["refused"]
            where = f"{fault['place']}: " if fault.get("place") else ""
            say(f"refused: {where}{fault['detail']}")
            if fault.get("way_out"):
                say(f"  way out: {fault['way_out']}")
        if one.get("id"):
            say(f"{one['phase'].replace('_', ' ')}: {one['sentence']}")
            page(f"/changes/{one['id']}")
