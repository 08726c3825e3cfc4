"""What went wrong before with the same services, as policy is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from airboss.act.rollout import compile_plan, repo
from airboss.changes import Changes, Phase, Spec
from airboss.kernel.errors import AirbossError


class ChangeHistory:
    """Reads failures from the changes kept here."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def facts(self, connection: Connection, given: Spec, since: datetime) -> Mapping[str, Any]:
        """Return how often changes of these services were taken back since, and whether this very version was."""
        failures = self._changes.ended(
            connection, services=given.services, outcomes=(Phase.ROLLED_BACK, Phase.ROLLBACK_FAILED), since=since
        )
        try:
            units = compile_plan(given).units
        except AirbossError:
            units = ()
        same = any(repo.blocked(connection, unit.service, unit.digest) is not None for unit in units)
        return {"service_failures_30d": failures, "last_failed_digest_same": same}
