"""`Idempotency-Key`: a POST that is sent twice is done once, and answered alike both times.

The key is written in the transaction of the use case itself, so there is no moment at which the act is done and the key
unknown. What was refused without anything having been written is judged anew.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from airboss.bootstrap import House
from airboss.faces.api.problems import answer, problem_of
from airboss.kernel.errors import AirbossError
from airboss.people.access import Actor
from airboss.records.idempotency import Given, Joined, Key

log = logging.getLogger("airboss.api")

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_KEPT: Final = ("content-type", "etag", "location")
SHOWN_ONCE: Final = frozenset({"/tokens", "/tokens/{token}/rotate", "/people/{handle}/link", "/password"})
"""Their answers hold secrets, or their requests do: of them it is kept that they were carried out, and nothing else."""


async def once(request: Request, actor: Actor, path: str, handle: Callable[[Request], Awaitable[Response]]) -> Response:
    """Return the answer of a POST: as it was given before where its key is known. `path` is the template of the router's own route."""
    text = request.headers.get(HEADER)
    if text is None:
        return await handle(request)
    house: House = request.app.state.house
    url, kind = request.url, request.headers.get("content-type", "")
    parts = (url.path.encode(), url.query.encode(), kind.encode(), await request.body())
    key = Key.of(text, caller=actor.id, parts=parts)
    before = await run_in_threadpool(house.idempotency.find, key)
    if before is not None and before.answer is not None:
        return _again(before.answer)
    with house.idempotency.joined(key) as joined:
        try:
            response = await handle(request)
        except AirbossError as fault:
            if not joined.done:
                raise  # nothing was written: the same request is judged anew
            response = answer(problem_of(fault, house.settings.base_url))
    await _keep(house, key, joined, None if path in SHOWN_ONCE else _given(response))
    return response


async def _keep(house: House, key: Key, joined: Joined, given: Given | None) -> None:
    """Keep an answer. The act is done by now, so that a fault here is no fault of the request."""
    try:
        await run_in_threadpool(house.idempotency.answered, key, joined, given)
    except AirbossError as fault:
        log.warning("the answer to an Idempotency-Key was not kept: %s", fault)


def _given(response: Response) -> Given:
    headers = {name: value for name, value in response.headers.items() if name in _KEPT}
    return Given(status=response.status_code, headers=headers, body=bytes(response.body))


def _again(given: Given) -> Response:
    return Response(given.body, status_code=given.status, headers={**given.headers, REPLAYED: "true"})
