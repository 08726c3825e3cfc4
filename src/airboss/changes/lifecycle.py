"""The life of a change: its phases, the moves between them, and the row that carries it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self

from airboss.changes.spec import Section, Spec, read_spec
from airboss.kernel.errors import Refused
from airboss.kernel.ids import ActorId, ChangeId


class Phase(StrEnum):
    """Where a change stands. While it is rolling out, `run` tells progressing, paused and held apart."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    VALIDATING = "validating"
    ROLLING_OUT = "rolling_out"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    REVIEWING = "reviewing"
    CLOSED = "closed"

    @property
    def words(self) -> str:
        """The phase as people read it."""
        return self.value.replace("_", " ")


_P = Phase
MOVES: Final[Mapping[Phase, frozenset[Phase]]] = MappingProxyType(
    {
        _P.DRAFT: frozenset({_P.IN_REVIEW, _P.CANCELLED}),
        _P.IN_REVIEW: frozenset({_P.AWAITING_APPROVAL, _P.APPROVED, _P.REJECTED, _P.CANCELLED, _P.EXPIRED}),
        _P.AWAITING_APPROVAL: frozenset({_P.IN_REVIEW, _P.APPROVED, _P.REJECTED, _P.CANCELLED, _P.EXPIRED}),
        _P.APPROVED: frozenset(
            {_P.IN_REVIEW, _P.AWAITING_APPROVAL, _P.SCHEDULED, _P.VALIDATING, _P.CANCELLED, _P.EXPIRED}
        ),
        _P.SCHEDULED: frozenset(
            {_P.IN_REVIEW, _P.AWAITING_APPROVAL, _P.APPROVED, _P.VALIDATING, _P.CANCELLED, _P.EXPIRED}
        ),
        # Nothing is exposed yet, so what does not hold after all goes back to wait; an abort takes the one way back.
        _P.VALIDATING: frozenset({_P.APPROVED, _P.SCHEDULED, _P.ROLLING_OUT, _P.ROLLING_BACK}),
        _P.ROLLING_OUT: frozenset({_P.VERIFYING, _P.ROLLING_BACK}),
        _P.VERIFYING: frozenset({_P.COMPLETED, _P.ROLLING_BACK}),
        _P.COMPLETED: frozenset({_P.REVIEWING, _P.ROLLING_BACK}),
        _P.ROLLING_BACK: frozenset({_P.ROLLED_BACK, _P.ROLLBACK_FAILED}),
        _P.ROLLED_BACK: frozenset({_P.REVIEWING}),
        # Three ways out: it is tried again, it is seen back where it was, or a person says it was mitigated.
        _P.ROLLBACK_FAILED: frozenset({_P.ROLLING_BACK, _P.ROLLED_BACK, _P.REVIEWING}),
        # Until its record is closed, what was taken back may be tried again, and what was mitigated taken back after all.
        _P.REVIEWING: frozenset({_P.CLOSED, _P.SCHEDULED, _P.ROLLING_BACK}),
        _P.CLOSED: frozenset(),
        _P.REJECTED: frozenset(),
        _P.CANCELLED: frozenset(),
        _P.EXPIRED: frozenset(),
    }
)
"""The only legal moves."""

OVER: Final = frozenset(phase for phase, after in MOVES.items() if not after)
"""Phases nothing follows: the record of the change is closed."""
EDITABLE: Final = frozenset({_P.DRAFT, _P.IN_REVIEW, _P.AWAITING_APPROVAL, _P.APPROVED, _P.SCHEDULED})
"""Phases in which nothing of the change is in the world yet."""
STARTED: Final = frozenset({_P.VALIDATING, _P.ROLLING_OUT, _P.VERIFYING, _P.ROLLING_BACK, _P.ROLLBACK_FAILED})
"""Phases in which the change may be in the world and is steered."""
ENDED: Final = frozenset({_P.COMPLETED, _P.ROLLED_BACK, _P.ROLLBACK_FAILED, _P.REJECTED, _P.CANCELLED, _P.EXPIRED})
"""Phases that set `ended_at` and an outcome."""

