"""Answers by Idempotency-Key: a request sent twice is one act, also when the server died before it could answer.

The API asks before it calls a use case, and has the key written in the use case's own transaction.
"""

from airboss.records.idempotency.model import LIFE, AnswerLost, Given, InProgress, Kept, Key, Reused
from airboss.records.idempotency.service import IdempotencyKeys, Joined

__all__ = ["LIFE", "AnswerLost", "Given", "IdempotencyKeys", "InProgress", "Joined", "Kept", "Key", "Reused"]
