"""What callers may send: the shapes of the API's bodies, checked at the edge. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airboss.learn.reviews import Question, Word
from airboss.people.access import Role, TokenScope

Line = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]+$")
]
"""One line of words."""
Prose = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
"""Words of people, of any length a person writes."""
Secret = Annotated[str, Field(min_length=1, max_length=1_000)]
FileText = Annotated[str, Field(max_length=1024 * 1024)]


class Shape(BaseModel):
    """A body; nothing is turned from one type into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class File(Shape):
    source: Line = Field(description="what to call the file in messages, its path", examples=["service.yaml"])
    text: FileText = Field(description="its whole content, YAML, JSON or Markdown")


class Apply(Shape):
    """Files to put in force, all checked before any of them is."""

    files: list[File] = Field(min_length=1, max_length=500)
    submit: bool = Field(default=True, description="hand changes over for review, instead of keeping them as drafts")
    dry_run: bool = Field(default=False, description="only check")


class Files(Shape):
    files: list[File] = Field(min_length=1, max_length=100)


class Reason(Shape):
    reason: Prose = Field(examples=["the supplier postponed"])


class ChooseProfile(Shape):
    """Another shipped profile of policy; a dry run only says what it would change."""

    profile: str = Field(max_length=60, examples=["regulated"])
    dry_run: bool = False


class CastVote(Shape):
    verdict: Literal["approve", "reject", "ask", "abstain", "comment"]
    seen: Line = Field(description="the digest of the change the voter looked at: `digest` of the change")
    comment: Prose | None = Field(default=None, description="the reason; a no and a question need one")


class GiveOrder(Shape):
    verb: Line = Field(description="pause, resume, promote, abort, rollback, retry or mitigated", examples=["abort"])
    reason: Prose = ""
    expected_version: int | None = Field(default=None, description="refuse if the change has moved on since")


class RecordEvidence(Shape):
    type: Line = Field(examples=["ci"])
    green: bool
    source: Prose = Field(examples=["https://ci.example.com/builds/812"])
    digest: Line | None = Field(default=None, description="what it is about; without it, what the change names")


class Given(Shape):
    word: Annotated[Word, Field(strict=False)]
    note: Prose | None = None


class CloseReview(Shape):
    answers: dict[Annotated[Question, Field(strict=False)], Given] = Field(
        default_factory=dict, description="questions left out keep the answer of the facts"
    )
    verdict: Literal["right", "wrong", "unknown"] = Field(
        default="unknown", description="whether the automatic judgement was right"
    )
    note: Prose | None = None


class AddPerson(Shape):
    handle: Line = Field(examples=["dev-a"])
    role: Annotated[Role, Field(strict=False)] = Role.VIEWER
    name: Line | None = None
    email: Line | None = None
    teams: list[Line] = Field(
        default=[],
        max_length=50,
        description="the teams whose things the role is good for; none: all",
        examples=[["payments"]],
    )


class SetRole(Shape):
    role: Annotated[Role, Field(strict=False)]
    teams: list[Line] | None = Field(
        default=None, max_length=50, description="the same; left out, they stay; empty, all", examples=[["payments"]]
    )


class IssueToken(Shape):
    label: Line = Field(examples=["ci of checkout"])
    scopes: list[Annotated[TokenScope, Field(strict=False)]] = Field(min_length=1, max_length=20)
    days: int = Field(default=90, ge=1, le=3650)
    personal: bool = Field(default=False, description="acts as the person who asks; else it is a service's own")
    service: Line | None = Field(default=None, description="the one service it is for")


class SignIn(Shape):
    """Either a one-time link's secret, or name and password."""

    link: Secret | None = None
    handle: Line | None = None
    name: Line | None = None
    password: Secret | None = None


class SetPassword(Shape):
    new: Secret
    current: Secret | None = None


class EvaluateFlag(Shape):
    context: dict[str, Any] = Field(
        default_factory=dict,
        max_length=100,
        description="OpenFeature's evaluation context: `targetingKey`, and attributes by name",
        examples=[{"targetingKey": "user-17", "plan": "premium"}],
    )
    environment: Line = "production"


class KillFlag(Shape):
    reason: Prose = Field(examples=["totals are wrong for Spain"])
    environment: Line = "production"


class UnkillFlag(Shape):
    environment: Line = "production"


class LiftBlock(Shape):
    service: Line
    digest: Line
    reason: Prose
