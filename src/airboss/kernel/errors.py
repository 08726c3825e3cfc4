"""What can go wrong, by the caller's next move.

Each error has a stable `code` (kebab-case, documented), a `detail` that names the thing, the `place` of the fault
where there is one (file:line:column or a field path), and the `way_out`. Faces map the classes to RFC 9457 once.
"""

from __future__ import annotations

from typing import Final

LONGEST_DETAIL: Final = 1_500
"""Characters of a detail. What a stranger wrote is quoted in it, and a stranger may write a megabyte."""
KEPT_AT_THE_END: Final = 300


class AirbossError(Exception):
    """Root of every error a caller may see."""

    status = 500
    default_code = "internal"

    def __init__(
        self, detail: str, *, code: str | None = None, place: str | None = None, way_out: str | None = None
    ) -> None:
        detail = _bounded(detail)
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.place = place
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.place}: {self.detail}" if self.place else self.detail


def _bounded(detail: str) -> str:
    """Return a detail of a length somebody reads: both its ends, and how much is left out between them."""
    if len(detail) <= LONGEST_DETAIL:
        return detail
    left_out = len(detail) - LONGEST_DETAIL
    return (
        f"{detail[: LONGEST_DETAIL - KEPT_AT_THE_END]}… ({left_out:,} characters left out) …{detail[-KEPT_AT_THE_END:]}"
    )


class Invalid(AirbossError):
    """Mend the input; the same input will be refused again."""

    status = 422
    default_code = "invalid"


class NotFound(AirbossError):
    """There is no such thing, or you may not see it."""

    status = 404
    default_code = "not-found"


class Unauthenticated(AirbossError):
    """Say who you are."""

    status = 401
    default_code = "unauthenticated"


class Forbidden(AirbossError):
    """We know who you are; ask somebody who may."""

    status = 403
    default_code = "forbidden"


class Refused(AirbossError):
    """Not now, in this state; the message says what is possible."""

    status = 409
    default_code = "refused"


class Stale(AirbossError):
    """Somebody was faster: reload and decide again."""

    status = 412
    default_code = "stale"


class Unavailable(AirbossError):
    """Nothing happened; try again."""

    status = 503
    default_code = "unavailable"


class OutcomeUnknown(AirbossError):
    """It may have happened: observe before repeating."""

    status = 500
    default_code = "outcome-unknown"
