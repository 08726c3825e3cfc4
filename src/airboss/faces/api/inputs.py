"""What stands in addresses and headers, checked before a service is asked."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Header, Query
from fastapi import Path as InPath
from starlette.requests import Request

from airboss.faces.api.problems import Unconditional, Unreadable
from airboss.kernel.errors import Invalid
from airboss.kernel.ids import ChangeId, change_id, name
from airboss.sdk.ids import BadId, decode

DOCUMENTS: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "application/json")
_VERSION: Final = re.compile(r'(?:W/)?"?(\d{1,9})"?')


async def _change(change: Annotated[str, InPath(description="the change's ID, chg_…")]) -> ChangeId:
    return change_id(change)


async def _name(name_: Annotated[str, InPath(alias="name")]) -> str:
    return name(name_, of="thing")


async def _handle(handle: Annotated[str, InPath()]) -> str:
    return name(handle, of="person")


async def _token(token: Annotated[str, InPath(description="the token's ID, tok_…")]) -> str:
    return typed(token, "tok")


async def _review(review: Annotated[str, InPath(description="the review's ID, rev_…")]) -> str:
    return typed(review, "rev")


def typed(text: str, prefix: str) -> str:
    """Return a text that is an ID of one kind. Raises Invalid."""
    try:
        decode(text, prefix)
    except BadId as fault:
        raise Invalid(str(fault), code="bad-id", way_out="copy the ID whole from where it was shown") from fault
    return text


async def _document(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in DOCUMENTS:
        raise Unreadable(
            f"a change is not read as {kind or 'a body of no type'!r}", way_out=f"send it as {DOCUMENTS[0]}"
        )
    return await request.body()


async def _if_match(given: Annotated[str | None, Header(alias="If-Match")] = None) -> int:
    found = _VERSION.fullmatch((given or "").strip())
    if found is None:
        raise Unconditional(
            "an edit says which version it replaces",
            way_out='send the ETag of what you looked at: If-Match: "3"',
        )
    return int(found.group(1))


async def _service(service: Annotated[str | None, Query()] = None) -> str | None:
    return None if service is None else name(service, of="service")


async def _environment(environment: Annotated[str, Query()] = "production") -> str:
    return name(environment, of="environment")


ChangeIdIn = Annotated[ChangeId, Depends(_change)]
NameIn = Annotated[str, Depends(_name)]
HandleIn = Annotated[str, Depends(_handle)]
TokenIdIn = Annotated[str, Depends(_token)]
ReviewIdIn = Annotated[str, Depends(_review)]
DocumentIn = Annotated[bytes, Depends(_document)]
VersionIn = Annotated[int, Depends(_if_match)]
ServiceQuery = Annotated[str | None, Depends(_service)]
EnvironmentQuery = Annotated[str, Depends(_environment)]
