"""The inbox of approvals: what waits for the reader, and what waits for others, each with why and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.changes import Change
from airboss.decide.approvals import Approval
from airboss.decide.policy import StoredDecision
from airboss.faces.reads.approver import changed_since
from airboss.faces.reads.change import approval_told, summary, tier_of
from airboss.kernel.clock import rfc3339
from airboss.kernel.ids import change_id
from airboss.people.access import Actor

OTHERS_MOST: Final = 100


def inbox_view(house: House, connection: Connection, actor: Actor) -> dict[str, Any]:
    """Return the changes that wait for people, those waiting longest first: {items, others}.

    `items` wait for this reader: the change, its approval, `tier`, the reasons of policy in words (`why`) and
    `changed_since` (None before the reader's first look). `others` wait for somebody else, of whom `approval.missing`
    tells; of those at most 100. Ten queries, however many wait.
    """
    waiting = house.approvals.waiting(connection)
    mine = [one for one in waiting if actor.name in one.standing.may]
    theirs = [one for one in waiting if actor.name not in one.standing.may][:OTHERS_MOST]
    wanted = [one.round.change for one in (*mine, *theirs)]
    if not wanted:
        return {"items": [], "others": []}
    changes = {one.id: one for one in house.changes.read_many(connection, wanted)}
    decisions = house.policies.decisions_of_each(connection, wanted)
    looks = house.approvals.last_looks(connection, [one.round.change for one in mine], actor)

    def change_of(one: Approval) -> Change:
        return changes[change_id(one.round.change)]

    return {
        "items": [
            {
                "change": summary(change_of(one), ""),
                "approval": approval_told(one, change_of(one), actor),
                **_why(decisions[one.round.change]),
                "changed_since": changed_since(change_of(one), looks.get(one.round.change)),
            }
            for one in mine
        ],
        "others": [_other(change_of(one), one, decisions[one.round.change]) for one in theirs],
    }


def _other(change: Change, found: Approval, decisions: Sequence[StoredDecision]) -> dict[str, Any]:
    standing = found.standing
    return {
        "change": summary(change, ""),
        "approval": {
            "outcome": str(standing.outcome),
            "sentence": standing.sentence,
            "opened_at": rfc3339(found.round.opened_at),
            "expires_at": rfc3339(found.round.expires_at),
            "missing": [
                {"group": seats.group, "count": seats.count, "may": sorted(seats.may)} for seats in standing.missing
            ],
        },
        **_why(decisions),
    }


def _why(decisions: Sequence[StoredDecision]) -> Mapping[str, Any]:
    newest = decisions[-1].body["fired"] if decisions else []
    return {
        "tier": tier_of(decisions),
        "why": list(
            dict.fromkeys(one["message"] for one in newest if one["message"] and one["effect"] != "require_approval")
        ),
    }
