"""`airboss review …`: what people add to what the facts say of a change that ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from airboss.faces.cli.exit_codes import Exit
from airboss.faces.cli.options import AsJson, Cursor, Limit, answer, api, listed, page
from airboss.faces.cli.problems import Problem
from airboss.faces.cli.screen import emit, fields, say
from airboss.faces.cli.words import short_id

app = typer.Typer(no_args_is_help=True, help="Reviews of changes that ended: read, and close.")

Name = Annotated[str, typer.Argument(metavar="CHANGE|REVIEW", help="The change, or the review: rev_…")]


class Judged(StrEnum):
    """Whether the automatic judgement of a change was right."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """Show an open review: what the facts answer to each question."""
    found = _open(name)
    if as_json:
        emit(found)
        return
    say(f"{found['title']}: {found['outcome']}")
    say(str(found["sentence"]))
    fields([(one["question"], f"{one['words']} {_said(one)}") for one in found["questions"]])
    page(f"/changes/{found['change']}")


def _said(question: dict[str, Any]) -> str:
    facts = question["facts"]
    return "The facts do not say." if facts is None else f"{facts['word']}: {facts['sentence']}"


@app.command("close")
def close(
    name: Name,
    judged: Annotated[
        Judged, typer.Option("--judgement", help="Whether taking it back, or letting it go, was right.")
    ] = Judged.UNKNOWN,
    given: Annotated[
        list[str] | None,
        typer.Option("--answer", "-a", help="QUESTION=yes|partly|no|none|unknown, and a note after a colon."),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", "-m", help="What was learnt.")] = None,
    as_json: AsJson = False,
) -> None:
    """Close a review. What you leave out is answered by the facts."""
    review = _open(name)
    answers = dict(_answer(one) for one in given or ())
    body = {"answers": answers, "verdict": judged.value, "note": note}
    found = api().post(f"/reviews/{review['id']}/close", body)
    sentence = f"The review of {short_id(review['change'])} is closed"
    answer(found, as_json=as_json, sentence=sentence, at=f"/changes/{review['change']}")


def _answer(given: str) -> tuple[str, dict[str, str | None]]:
    question, sign, said = given.partition("=")
    word, _, note = said.partition(":")
    if not sign or not question.strip() or not word.strip():
        raise Problem(
            f"{given!r} is not QUESTION=WORD",
            place="--answer",
            exit_code=Exit.USAGE,
            code="bad-answer",
            way_out="--answer runbooks=yes, or with a note: --answer 'runbooks=no: it was out of date'",
        )
    return question.strip(), {"word": word.strip(), "note": note.strip() or None}


def _open(name: str) -> dict[str, Any]:
    """Return the open review of a name. Raises Problem."""
    waiting = api().listed("/reviews")["items"]
    wanted = name.strip().lower()
    ends = len(wanted) >= 4
    found = [
        one for one in waiting if wanted in (one["id"], one["change"]) or (ends and one["change"].endswith(wanted))
    ]
    if len(found) == 1:
        return dict(found[0])
    raise Problem(
        f"{len(found)} open reviews are called {name}" if found else f"no open review is called {name}",
        exit_code=Exit.USAGE if found else Exit.NOT_FOUND,
        code="review-not-found",
        way_out="airboss reviews lists those that wait",
    )


def reviews(as_json: AsJson = False, limit: Limit = None, cursor: Cursor = None) -> None:
    """List the reviews that wait for people, oldest first."""
    from airboss.faces.cli.screen import table

    found = listed("/reviews", limit, cursor)
    if as_json:
        emit(found)
        return
    rows = [(short_id(one["change"]), one["outcome"], one["opened_at"][:16], one["sentence"]) for one in found["items"]]
    table(
        ("Change", "Outcome", "Opened", "What the facts say"), rows, empty="No review waits.", give="What the facts say"
    )
