"""Scripts branch on exit codes: every answer and every outcome has its own."""

from __future__ import annotations

import pytest

from airboss.changes import Phase
from airboss.changes.lifecycle import ENDED
from airboss.faces.cli.exit_codes import Exit, of_change, of_decision, of_status
from airboss.faces.cli.problems import Problem
from airboss.kernel import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Invalid, Exit.USAGE),
        (errors.NotFound, Exit.NOT_FOUND),
        (errors.Unauthenticated, Exit.FORBIDDEN),
        (errors.Forbidden, Exit.FORBIDDEN),
        (errors.Refused, Exit.REFUSED),
        (errors.Stale, Exit.STALE),
        (errors.Unavailable, Exit.UNAVAILABLE),
        (errors.OutcomeUnknown, Exit.UNKNOWN),
        (errors.AirbossError, Exit.FAULT),
    ],
)
def test_every_kind_of_error_has_its_code(error, code):
    """What the caller must do next can be read from the exit code alone."""
    raised = error("it")
    assert of_status(raised.status, raised.code) is code


def test_every_way_a_change_can_end_has_its_code():
    """A change that ended never leaves a follower without an answer."""
    codes = {phase: of_change({"outcome": phase.words}) for phase in ENDED}
    assert codes == {
        Phase.COMPLETED: Exit.OK,
        Phase.ROLLED_BACK: Exit.TAKEN_BACK,
        Phase.ROLLBACK_FAILED: Exit.ROLLBACK_FAILED,
        Phase.REJECTED: Exit.REFUSED,
        Phase.CANCELLED: Exit.REFUSED,
        Phase.EXPIRED: Exit.REFUSED,
    }
    assert of_change({"outcome": None}) is None


@pytest.mark.parametrize(
    ("phase", "decision", "code"),
    [
        ("draft", None, None),
        ("in_review", None, None),
        ("in_review", "pending", None),
        ("in_review", "block", Exit.REFUSED),
        ("awaiting_approval", "pending", Exit.WAITING),
        ("approved", "allow", Exit.OK),
        ("rolling_out", "allow", Exit.OK),
    ],
)
def test_a_decision_is_told_by_its_code(phase, decision, code):
    """Submitting ends with 0 once it may go on, 3 when it is refused, 4 while people are asked."""
    asked = None if decision is None else {"outcome": decision}
    assert of_decision({"phase": phase, "outcome": None, "decision": asked}) is code


def test_a_problem_is_told_in_three_lines_at_most():
    """What and where, why, way out; also when the words come with line breaks."""
    problem = Problem(
        "steps must\ngrow", exit_code=Exit.USAGE, code="plan-step-back", place="a.yaml:3:1", way_out="order\nthem"
    )
    assert problem.lines() == [
        "Not understood (plan-step-back) at a.yaml:3:1",
        "  steps must grow",
        "  Way out: order them",
    ]
    assert len(Problem("why").lines()) == 2
