"""The audit: signs the journal as it grows, proves what is in it, and finds whatever was changed behind its back.

The tower calls `Checkpoints.write_due`; the API and the CLI verify, export and hand out evidence packs.
"""

from airboss.records.audit.checkpoints import Checkpoint, Checkpoints, TreeHead, latest, origin
from airboss.records.audit.keys import change_key, signer_of
from airboss.records.audit.model import Finding, Kind, Report
from airboss.records.audit.notes import BadNote, Signer, VerifyKey, open_note
from airboss.records.audit.packs import consistency_proof, evidence, export, inclusion_proof, verify_pack
from airboss.records.audit.proofs import verify_consistency, verify_inclusion
from airboss.records.audit.proven import consistency, inclusion, newest, verify_proof
from airboss.records.audit.verifier import StateDigests, verify

__all__ = [
    "BadNote",
    "Checkpoint",
    "Checkpoints",
    "Finding",
    "Kind",
    "Report",
    "Signer",
    "StateDigests",
    "TreeHead",
    "VerifyKey",
    "change_key",
    "consistency",
    "consistency_proof",
    "evidence",
    "export",
    "inclusion",
    "inclusion_proof",
    "latest",
    "newest",
    "open_note",
    "origin",
    "signer_of",
    "verify",
    "verify_consistency",
    "verify_inclusion",
    "verify_pack",
    "verify_proof",
]
