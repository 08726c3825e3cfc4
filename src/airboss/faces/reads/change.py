"""A change, and lists of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from airboss.act.rollout import action_of, possible_orders
from airboss.changes import Change, Phase, Summary
from airboss.decide.approvals import Approval
from airboss.decide.policy import StoredDecision, Tier
from airboss.faces.reads.dossier import Dossier
from airboss.faces.reads.review import review_view
from airboss.faces.reads.rollout import rollout_view
from airboss.kernel.clock import rfc3339
from airboss.people.access import Action, Actor, Scope, may, why_not

MOVING = frozenset({Phase.VALIDATING, Phase.ROLLING_OUT, Phase.VERIFYING, Phase.ROLLING_BACK})


def change_view(read: Dossier) -> dict[str, Any]:
    """Return everything one page says of a change but its facts. Some twenty queries, whatever its size, and the
    telemetry's for each objective.
    """
    change, decisions = read.change, read.decisions
    newest = decisions[-1] if decisions else None
    return {
        **flight_view(read),
        "requester": read.names[change.requester],
        "authors": [read.names[one] for one in change.authors],
        "digest": change.digest,
        "sections": {str(name): digest for name, digest in change.section_digests().items()},
        "document": json.loads(change.document),
        "why": None if change.spec is None else change.expanded().why,
        "findings": read.findings,
        "decision": None if newest is None else newest.body,
        "decisions": [_decision(one) for one in decisions],
        "tier": tier_of(decisions),
        "approval": approval_view(read),
        "evidence": read.evidence,
        "objectives": read.objectives,
    }


def flight_view(read: Dossier) -> dict[str, Any]:
    """Return where a change is, how it goes on and goes back, and what the reader may order. Six queries, none for one of
    those that were read together.
    """
    change = read.change
    spec = None if change.spec is None else change.expanded()
    return {
        **summary(change, read.sentence),
        "spec": None if spec is None else json.loads(change.spec or b"{}"),
        "environments": [] if spec is None else list(spec.environments),
        "owner": {"team": change.owner_team, "person": None if spec is None else spec.owner.person},
        "rollout": rollout_view(read),
        "review": None if read.review is None else review_view(read.review),
        **_orders(read),
    }


def summary(change: Change | Summary, live: str) -> dict[str, Any]:
    """Return what lists and pages both say. `sentence` is the last look's while the change moves."""
    moving = change.phase in MOVING or change.phase in (Phase.AWAITING_APPROVAL, Phase.SCHEDULED, Phase.IN_REVIEW)
    return {
        "id": change.id,
        "version": change.version,
        "phase": str(change.phase),
        "outcome": change.outcome,
        "title": change.title,
        "kind": change.kind,
        "services": list(change.services),
        "owner_team": change.owner_team,
        "sentence": (live or change.sentence) if moving else change.sentence,
        "attempt": change.attempt,
        "created_at": rfc3339(change.created_at),
        "updated_at": rfc3339(change.updated_at),
        "submitted_at": None if change.submitted_at is None else rfc3339(change.submitted_at),
        "started_at": None if change.started_at is None else rfc3339(change.started_at),
        "ended_at": None if change.ended_at is None else rfc3339(change.ended_at),
    }


def approval_view(read: Dossier) -> dict[str, Any] | None:
    """Return who is asked, who said what, and whether the reader may vote. Seven queries."""
    return None if read.approval is None else approval_told(read.approval, read.change, read.actor)


def approval_told(found: Approval, change: Change, actor: Actor) -> dict[str, Any]:
    """Return a round of approval as `approval_view` does. Pure."""
    standing = found.standing
    return {
        "round": found.round.id,
        "outcome": found.closed_as or str(standing.outcome),
        "sentence": standing.sentence,
        "opened_at": rfc3339(found.round.opened_at),
        "expires_at": rfc3339(found.round.expires_at),
        "closed_at": None if found.closed_at is None else rfc3339(found.closed_at),
        "seats": [{"group": seat.group, "person": seat.person} for seat in standing.seats],
        "missing": [
            {"group": seats.group, "count": seats.count, "may": sorted(seats.may)} for seats in standing.missing
        ],
        "votes": [
            {
                "person": vote.person,
                "verdict": str(vote.verdict),
                "at": rfc3339(vote.at),
                "comment": vote.comment,
                "channel": vote.channel,
                "stale": sorted(standing.stale.get(vote.person, ())),
            }
            for vote in found.votes
        ],
        "may_vote": change.phase is Phase.AWAITING_APPROVAL
        and actor.name in standing.eligible
        and may(actor, Action.CHANGE_APPROVE),
        "seen": change.digest,
    }


def tier_of(decisions: Sequence[StoredDecision]) -> str | None:
    """Return the highest tier policy ever came to for a change."""
    return max((str(one.body["tier"]) for one in decisions), key=lambda tier: Tier(tier).rank, default=None)


def _decision(one: StoredDecision) -> dict[str, Any]:
    return {"id": one.id, "point": one.point, "outcome": one.outcome, "at": rfc3339(one.at), "tier": one.body["tier"]}


def _orders(read: Dossier) -> dict[str, Any]:
    """Return what the reader may order now, and under `withheld` what only the teams keep from whom rights are narrowed."""
    change, actor = read.change, read.actor
    own = Scope(services=frozenset(change.services), team=change.owner_team)
    asked = [(verb, action_of(verb), own) for verb in possible_orders(change)]
    if change.phase is Phase.DRAFT:
        asked = [("submit", Action.CHANGE_SUBMIT, read.scope), ("cancel", Action.CHANGE_EDIT, own), *asked]
    return {
        "orders": [verb for verb, action, scope in asked if may(actor, action, scope)],
        "withheld": [
            {"order": verb, "why": why}
            for verb, action, scope in asked
            if may(actor, action) and (why := why_not(actor, action, scope)) is not None
        ],
    }
