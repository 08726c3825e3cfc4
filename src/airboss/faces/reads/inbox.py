"""The inbox of approvals: what waits for the reader, and what waits for others, each with why and since when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from airboss.bootstrap import House
from airboss.changes import Change
from airboss.decide.approvals import Approval
from airboss.faces.reads.approver import changed_since
from airboss.faces.reads.change import approval_view, summary, tier_of
from airboss.kernel.clock import rfc3339
from airboss.kernel.ids import change_id
from airboss.people.access import Actor

OTHERS_MOST: Final = 100


def inbox_view(house: House, connection: Connection, actor: Actor) -> dict[str, Any]:
    """Return the changes that wait for people, those waiting longest first: {items, others}.

    `items` wait for this reader: the change, its approval, `tier`, the reasons of policy in words (`why`) and
    `changed_since` (None before the reader's first look). `others` wait for somebody else, of whom `approval.missing`
    tells. Queries as `Approvals.waiting`, some ten for each item, one for each of the others (at most 100).
    """
    waiting = house.approvals.waiting(connection)
    mine = [one for one in waiting if actor.name in one.standing.may]
    theirs = [one for one in waiting if actor.name not in one.standing.may][:OTHERS_MOST]
    wanted = [one.round.change for one in (*mine, *theirs)]
    changes = {one.id: one for one in house.changes.read_many(connection, wanted)}
    return {
        "items": [_item(house, connection, changes[change_id(one.round.change)], actor) for one in mine],
        "others": [_other(house, connection, changes[change_id(one.round.change)], one) for one in theirs],
    }


def _item(house: House, connection: Connection, change: Change, actor: Actor) -> dict[str, Any]:
    return {
        "change": summary(change, ""),
        "approval": approval_view(house, connection, change, actor),
        **_why(house, connection, change),
        "changed_since": changed_since(house, connection, change, actor),
    }


def _other(house: House, connection: Connection, change: Change, found: Approval) -> dict[str, Any]:
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
        **_why(house, connection, change),
    }


def _why(house: House, connection: Connection, change: Change) -> Mapping[str, Any]:
    decisions = house.policies.decisions_of(connection, change.id)
    newest = decisions[-1].body["fired"] if decisions else []
    return {
        "tier": tier_of(decisions),
        "why": list(
            dict.fromkeys(one["message"] for one in newest if one["message"] and one["effect"] != "require_approval")
        ),
    }