BEGUN_AGAIN: Final = frozenset({_P.SCHEDULED, _P.ROLLING_BACK})
"""Phases in which what had ended is under way again: until it ends anew it has neither end nor outcome."""

FACTS: Final[Mapping[Phase, str]] = MappingProxyType(
    {
        _P.DRAFT: "change.drafted",
        _P.IN_REVIEW: "change.submitted",
        _P.AWAITING_APPROVAL: "change.approval_requested",
        _P.APPROVED: "change.approved",
        _P.SCHEDULED: "change.scheduled",
        _P.VALIDATING: "change.validation_started",
        _P.ROLLING_OUT: "change.rollout_started",
        _P.VERIFYING: "change.verification_started",
        _P.COMPLETED: "change.completed",
        _P.REJECTED: "change.rejected",
        _P.CANCELLED: "change.cancelled",
        _P.EXPIRED: "change.expired",
        _P.ROLLING_BACK: "change.rollback_started",
        _P.ROLLED_BACK: "change.rolled_back",
        _P.ROLLBACK_FAILED: "change.rollback_failed",
        _P.REVIEWING: "change.review_opened",
        _P.CLOSED: "change.closed",
    }
)
"""Which fact tells of the arrival in a phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A move that was made: from where, to where, by whom, when and why."""

    change: ChangeId
    before: Phase
    after: Phase
    by: ActorId
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One intended difference in production, with a way back: a row of the store.

    `version` counts transitions; `fence` is raised to shut out whoever still holds the change; `attempt` counts
    rollouts of the same change, from 1. `document` and `places` are what was written; `spec` and `sections` what it
    was expanded to and the digests votes are bound to, None in a draft. `run` is the rollout's own state, opaque here.
    """

    id: ChangeId
    version: int
    fence: int
    phase: Phase
    attempt: int
    title: str
    kind: str
    services: tuple[str, ...]
    requester: ActorId
    authors: tuple[ActorId, ...]
    """Everybody who wrote or edited it, the requester first."""
    owner_team: str
    document: bytes
    places: bytes
    spec: bytes | None
    sections: bytes | None
    digest: str | None
    run: bytes | None
    outcome: str | None
    """How it ended, one phrase; None before."""
    sentence: str
    """Where it stands, in a sentence."""
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    def expanded(self) -> Spec:
        """Return the expanded change. Raises Refused for a draft, which has none yet."""
        if self.spec is None:
            raise Refused(
                f"change {self.id} is a draft: what it will do is settled when it is submitted",
                code="still-a-draft",
                way_out=f"airboss change submit {self.id}",
            )
        return read_spec(self.spec)

    def section_digests(self) -> dict[Section, str]:
        """Return the digests votes are bound to; empty for a draft."""
        if self.sections is None:
            return {}
        return {Section(name): found for name, found in json.loads(self.sections).items()}

    def move(
        self, to: Phase, *, by: ActorId, at: datetime, reason: str, sentence: str | None = None
    ) -> tuple[Self, Moved]:
        """Return the moved change and what to record; never mutate.

        Raises Refused, listing what is possible now.
        """
        check_move(self.id, self.phase, to)
        moved = replace(
            self,
            phase=to,
            sentence=sentence if sentence is not None else (reason or to.words),
            updated_at=at,
            submitted_at=at if to is Phase.IN_REVIEW and self.submitted_at is None else self.submitted_at,
            started_at=at if to is Phase.VALIDATING and self.started_at is None else self.started_at,
            ended_at=at if to in ENDED else None if to in BEGUN_AGAIN else self.ended_at,
            outcome=to.words if to in ENDED else None if to in BEGUN_AGAIN else self.outcome,
        )
        return moved, Moved(change=self.id, before=self.phase, after=to, by=by, at=at, reason=reason)


def check_move(change: str, before: Phase, after: Phase) -> None:
    """Raise Refused, with what is legal now, unless a change may go from one phase to the other."""
    legal = MOVES[before]
    if after in legal:
        return
    possible = ", ".join(phase.words for phase in Phase if phase in legal)
    raise Refused(
        f"change {change} is {before.words} and cannot become {after.words}",
        code="illegal-move",
        way_out=f"it can become {possible}" if possible else "nothing follows; propose a new change",
    )
