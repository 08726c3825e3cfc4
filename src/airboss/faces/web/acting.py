"""What people do: every form of the pages, each one use case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from airboss.act.rollout import Order
from airboss.changes import Cancel, Change, Submit
from airboss.decide.approvals import CastVote, Verdict
from airboss.faces.web.frame import Frame, flash_of
from airboss.faces.web.views import State, Tone
from airboss.faces.web.visits import Visit, local, see
from airboss.kernel.errors import Invalid, NotFound
from airboss.learn.reviews import CloseReview, Given, Question, Word

_ORDERED: Final[Mapping[str, tuple[Tone, str, str]]] = {
    "pause": ("waiting", "Paused.", "The gates keep watching; the next step waits for you to resume."),
    "resume": ("well", "Resumed.", "It goes on as soon as the gates let it."),
    "promote": ("well", "Noted.", "The next step begins as soon as the exposure stands."),
    "abort": ("waiting", "Aborted.", "It is called off as soon as the tower has looked, within seconds."),
    "rollback": ("harmed", "Rolling back.", "Everything goes back to where it was. This page follows it."),
    "retry": ("waiting", "Trying again.", "It begins as soon as the tower has looked, within seconds."),
    "mitigated": ("waiting", "Noted.", "It is recorded with your name and reason, and goes to its review."),
}
_VOTED: Final[Mapping[Verdict, tuple[Tone, str]]] = {
    Verdict.APPROVE: ("well", "Approved."),
    Verdict.REJECT: ("waiting", "Rejected."),
    Verdict.ASK: ("waiting", "Asked for changes."),
    Verdict.ABSTAIN: ("waiting", "Abstained."),
    Verdict.COMMENT: ("waiting", "Noted."),
}


class Acting:
    """Handlers of votes, orders, reviews."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def submit(self, visit: Visit) -> Response:
        """Hand a draft over for review."""
        change = self._frame.house.changes.submit(
            Submit(change_id=visit.path["change"], expected_version=_version(visit)), actor=visit.actor
        )
        return _back(change, flash_of("waiting", "Submitted.", "Policy is being asked; this page follows it."))

    def cancel(self, visit: Visit) -> Response:
        """Withdraw a change that has not started."""
        command = Cancel(
            change_id=visit.path["change"], reason=visit.form.get("reason", ""), expected_version=_version(visit)
        )
        change = self._frame.house.changes.cancel(command, actor=visit.actor)
        return _back(change, flash_of("waiting", "Called off.", "It stays in the record."))

    def vote(self, visit: Visit) -> Response:
        """Say a word about a change, bound to what was seen."""
        given = visit.path["verdict"]
        if given not in set(Verdict):
            raise NotFound(f"there is no vote {given!r}", code="vote-unknown")
        verdict = Verdict(given)
        command = CastVote(
            change=visit.path["change"],
            verdict=verdict,
            seen=visit.form.get("seen", ""),
            comment=visit.form.get("comment") or None,
            channel="web",
        )
        standing = self._frame.house.approvals.vote(command, visit.actor)
        tone, word = _VOTED[verdict]
        return see(f"/changes/{command.change}", told=flash_of(tone, word, standing.sentence))

    def order(self, visit: Visit) -> Response:
        """Order something of a rollout."""
        verb = visit.path["verb"]
        command = Order(
            change_id=visit.path["change"],
            verb=verb,
            reason=visit.form.get("reason", ""),
            expected_version=_version(visit),
        )
        change = self._frame.house.rollouts.order(command, visit.actor)
        return see(local(visit.form.get("next"), f"/changes/{change.id}"), told=flash_of(*_ORDERED[verb]))

    def close_review(self, visit: Visit) -> Response:
        """Close a review with what people say; questions left as the facts answer them keep that answer."""
        form = visit.form
        answers = {
            question: Given(word=Word(form[str(question)]), note=form.get(f"{question}-note") or None)
            for question in Question
            if form.get(str(question)) in set(Word)
            and (form.get(f"{question}-was") != form[str(question)] or form.get(f"{question}-note"))
        }
        verdict = form.get("verdict", "unknown")
        if verdict not in ("right", "wrong", "unknown"):
            raise Invalid("the judgement was right, wrong or unknown", code="bad-verdict", place="verdict")
        command = CloseReview(
            review=visit.path["review"],
            answers=answers,
            verdict=verdict,  # type: ignore[arg-type]  # checked above
            note=form.get("note") or None,
        )
        self._frame.house.reviews.close(command, visit.actor)
        told = flash_of("well", "Review closed.", "The record of this change is complete.")
        return see(f"/changes/{visit.path['change']}", told=told)


def _back(change: Change, told: State) -> Response:
    return see(f"/changes/{change.id}", told=told)


def _version(visit: Visit) -> int | None:
    given = visit.form.get("version", "")
    # isdigit alone also knows digits that int does not, such as a raised two.
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None
