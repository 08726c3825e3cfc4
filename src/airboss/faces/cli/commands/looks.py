"""What one looks up: templates, forecasts, oneself, entries of the record, what a rule may read."""

from __future__ import annotations

from airboss.faces.cli.options import AsJson, ChangeName, Cursor, Limit, api, listed, page
from airboss.faces.cli.screen import emit, fields, say, table
from airboss.faces.cli.words import percent, seconds


def templates(as_json: AsJson = False) -> None:
    """List the kinds of change Airboss comes with. No server."""
    from airboss.changes import templates as shipped

    kinds = [
        {"name": one.metadata.name, "targets": list(one.spec.targets or ()), "summary": one.spec.summary}
        for one in shipped()
    ]
    if as_json:
        emit({"items": kinds})
        return
    rows = [(str(one["name"]), ", ".join(one["targets"]), str(one["summary"])) for one in kinds]
    table(("Template", "Targets", "For"), rows, empty="No template came with this installation.", give="For")


def forecast(change: ChangeName, as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """Say how long each step will take at this traffic."""
    id_ = api().change_id(change)
    found = listed(f"/changes/{id_}/forecast", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [
        (str(one["step"]), percent(one["percent"]), seconds(one["seconds"]), seconds(one["most_s"]), _needs(one))
        for one in found["items"]
    ]
    table(("Step", "To", "Takes", "At most", "Needs"), rows, empty="No step waits for evidence.", give="Needs")
    say()
    page(f"/changes/{id_}")


def _needs(step: dict[str, object]) -> str:
    metrics = step["metrics"]
    return "; ".join(str(one["sentence"]) for one in metrics) if isinstance(metrics, list) else ""


def whoami(as_json: AsJson = False) -> None:
    """Say who you are to the server, and what you may do."""
    found = api().get("/me")
    if as_json:
        emit(found)
        return
    scopes = None if found["scopes"] is None else ", ".join(found["scopes"])
    fields([("name", found["name"]), ("kind", found["kind"]), ("role", found["role"]), ("scopes", scopes)])


def entries(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List the facts of the whole record, in order."""
    found = listed("/audit/entries", limit, cursor)
    if as_json:
        emit(found)
        return
    for fact in found["items"]:
        say(f"{fact['position']:>6}  {fact['at']}  {fact['type']}  {fact['subject']}")


def schema(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List what a rule may read."""
    found = listed("/policy/schema", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [(one["field"], one["type"], one["meaning"]) for one in found["items"]]
    table(("Field", "Type", "Meaning"), rows, empty="Nothing can be read.", give="Meaning")
