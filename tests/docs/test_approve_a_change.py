"""docs/how-to/approve-a-change.md: what it says is done here, word for word, by page, by API and by command."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.faces.web.test_site import Client, client
from tests.tower.world import World, quick_folder, ramp

from airboss.decide.approvals import ROUND_LASTS, Verdict
from airboss.faces.api import create_app
from airboss.faces.cli.app import app as command_line

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "approve-a-change.md").read_text()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_folder() as folder:
        made = World(folder)
        made.run(30)
        yield made
        made.close()


def _asked(world: World, title: str, users: int = 60) -> str:
    made = world.propose(ramp(users=users, title=title))
    world.run(3)
    assert world.phase(made) == "awaiting_approval"
    return made


def _vote(world: World, own: Client, change: str, verdict: str, comment: str | None = None, **more: str) -> int:
    body = {"verdict": verdict, "seen": world.change(change).digest, **more}
    answer = own.post(f"/api/v1/changes/{change}/votes", json=body if comment is None else {**body, "comment": comment})
    world.run(3)
    return answer.status_code


def test_every_command_of_the_guide_is_there() -> None:
    """Each command line names a command and options that exist."""
    root = typer.main.get_command(command_line)
    lines = re.findall(r"^(airboss .+)$", GUIDE, re.MULTILINE)
    lines += re.findall(r"`(airboss [^`]+)`", GUIDE)
    assert len(lines) >= 9
    for line in lines:
        command, words = root, shlex.split(line.partition("  #")[0])[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert not getattr(command, "commands", {}), line
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_every_route_of_the_guide_is_there(world: World) -> None:
    """Each request the guide shows is one the server knows, and the verdicts it lists are all there are."""
    paths = create_app(world.house).openapi()["paths"]
    shown = re.findall(r"^(GET|POST)\s+(/api/\S+)$", GUIDE, re.MULTILINE)
    assert len(shown) == 3
    assert all(method.lower() in paths[path] for method, path in shown)
    listed = re.search(r"`verdict` is (.+?)\.", GUIDE)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed.group(1))) == set(Verdict)


def test_the_card_holds_what_the_guide_lists(world: World) -> None:
    """Every thing to weigh stands on the card; the words of the table are its buttons, in that order."""
    change = _asked(world, "Weighed")
    page = html.unescape(client(world).get(f"/changes/{change}").text)
    card = page[page.index('id="decide"') : page.index('id="rollout"')]
    for label in (
        *("Why it is risky", "What it can hurt", "What is left of the budget", "How it goes out", "How it goes back"),
        *("Who wrote it", "What is missing", "What is known", "What else is going on", "What the inspectors saw"),
    ):
        assert label in card
    buttons = re.findall(r"<button class=[^>]*>([^<]+)</button>", card)
    table = [line.split("|")[1].strip() for line in GUIDE.splitlines() if line.startswith("| ")][1:]
    assert buttons == table
    assert 'data-key="a"' in card
    assert 'data-key="r"' in card
    assert "Only comment" in client(world, "viewer").get(f"/changes/{change}").text


@pytest.mark.parametrize(
    ("verdict", "needed"), [("reject", True), ("ask", True), ("comment", True), ("abstain", False)]
)
def test_which_words_need_a_reason(world: World, verdict: str, needed: bool) -> None:
    """As the table says: a no, a question and a comment do, the others do not."""
    change = _asked(world, f"Reason of {verdict}")
    assert _vote(world, client(world), change, verdict) == (422 if needed else 200)
    row = next(line for line in GUIDE.splitlines() if line.casefold().startswith(("| " + verdict, "| only " + verdict)))
    assert row.rstrip("| ").endswith("needed") is needed


def test_what_each_word_does(world: World) -> None:
    """A rejected change cannot start, one asked about is edited and reviewed again, an approved one goes on by itself."""
    own = client(world)
    rejected, asked = _asked(world, "Rejected"), _asked(world, "Asked about")
    left, said = _asked(world, "Left to others"), _asked(world, "Commented")
    _vote(world, own, rejected, "reject", "not before the audit")
    assert world.phase(rejected) == "rejected"
    _vote(world, own, asked, "ask", "smaller first step, please")
    assert world.phase(asked) == "in_review"
    world.edit(asked, ramp(users=50, title="Asked about"))
    world.run(3)
    assert world.phase(asked) == "awaiting_approval"
    for change, verdict in ((left, "abstain"), (said, "comment")):
        _vote(world, own, change, verdict, "is the runbook rehearsed?")
        assert world.phase(change) == "awaiting_approval"
    _vote(world, own, said, "approve")
    assert world.run(60, until=lambda: world.phase(said) == "rolling_out")
    world.order(said, "rollback", by="dev-a")
    assert world.run(60, until=lambda: world.phase(said) == "reviewing")


def test_a_word_counts_for_what_was_seen(world: World) -> None:
    """Another digest is refused with the code the guide names, and the requester may not approve."""
    change = _asked(world, "Seen")
    answer = client(world).post(
        f"/api/v1/changes/{change}/votes", json={"verdict": "approve", "seen": "sha256:" + "0" * 64}
    )
    assert answer.json()["code"] == "change-moved-on"
    assert "`change-moved-on`" in GUIDE
    assert _vote(world, client(world, "dev-a"), change, "approve") == 403


def test_a_vote_that_is_sent_twice_is_cast_once(world: World) -> None:
    """By the key, as the guide says."""
    change, own = _asked(world, "Twice"), client(world)
    body = {"verdict": "comment", "seen": world.change(change).digest, "comment": "once"}
    for _ in range(2):
        answer = own.post(f"/api/v1/changes/{change}/votes", json=body, headers={"idempotency-key": "one-of-mine"})
        assert answer.status_code == 200
    assert len(world.bodies(change, "vote.cast")) == 1


def test_a_round_lasts_as_long_as_the_guide_says(world: World) -> None:
    """The hours in the text are the hours of the code, and the view tells the end."""
    hours = re.search(r"stays open for (\d+) hours", GUIDE)
    assert hours is not None
    assert int(hours.group(1)) == ROUND_LASTS.total_seconds() / 3600
    change = _asked(world, "Ends")
    assert client(world).get(f"/api/v1/changes/{change}/approval").json()["approval"]["expires_at"]
