"""What is worth opening: results that machines sent, with their place, and traces of both arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airboss.faces.web.change_views import Proof, Trace
from airboss.faces.web.weighing import missing_evidence
from airboss.faces.web.words import milliseconds
from airboss.kernel.clock import parse_rfc3339

View = Mapping[str, Any]

TRACES_MOST: Final = 8
"""Shown of each arm; the API and the command give up to twenty."""
_ARMS: Final = (("canary", "Canary"), ("baseline", "Baseline"))


def evidence(view: View) -> list[Proof]:
    """Return what machines said about a change, newest first, and what policy still asks for."""
    missing: list[Proof] = [
        {
            "type": name,
            "state": {"tone": "waiting", "word": "missing"},
            "source": "Policy asks for it, and nobody sent it yet.",
            "href": None,
            "at": None,
            "command": f"airboss change evidence {view['id']} --type {name} --green --source URL",
        }
        for name in missing_evidence(view)
    ]
    return missing + [_proof(one) for one in view["evidence"]]


def _proof(one: View) -> Proof:
    source = str(one["source"])
    made: Proof = {
        "type": one["type"],
        "state": {"tone": "well", "word": "green"} if one["green"] else {"tone": "harmed", "word": "red"},
        "source": source,
        "href": source if source.startswith(("https://", "http://")) else None,
        "at": parse_rfc3339(one["at"]),
    }
    if not one["counts"]:
        made["state"] = {"tone": "waiting", "word": "does not count"}
    if one["digest"]:
        made["digest"] = one["digest"]
    return made


def traces(found: View) -> list[tuple[str, list[Trace]]]:
    """Return the traces worth opening by arm, failed ones first, then the slowest; nothing where there are none."""
    if not any(found[arm] for arm, _ in _ARMS):
        return []
    return [(label, [_trace(one) for one in found[arm][:TRACES_MOST]]) for arm, label in _ARMS]


def _trace(one: View) -> Trace:
    return {
        "trace_id": one["trace_id"],
        "span": one["name"],
        "state": {"tone": "harmed", "word": "failed"}
        if one["why"] == "failed"
        else {"tone": "waiting", "word": "slow"},
        "duration": milliseconds(one["duration_ms"]),
        "at": parse_rfc3339(one["at"]),
        "told": f"step {one['step']}, {one['service']} in {one['environment']}",
    }
