"""Approvals: people's word on a change, bound to what they saw.

The tower calls `open_round`, `standing` and `close`; faces call `vote`, `comment`, `of`, `looked`
and `inbox`. `tally` is the whole of the
counting, pure, for anybody who wants to see how a round would come out.
"""

from airboss.decide.approvals.model import (
    AUTHORS,
    PRESENTATION,
    REQUESTER,
    ROUND_LASTS,
    Approval,
    CastVote,
    Choice,
    Look,
    OpenSeats,
    Outcome,
    Requirement,
    Round,
    Seat,
    Standing,
    Verdict,
    Vote,
    all_of,
    any_of,
)
from airboss.decide.approvals.needs import asks_no_more, choices_of, unite
from airboss.decide.approvals.ports import Asked, BackupOf, Eligible, Need, OnVote, Subject, Subjects
from airboss.decide.approvals.rules import tally
from airboss.decide.approvals.service import Approvals

__all__ = [
    "AUTHORS",
    "PRESENTATION",
    "REQUESTER",
    "ROUND_LASTS",
    "Approval",
    "Approvals",
    "Asked",
    "BackupOf",
    "CastVote",
    "Choice",
    "Eligible",
    "Look",
    "Need",
    "OnVote",
    "OpenSeats",
    "Outcome",
    "Requirement",
    "Round",
    "Seat",
    "Standing",
    "Subject",
    "Subjects",
    "Verdict",
    "Vote",
    "all_of",
    "any_of",
    "asks_no_more",
    "choices_of",
    "tally",
    "unite",
]
