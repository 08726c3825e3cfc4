"""Feature flags: what they are, who gets what, and the kill switch.

The flag target and the tower move exposure with `Flags.set_exposure`, `finish` and `revert`; people define flags by
files (`flag_kind`) and kill them (`Flags.kill`); the API serves `Flags.served` to evaluators; `changes` asks
`FlagInspector` what a ramp would do to people. Evaluation itself is `airboss.sdk`'s.
"""

from airboss.act.flags.definition import Place, read_definition
from airboss.act.flags.documents import flag_kind
from airboss.act.flags.inspector import FlagInspector
from airboss.act.flags.model import (
    PRODUCTION,
    Definition,
    Exposure,
    Flag,
    FlagKind,
    FlagState,
    Kill,
    Put,
    Standing,
)
from airboss.act.flags.repo import flag_digests, ramps_of
from airboss.act.flags.rules import Preview, exported, held_by, preview, served
from airboss.act.flags.service import Flags, Served, subject_of

__all__ = [
    "PRODUCTION",
    "Definition",
    "Exposure",
    "Flag",
    "FlagInspector",
    "FlagKind",
    "FlagState",
    "Flags",
    "Kill",
    "Place",
    "Preview",
    "Put",
    "Served",
    "Standing",
    "exported",
    "flag_digests",
    "flag_kind",
    "held_by",
    "preview",
    "ramps_of",
    "read_definition",
    "served",
    "subject_of",
]
