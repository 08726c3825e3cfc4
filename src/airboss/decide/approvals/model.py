"""The words of approvals: requirements, choices, rounds, votes, standings. Pure data.

A *round* asks for seats. A *requirement* is so many seats for distinct people of one group; a *choice* says how many
of its requirements must be met (all, any one, k of n); a round is satisfied when every choice is. People are named by
their handles, as the catalog names the members of its groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

REQUESTER: Final = "requester"
AUTHORS: Final = "authors"
PRESENTATION: Final = "presentation"

ROUND_LASTS: Final = timedelta(hours=72)
"""How long a round stays open when nothing else is said."""


class Verdict(StrEnum):
    """What a person says. A comment decides nothing, and anybody who may see the change may make one."""

    APPROVE = "approve"
    REJECT = "reject"
    ASK = "ask"
    ABSTAIN = "abstain"
    COMMENT = "comment"


class Outcome(StrEnum):
    """Where a round stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    ASKED = "asked"
    EXPIRED = "expired"
    BLOCKED = "blocked"


ENDED_BY_A_WORD: Final = frozenset({Outcome.REJECTED, Outcome.ASKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """`least` seats for distinct people of `group`.

    `distinct_from` names the parts played in the change (requester, authors, …) whose people may not sit here;
    `backup` is asked when too few are left; `covers` names the sections a vote is bound to (None: all but
    presentation); `because` holds the IDs of the rules that asked for it; `sla_s` says within how many seconds an
    answer is hoped for.
    """

    group: str
    least: int = 1
    distinct_from: frozenset[str] = frozenset({REQUESTER, AUTHORS})
    backup: str | None = None
    covers: frozenset[str] | None = None
    because: tuple[str, ...] = ()
    sla_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`take` of the requirements in `of` must be met."""

    of: tuple[Requirement, ...]
    take: int


def all_of(requirements: Iterable[Requirement]) -> Choice:
    """Return the choice that needs every requirement."""
    of = tuple(requirements)
    return Choice(of=of, take=len(of))


def any_of(requirements: Iterable[Requirement], *, take: int = 1) -> Choice:
    """Return the choice that needs `take` of the requirements."""
    return Choice(of=tuple(requirements), take=take)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One asking of people about one change. `excluded` names who played which part; `services` who is concerned."""

    id: str
    change: str
    decision: str
    choices: tuple[Choice, ...]
    excluded: Mapping[str, frozenset[str]]
    services: frozenset[str]
    opened_at: datetime
    expires_at: datetime

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """Every requirement that any choice names, in order."""
        return tuple(requirement for choice in self.choices for requirement in choice.of)

    @property
    def groups(self) -> frozenset[str]:
        """Every group whose members matter, backups included."""
        named = {requirement.group for requirement in self.requirements}
        return frozenset(named | {requirement.backup for requirement in self.requirements if requirement.backup})


@dataclass(frozen=True, slots=True, kw_only=True)
class CastVote:
    """Say a word about a change. `seen` is the digest of the change as the voter saw it; a reason goes with no and ask."""

    change: str
    verdict: Verdict
    seen: str
    comment: str | None = None
    channel: str = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What one person said in one round, and the section digests they saw. `comment` refers to a journal text."""

    id: str
    round: str
    person: str
    verdict: Verdict
    sections: Mapping[str, str]
    at: datetime
    channel: str
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A seat somebody fills."""

    group: str
    person: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSeats:
    """Seats nobody fills yet, and whose vote would help to fill one."""

    group: str
    count: int
    may: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a round stands: derived, never stored.

    `may` is everybody whose approval would bring the round forward; `stale` names people whose approval no longer
    stands, each with the sections that changed under it. `sentence` is for people to read, and names people: it does
    not belong into facts.
    """

    outcome: Outcome
    seats: tuple[Seat, ...]
    missing: tuple[OpenSeats, ...]
    may: frozenset[str]
    sentence: str
    eligible: frozenset[str] = frozenset()
    stale: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A round as people look at it: what it asks for, what was said (comments as text), where it stands."""

    round: Round
    votes: tuple[Vote, ...]
    standing: Standing
    closed_at: datetime | None
    closed_as: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What somebody saw of a change when they last looked, and of the last other content they saw before."""

    digest: str
    content: bytes
    at: datetime
    before_digest: str | None = None
    before_content: bytes | None = None
    before_at: datetime | None = None
