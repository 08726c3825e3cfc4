"""HTTP bodies within limits: read whole, inflated no further than allowed, refused with the reason."""

from __future__ import annotations

import zlib

from airboss.kernel.errors import Invalid

_GZIP = 31  # zlib's wbits for a gzip header and trailer


class TooLarge(Invalid):
    """The body is over a limit: send smaller batches."""

    status = 413
    default_code = "telemetry-too-large"


class NotUnderstood(Invalid):
    """The body comes in a type or encoding that is not read here."""

    status = 415
    default_code = "telemetry-type"


def inflate(body: bytes, *, most: int) -> bytes:
    """Return the content of a gzip body (one or more members). Raises TooLarge, or Invalid when it is broken or cut off."""
    parts: list[bytes] = []
    left = most
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(body, left + 1)
        except zlib.error as fault:
            raise _broken(f"the body is not gzip: {fault}") from fault
        left -= len(part)
        if left < 0:
            raise too_large(f"the body inflates to more than {most:,} bytes")
        if not member.eof:
            raise _broken("the gzip body is cut off")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def too_large(detail: str) -> TooLarge:
    """Return the refusal of a body over a limit."""
    return TooLarge(detail, place="body", way_out="send smaller batches: OTEL_BSP_MAX_EXPORT_BATCH_SIZE")


def _broken(detail: str) -> Invalid:
    return Invalid(
        detail, code="bad-telemetry", place="body", way_out="nothing of this request was counted; send it whole"
    )
