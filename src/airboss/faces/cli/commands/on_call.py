"""`airboss on-call`: what moves now, what burns, and whom to suspect."""

from __future__ import annotations

from airboss.faces.cli.options import AsJson, api, page
from airboss.faces.cli.screen import emit, marked, say, table
from airboss.faces.cli.words import short_id


def on_call(as_json: AsJson = False) -> None:
    """Say what moves, what burns, and whom to suspect.

    Take one back with `airboss rollback CHANGE`.
    """
    from airboss.faces.cli.screen import console

    found = api().get("/on-call")
    if as_json:
        emit(found)
        return
    for one in found["burning"]:
        console().print(marked("harmed", f"{one['sentence']} ({one['service']} in {one['environment']})"))
        for change in one["suspects"]:
            say(f"  suspected: {short_id(change['id'])} {change['title']}")
    if not found["burning"]:
        console().print(marked("well", "No objective burns"))
    say()
    rows = [
        (short_id(one["id"]), one["phase"].replace("_", " "), ", ".join(one["services"]), one["sentence"])
        for one in (*found["moving"], *found["lately"])
    ]
    table(("Change", "State", "Service", "What it does now"), rows, empty="Nothing moves.", give="What it does now")
    page("/on-call")
