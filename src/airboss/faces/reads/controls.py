"""What the facts of one change show of three controls auditors ask about, and what they cannot show. Pure.

The controls are named and summed up in our words; whoever audits reads the standard itself: SOC 2 CC8.1 (Trust Services
Criteria 2017), ISO/IEC 27001:2022 Annex A 8.32, PCI DSS 4.0 requirement 6.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Facts = Sequence[Mapping[str, Any]]

_OPENED: Final = ("change.submitted",)
_JUDGED: Final = ("policy.decided",)
_TESTED: Final = ("evidence.recorded",)
_WATCHED: Final = ("gate.answered", "step.ended", "rollout.verified")
_CLEARED: Final = ("change.approved",)
_OUT: Final = ("rollout.started", "exposure.reached", "change.completed")
_BACK: Final = ("unit.prepared", "rollback.started", "rollback.ended", "change.rolled_back")


def controls_of(facts: Facts) -> list[dict[str, Any]]:
    """Return the controls: {id, name, asks, shows: [{sentence, positions}], not_shown: [sentence]}.

    `facts` are those of one change, as `fact_view` gives them. What no fact speaks of stands under `not_shown`.
    """
    asked = _about(facts, _OPENED, "Who asked for it, when, and the digests of what was asked for")
    judged = _about(facts, _JUDGED, "The rules that judged its risk, with the digest of what they read")
    tested = _about(facts, _TESTED, "What machines reported of tests and staging, by digest")
    watched = _about(facts, _WATCHED, "What was measured while it went out, gate by gate")
    voted, apart = _votes(facts)
    cleared = _about(facts, _CLEARED, "When it was cleared to start")
    went = _about(facts, _OUT, "When it went out, how far, and how it ended")
    back = _about(facts, _BACK, "What it could go back to, and whether it did")
    return [
        _control(
            "SOC 2 CC8.1",
            "Changes are authorised, designed, tested, approved and implemented to meet objectives",
            [asked, judged, tested, voted, apart, cleared, watched, went, back],
            [
                "Design and development: they happened before the change was submitted, in the repository.",
                "That the tests reported were the right ones, or that whoever approved read what they approved.",
                "Changes that went around Airboss: this is the record of one that did not.",
            ],
        ),
        _control(
            "ISO/IEC 27001:2022 A.8.32",
            "Changes to information systems follow change management procedures",
            [asked, judged, voted, cleared, tested, watched, went, back],
            [
                "That the organisation's own procedure asks for what these rules ask for.",
                "That documents, training and continuity plans were brought up to date afterwards.",
            ],
        ),
        _control(
            "PCI DSS 4.0 requirement 6.5",
            "Changes to system components are managed securely",
            [asked, voted, apart, cleared, tested, watched, back],
            [
                "6.5.1: the security impact, unless the change's own text or evidence speaks of it; secure-coding tests.",
                "6.5.2: that after a significant change every PCI DSS requirement in reach was confirmed.",
                "6.5.3, 6.5.5, 6.5.6: how test and production are kept apart, and which data tests use.",
                "6.5.4: roles and rights beyond this change; only that its votes came from others than its requester.",
            ],
        ),
    ]


def _about(facts: Facts, types: Sequence[str], sentence: str) -> dict[str, Any]:
    return {"sentence": sentence, "positions": [one["position"] for one in facts if one["type"] in types]}


def _votes(facts: Facts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return who approved, and whether they were others than whoever asked for it."""
    asked = {one["actor"] for one in facts if one["type"] in _OPENED}
    votes = [one for one in facts if one["type"] == "vote.cast" and one["body"].get("verdict") == "approve"]
    names = ", ".join(sorted({str(one["actor"]) for one in votes}))
    positions = [one["position"] for one in votes]
    voted = {"sentence": f"Who approved it: {names}" if votes else "Who approved it", "positions": positions}
    others = [one["position"] for one in votes if one["actor"] not in asked]
    return voted, {"sentence": "That whoever approved was not whoever asked", "positions": others}


def _control(id_: str, asks: str, lines: Sequence[Mapping[str, Any]], never: Sequence[str]) -> dict[str, Any]:
    absent = [f"{line['sentence']}: no fact of this change says it." for line in lines if not line["positions"]]
    return {
        "id": id_,
        "asks": asks,
        "shows": [dict(line) for line in lines if line["positions"]],
        "not_shown": [*absent, *never],
    }
