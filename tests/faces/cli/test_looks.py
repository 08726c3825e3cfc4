"""What one looks up by a command: the same as the API says, in 80 columns, or as JSON."""

from __future__ import annotations

from collections.abc import Callable

from tests.faces.api.desk import Desk
from tests.faces.cli.conftest import Airboss

from airboss.faces.cli.exit_codes import Exit


def test_everything_can_be_looked_up(desk: Desk, become: Callable[..., None], airboss: Airboss) -> None:
    """Each list stands in 80 columns, and as JSON it has its rows and where to go on."""
    become("admin")
    change = desk.proposed()["id"][-8:]
    desk.house.store.sequence()
    desk.house.checkpoints.write_now()
    asked = [
        ("change", "templates"),
        ("change", "forecast", change),
        ("reviews",),
        ("audit", "entries"),
        ("policy", "schema"),
    ]
    for words in asked:
        told = airboss(*words)
        assert (told.code, told.err) == (Exit.OK, ""), words
        assert told.out.strip(), words
        if words != ("audit", "entries"):
            assert max(map(len, told.out.splitlines())) <= 80, words
        whole = airboss(*words, "--json").json()["items"]
        if words[-1] != "templates":
            part = airboss(*words, "--json", "--limit", "1").json()
            assert part["items"] == whole[:1], words
            assert (part["next_cursor"] is not None) == (len(whole) > 1), words
    assert "admin" in airboss("whoami").out
    assert airboss("whoami", "--json").json()["kind"] == "person"
    assert airboss("audit", "proof", "0").json()["position"] == 0
    assert "flag-ramp" in airboss("change", "templates").out


def test_a_page_goes_on_where_the_last_one_ended(desk: Desk, become: Callable[..., None], airboss: Airboss) -> None:
    """`--cursor` takes what the answer before gave; what is no cursor is refused by its place."""
    become("admin")
    first = airboss("user", "list", "--json", "--limit", "2").json()
    rest = airboss("user", "list", "--json", "--cursor", first["next_cursor"]).json()
    assert [one["handle"] for one in first["items"] + rest["items"]] == ["admin", "dev-a", "dev-b"]
    assert rest["next_cursor"] is None
    wrong = airboss("user", "list", "--cursor", "nonsense")
    assert wrong.code == Exit.USAGE
    assert wrong.err.splitlines()[0] == "Not understood (bad-cursor) at cursor"
