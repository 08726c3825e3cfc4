"""A decision of policy explained: which rules spoke, on which values, and what would clear what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from airboss.act.rollout import compile_plan, unmet
from airboss.changes import Change
from airboss.decide.policy import Explanation, Obligate, StoredDecision
from airboss.faces.reads.change import approval_view
from airboss.faces.reads.dossier import Dossier
from airboss.kernel.clock import rfc3339
from airboss.kernel.errors import AirbossError, NotFound

_WORSE: Final = {"block": 2, "pending": 1, "allow": 0}


def explanation_view(read: Dossier, *, decision: str | None = None) -> dict[str, Any]:
    """Return one decision about a change explained, by default the strictest of those made last.

    `rules` are all rules of the bundle of then, each `fired`, `quiet`, `error` or `not_asked` with the values it read;
    `stands` is what is in the way (deny, error, unclear, engine, evidence, approval, obligation), each with what would
    clear it in words and as data. Some twelve queries, and one judgement by the policy engine. Raises NotFound.
    """
    house, change, made = read.house, read.change, read.decisions
    found = _wanted(made, decision)
    if found is None:
        raise NotFound(
            f"policy has not decided about change {change.id} yet"
            if decision is None
            else f"{decision} is no decision about change {change.id}",
            code="decision-not-found",
            way_out="submit it first"
            if decision is None
            else f"leave it out, or name one of: airboss policy explain {change.id} --json",
        )
    told = house.policies.explain(found.id)
    in_force = house.policies.active_bundle(read.connection).digest
    return {
        "change": change.id,
        "phase": str(change.phase),
        "decision": found.id,
        "point": found.point,
        "outcome": found.outcome,
        "tier": found.body["tier"],
        "score": found.body["score"],
        "at": rfc3339(found.at),
        "bundle": found.bundle,
        "bundle_in_force": found.bundle == in_force,
        "input_digest": found.body["input_digest"],
        "same": told.same,
        "sentence": change.sentence,
        "obligations": found.body["obligations"],
        "schedule": found.body["schedule"],
        **_told(told),
        "stands": [*_stands(read, told), *_disobeyed(change, told.ruling.obligations)],
        "decisions": [
            {"id": one.id, "point": one.point, "outcome": one.outcome, "at": rfc3339(one.at)} for one in made
        ],
    }


def _wanted(made: Sequence[StoredDecision], decision: str | None) -> StoredDecision | None:
    if decision is not None:
        return next((one for one in made if one.id == decision), None)
    last = [one for one in made if one.at == made[-1].at]
    return max(last, key=lambda one: _WORSE[one.outcome], default=None)


def _told(told: Explanation) -> dict[str, Any]:
    plain = told.as_json()
    return {"rules": plain["rules"], "notes": plain["notes"]}


def _stands(read: Dossier, told: Explanation) -> list[dict[str, Any]]:
    """Return what stands in the way; where people are asked, with who of them may and what is still missing."""
    stands: list[dict[str, Any]] = told.as_json()["stands"]
    approval = approval_view(read)
    for one in stands:
        if one["kind"] == "approval" and approval is not None:
            one["round"] = {
                name: approval[name] for name in ("round", "outcome", "sentence", "expires_at", "missing", "seats")
            }
            one["cleared"] = approval["outcome"] == "approved"
    return stands


def _disobeyed(change: Change, obligations: Obligate) -> list[dict[str, Any]]:
    """Return what the plan does not keep of the obligations."""
    if change.spec is None:
        return []
    try:
        words = tuple(unmet(obligations, compile_plan(change.expanded())))
    except AirbossError as fault:
        words = (fault.detail,)
    return [{"kind": "obligation", "rules": [], "why": one, "words": "edit the plan", "facts": []} for one in words]
