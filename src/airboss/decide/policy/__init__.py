"""Policy as code: what the rules in force say about a change, at every point where facts may have moved.

The tower gathers facts (`schema`), asks `Policies.decide`, and records the answer with `Policies.record` in the
transaction that acts on it. Faces show `sentence` and `reasons`; the command line uses `check` and `test`. Bootstrap
makes `Policies` with a `WorkerEngine`, calls `seed` once, and registers `Policies.kind` for `airboss apply`.

Names are loaded when they are first asked for: the worker process enters by this door too, and needs no database.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airboss.decide.policy.engine import EngineFailed, InlineEngine, PolicyEngine, WorkerEngine, rule_on
    from airboss.decide.policy.explain import denial_words, need_words, reasons, sentence
    from airboss.decide.policy.explanation import Explanation
    from airboss.decide.policy.model import (
        EFFECTS,
        ApprovalNeed,
        Bundle,
        Case,
        Decision,
        Denial,
        EvidenceNeed,
        Fired,
        Layer,
        Mode,
        Notice,
        Obligate,
        Outcome,
        Pack,
        Point,
        Rule,
        Ruling,
        Schedule,
        Seats,
        Tier,
        ruling_json,
    )
    from airboss.decide.policy.packs import (
        DEFAULT_SOURCE,
        PROFILES,
        default_bytes,
        default_pack,
        parse,
        parse_all,
        profile_pack,
    )
    from airboss.decide.policy.repo import StoredDecision, StoredPack, pack_digests
    from airboss.decide.policy.service import Flip, Policies, ProfileMove, Replay
    from airboss.decide.policy.tables import policy_bundle, policy_decision, policy_pack
    from airboss.decide.policy.trial import CaseResult, PackReport, Problem, check, test
    from airboss.decide.policy.vocabulary import SCHEMA, WrongFact, fixture, masked_input, overlay, schema

_ROOMS: Final = {
    "engine": "EngineFailed InlineEngine PolicyEngine WorkerEngine rule_on",
    "explain": "denial_words need_words reasons sentence",
    "explanation": "Explanation",
    "model": (
        "ApprovalNeed Bundle Case Decision Denial EFFECTS EvidenceNeed Fired Layer Mode Notice Obligate Outcome Pack Point "
        "Rule Ruling Schedule Seats Tier ruling_json"
    ),
    "packs": "DEFAULT_SOURCE PROFILES default_bytes default_pack parse parse_all profile_pack",
    "repo": "StoredDecision StoredPack pack_digests",
    "vocabulary": "SCHEMA WrongFact fixture masked_input overlay schema",
    "service": "Flip Policies ProfileMove Replay",
    "tables": "policy_bundle policy_decision policy_pack",
    "trial": "CaseResult PackReport Problem check test",
}
_HOME: Final = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = [
    "DEFAULT_SOURCE",
    "EFFECTS",
    "PROFILES",
    "SCHEMA",
    "ApprovalNeed",
    "Bundle",
    "Case",
    "CaseResult",
    "Decision",
    "Denial",
    "EngineFailed",
    "EvidenceNeed",
    "Explanation",
    "Fired",
    "Flip",
    "InlineEngine",
    "Layer",
    "Mode",
    "Notice",
    "Obligate",
    "Outcome",
    "Pack",
    "PackReport",
    "Point",
    "Policies",
    "PolicyEngine",
    "Problem",
    "ProfileMove",
    "Replay",
    "Rule",
    "Ruling",
    "Schedule",
    "Seats",
    "StoredDecision",
    "StoredPack",
    "Tier",
    "WorkerEngine",
    "WrongFact",
    "check",
    "default_bytes",
    "default_pack",
    "denial_words",
    "fixture",
    "masked_input",
    "need_words",
    "overlay",
    "pack_digests",
    "parse",
    "parse_all",
    "policy_bundle",
    "policy_decision",
    "policy_pack",
    "profile_pack",
    "reasons",
    "rule_on",
    "ruling_json",
    "schema",
    "sentence",
    "test",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no {name}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
