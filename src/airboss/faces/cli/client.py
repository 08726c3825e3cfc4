"""The HTTP API as commands call it: one method a verb, problems raised with their exit code."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from airboss.faces.cli.config import Reach
from airboss.faces.cli.exit_codes import Exit, of_status
from airboss.faces.cli.problems import Problem

if TYPE_CHECKING:
    import httpx

API: Final = "/api/v1"
TIMEOUT_S: Final = 30.0
SILENT_S: Final = 40.0
"""A stream says at least every 15 s that it is still there."""
FULL_ID: Final = len("chg_") + 26
_AGAIN_AFTER_S: Final = (0.2, 1.0, 2.0)
"""How long a command waits before it sends the very same act again, with the same key: it is done once."""
PAGE_MOST: Final = 200
_LOOK_BACK: Final = 1_000
"""How many of the newest changes a shortened ID is looked for in."""


class Api:
    """One server, as one person or token."""

    def __init__(
        self, reach: Reach, *, transport: Any = None, origin: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.reach = reach
        self._origin = origin  # a session's cookie counts only with it
        self._transport = transport
        self._timeout_s = timeout_s
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()

    def address(self, path: str) -> str:
        """Return the address of a page."""
        return f"{self.reach.server}{path}"

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET. Raises Problem."""
        return self._ask("GET", path, params={key: value for key, value in params.items() if value is not None})

    def post(
        self, path: str, value: Any = None, *, text: str | None = None, kind: str = "application/yaml", **params: Any
    ) -> Any:
        """Return the JSON of a POST, of a JSON `value` or of `text`. A repeated press is one act. Raises Problem."""
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        broken: Problem | None = None
        for wait_s in (*_AGAIN_AFTER_S, None):
            try:
                return self._ask("POST", path, value=value, text=text, kind=kind, params=params, headers=headers)
            except Problem as fault:
                if fault.code == "outcome-unknown":
                    broken = fault
                elif fault.code == "server-away" and broken is not None:
                    pass  # it may have happened before the server went
                elif fault.code != "idempotency-in-progress":
                    raise
                if wait_s is None:
                    raise broken or fault from fault
            time.sleep(wait_s)
        raise AssertionError("the last try returns or raises")

    def put(self, path: str, *, text: str, kind: str, version: int) -> Any:
        """Return the JSON of a PUT that replaces what was at `version`. Raises Problem."""
        return self._ask("PUT", path, text=text, kind=kind, headers={"If-Match": f'"{version}"'})

    def delete(self, path: str) -> Any:
        """Return the JSON of a DELETE, None where there is none. Raises Problem."""
        return self._ask("DELETE", path)

    def ready(self) -> Any:
        """Return what the server says of its own health, well or not. Raises Problem where it does not answer."""
        answer = self._sent("GET", "/readyz")
        try:
            found = answer.json()
        except ValueError as fault:
            raise _not_airboss(self.reach) from fault
        if "checks" not in found:
            raise _refusal(answer, self.reach)
        return found

    def explained(self, code: str) -> tuple[str, str]:
        """Return what an error's code means, and the way out. Raises Problem."""
        answer = self._sent("GET", f"/docs/errors/{code}")
        if answer.is_error:
            raise _refusal(answer, self.reach)
        _, means, way_out = answer.text.strip().split("\n\n")
        return means, way_out.removeprefix("Way out: ")

    def raw(self, path: str, **params: Any) -> str:
        """Return the text of a GET that does not answer JSON. Raises Problem."""
        return self._send("GET", path, params=params).text

    def lines(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a long answer as they come. Raises Problem."""
        httpx = _httpx()
        try:
            with self._open().stream("GET", API + path) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refusal(answer, self.reach)
                yield from answer.iter_bytes()
        except httpx.HTTPError as fault:
            raise _away(self.reach, fault, sent=False) from fault

    def stream(self, path: str, *, after: str | None = None) -> Iterator[str]:
        """Yield the lines of a stream of events as they come, from a position where one is given. Raises Problem."""
        httpx = _httpx()
        headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": after})
        try:
            with self._open().stream("GET", API + path, headers=headers, timeout=SILENT_S) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refusal(answer, self.reach)
                yield from answer.iter_lines()
        except httpx.HTTPError as fault:
            raise _away(self.reach, fault, sent=False) from fault

    def change_id(self, short: str) -> str:
        """Return the whole ID of a change named by its beginning or its end. Raises Problem: none, or several.

        A whole ID is not looked up. The beginning of an ID is its time, so its end is what tells changes apart.
        """
        name = short.strip().lower()
        if name.startswith("chg_") and len(name) == FULL_ID:
            return name
        if len(name.removeprefix("chg_")) < 4:
            raise Problem(
                f"{short!r} is too short to name a change",
                exit_code=Exit.USAGE,
                code="short-id",
                way_out="give at least four characters of its end: airboss change list",
            )
        found = [item["id"] for item in self.changes(_LOOK_BACK) if _named(item["id"], name)]
        if len(found) == 1:
            return str(found[0])
        if not found:
            raise Problem(
                f"no change is called {short}",
                exit_code=Exit.NOT_FOUND,
                code="change-not-found",
                way_out="airboss change list shows the newest; an older one needs its whole ID",
            )
        ends = ", ".join(str(one)[-10:] for one in found[:4])
        raise Problem(
            f"{short} may be any of {len(found)} changes",
            exit_code=Exit.USAGE,
            code="short-id",
            way_out=f"give more of its end: {ends}",
        )

    def changes(self, most: int, **filters: Any) -> list[dict[str, Any]]:
        """Return the newest changes, at most so many. Raises Problem."""
        found: list[dict[str, Any]] = self.listed("/changes", most=most, **filters)["items"]
        return found

    def listed(
        self, path: str, *, most: int | None = None, cursor: str | None = None, **filters: Any
    ) -> dict[str, Any]:
        """Return a list, page after page: all of it, or `most` rows after `cursor`. {items, next_cursor}. Raises Problem."""
        items: list[Any] = []
        while True:
            left = PAGE_MOST if most is None else min(PAGE_MOST, most - len(items))
            page: dict[str, Any] = self.get(path, **filters, cursor=cursor, limit=left)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None or (most is not None and len(items) >= most):
                return {**page, "items": items}

    def _open(self) -> httpx.Client:
        if self._client is None:
            headers = {"Accept": "application/json", "User-Agent": "airboss-cli"}
            if self.reach.token:
                headers["Authorization"] = f"Bearer {self.reach.token}"
            if self._origin:
                headers["Origin"] = self._origin
            self._client = _httpx().Client(
                base_url=self.reach.server,
                headers=headers,
                timeout=self._timeout_s,
                transport=self._transport,
                trust_env=not _is_loopback(self.reach.server),
            )
        return self._client

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        answer = self._send(method, path, **given)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as fault:
            raise _not_airboss(self.reach) from fault

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        answer = self._sent(method, API + path, **given)
        if answer.is_error:
            raise _refusal(answer, self.reach)
        return answer

    def _sent(
        self,
        method: str,
        path: str,
        *,
        value: Any = None,
        text: str | None = None,
        kind: str = "application/yaml",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        httpx = _httpx()
        extra = dict(headers or {})
        if text is not None:
            extra["Content-Type"] = kind
        try:
            answer = self._open().request(
                method,
                path,
                params=dict(params or {}),
                headers=extra,
                json=value if text is None and method == "POST" else None,
                content=text.encode() if text is not None else None,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
            raise _away(self.reach, fault, sent=False) from fault
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as fault:
            raise Problem(
                f"{self.reach.server!r} is no address of a server", exit_code=Exit.USAGE, code="bad-server"
            ) from fault
        except httpx.HTTPError as fault:
            raise _away(self.reach, fault, sent=method not in ("GET", "HEAD")) from fault
        return answer


def _not_airboss(reach: Reach) -> Problem:
    return Problem(
        f"{reach.server} answered something that is not Airboss's API",
        code="not-airboss",
        way_out="check AIRBOSS_SERVER",
    )


def _httpx() -> Any:
    import httpx  # a quarter of a second: only for commands that ask a server

    return httpx


def _is_loopback(server: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(server).hostname in ("127.0.0.1", "localhost", "::1")


def _named(change: str, short: str) -> bool:
    return change.endswith(short) or change.startswith(short) or change.removeprefix("chg_").startswith(short)


def _away(reach: Reach, fault: Exception, *, sent: bool) -> Problem:
    why = str(fault) or type(fault).__name__
    if sent:
        return Problem(
            f"{reach.server} broke off before it answered ({why}); it may have happened",
            exit_code=Exit.UNKNOWN,
            code="outcome-unknown",
            way_out="look first: airboss change list",
        )
    return Problem(
        f"{reach.server} does not answer: {why}",
        exit_code=Exit.UNAVAILABLE,
        code="server-away",
        way_out="start it with airboss serve, or name another: AIRBOSS_SERVER",
    )


def _refusal(answer: httpx.Response, reach: Reach) -> Problem:
    """Return the problem of an answer: RFC 9457 where it is one."""
    try:
        told = answer.json()
    except ValueError:
        told = None
    if not isinstance(told, dict) or "detail" not in told:
        reason = f"{reach.server} answered {answer.status_code} {answer.reason_phrase}".strip()
        return Problem(reason, exit_code=of_status(answer.status_code), code=f"http-{answer.status_code}")
    code = str(told.get("code") or "")
    way_out = told.get("way_out")
    if answer.status_code == 401 and not reach.token:
        way_out = "airboss login, or set AIRBOSS_TOKEN; a signed-in person makes tokens on the page"
    place = told.get("place")
    return Problem(
        str(told["detail"]),
        exit_code=of_status(answer.status_code, code),
        code=code,
        place=None if place is None else str(place),
        way_out=None if way_out is None else str(way_out),
    )
