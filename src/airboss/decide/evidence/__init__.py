"""What machines have said about a change: recorded by CI for a digest, read by policy.

Evidence counts only for the digest it names; newer evidence of a type replaces older. CI records through the API or
`airboss change evidence`; the tower reads `Evidence.facts`.
"""

from airboss.decide.evidence.service import TYPES, Evidence, Record, Shown

__all__ = ["TYPES", "Evidence", "Record", "Shown"]
