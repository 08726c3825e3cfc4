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


def test_a_gate_tells_how_it_came_to_its_verdict(desk: Desk, become: Callable[..., None], airboss: Airboss) -> None:
    """The only canary gate of a change needs no name; its course, its plot and what policy decided are told."""
    become("dev-a")
    change = desk.proposed()["id"]
    none = airboss("change", "course", change)
    assert (none.code, none.err.splitlines()[0]) == (Exit.NOT_FOUND, "Not found (gate-not-found)")
    become("dev-b")
    assert airboss("approve", change).code == Exit.OK
    for verb in ("course", "series"):
        told = airboss("change", verb, change)
        assert (told.code, told.err) == (Exit.OK, ""), verb
        assert airboss("change", verb, change, "--json").json()["gate"] == "canary:checkout-errors"
        assert airboss("change", verb, change, "--gate", "checkout-errors").code == Exit.OK
    wrong = airboss("change", "course", change, "--gate", "nonsense")
    assert wrong.code == Exit.NOT_FOUND
    decisions = airboss("change", "decisions", change)
    assert "submit" in decisions.out
    assert max(map(len, decisions.out.splitlines()[:-1])) <= 80
    assert airboss("change", "decisions", change, "--json").json()["items"][0]["point"] == "submit"


def test_a_service_the_server_and_an_error_are_told(desk: Desk, become: Callable[..., None], airboss: Airboss) -> None:
    """One service; whether all the server rests on works, by the exit code too; what a code means."""
    become("dev-a")
    assert "payments" in airboss("services", "checkout").out
    assert airboss("services", "checkout", "--json").json()["owner"] == "payments"
    assert airboss("services", "nowhere").code == Exit.NOT_FOUND
    assert airboss("telemetry", "coverage").out.startswith("Nothing was received")
    told = airboss("health", "--json")
    failed = [one["name"] for one in told.json()["checks"] if not one["ok"]]
    assert (told.code, failed) == (Exit.FAULT, ["ingest"])  # nobody takes telemetry in beside a house in memory
    assert "● database: answers" in airboss("health").out
    meant = airboss("error", "change-moved-on")
    assert meant.out.splitlines()[1].startswith("Way out: ")
    unknown = airboss("error", "moved")
    assert (unknown.code, unknown.err.splitlines()[0]) == (Exit.NOT_FOUND, "Not found (error-unknown)")


def test_a_review_is_read_and_closed(desk: Desk, become: Callable[..., None], airboss: Airboss) -> None:
    """By the change's short ID: the facts' answers are shown, one of ours is kept with its note, and it waits no more."""
    become("dev-a")
    change = desk.proposed()["id"]
    become("dev-b")
    airboss("approve", change)
    airboss("abort", change, "-m", "totals are wrong")
    become("admin")
    short = change[-8:]
    shown = airboss("review", "show", short)
    assert "Were runbooks followed" in shown.out
    wrong = airboss("review", "close", short, "--answer", "runbooks")
    assert (wrong.code, "bad-answer" in wrong.err) == (Exit.USAGE, True)
    closed = airboss("review", "close", short, "-a", "runbooks=no: out of date", "--judgement", "right", "-m", "taxes")
    assert closed.code == Exit.OK, closed.err
    assert closed.out.splitlines()[-1].endswith(f"/changes/{change}")
    assert airboss("review", "close", short).code == Exit.NOT_FOUND
