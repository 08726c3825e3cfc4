"""What the audit says."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum

from airboss.kernel.canonical import Json


class Kind(StrEnum):
    """What is wrong; stable words for scripts."""

    ENTRY_ALTERED = "entry-altered"
    ENTRY_DROPPED = "entry-dropped"
    ENTRY_ADDED = "entry-added"
    ENTRY_REORDERED = "entry-reordered"
    FACT_DROPPED = "fact-dropped"
    FACT_UNNUMBERED = "fact-unnumbered"
    FACT_MISLABELLED = "fact-mislabelled"
    FACT_UNREADABLE = "fact-unreadable"
    FACT_OF_ANOTHER_LOG = "fact-of-another-log"
    SUBJECT_GAP = "subject-gap"
    SUBJECT_CONTINUED = "subject-continued"
    SUBJECT_SHORT = "subject-short"
    SUBJECT_WRONG = "subject-wrong"
    STATE_WRONG = "state-wrong"
    HEAD_WRONG = "head-wrong"
    CHECKPOINT_MALFORMED = "checkpoint-malformed"
    CHECKPOINT_SIGNATURE = "checkpoint-signature"
    CHECKPOINT_ROOT = "checkpoint-root"
    TAIL_CUT = "tail-cut"
    TEXT_ALTERED = "text-altered"
    TEXT_MISSING = "text-missing"
    PROOF_WRONG = "proof-wrong"
    SOURCE_UNREADABLE = "source-unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it was recorded. `sentence` says what it means, in words for whoever must act."""

    kind: Kind
    place: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.place}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a verification looked at and found. `root` is over the `size` numbered entries as they lie there."""

    log_id: str | None
    size: int
    root: bytes
    findings: tuple[Finding, ...]
    left_off: int = 0
    pending: int = 0
    subjects: int = 0
    states: int = 0
    texts: int = 0
    checkpoints: int = 0
    signatures: int = 0
    caveats: tuple[str, ...] = ()
    """What this run could not have found, and what to give it so that it could."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Json]:
        """Return the report for programs."""
        return {
            "ok": self.ok,
            "log_id": self.log_id,
            "size": self.size,
            "root": base64.b64encode(self.root).decode(),
            "pending": self.pending,
            "subjects": self.subjects,
            "states": self.states,
            "texts": self.texts,
            "checkpoints": self.checkpoints,
            "signatures": self.signatures,
            "findings": [
                {"kind": str(finding.kind), "place": finding.place, "sentence": finding.sentence}
                for finding in self.findings
            ],
            "findings_left_off": self.left_off,
            "caveats": list(self.caveats),
        }
