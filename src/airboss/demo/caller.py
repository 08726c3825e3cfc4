"""One person's way to the server: its HTTP API and nothing else, as any program outside would use it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

import httpx

API: Final = "/api/v1"
TIMEOUT_S: Final = 10.0


class Away(RuntimeError):
    """The server does not answer now."""


class Refused(RuntimeError):
    """The server answered, and it was not what the demo needs. The message is the server's own."""


class Caller:
    """Calls as somebody: with a session's cookie after `sign_in`, or with a token."""

    def __init__(self, base_url: str, *, token: str | None = None) -> None:
        self.base_url = base_url
        headers = {"Origin": base_url, "User-Agent": "airboss-demo"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET. Raises Away or Refused."""
        return self._ask("GET", path, params=params).json()

    def text(self, path: str) -> str:
        """Return the text of a GET. Raises Away or Refused."""
        return self._ask("GET", path).text

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines of a long answer. Raises Away or Refused."""
        try:
            with self._client.stream("GET", API + path) as answer:
                if answer.is_error:
                    answer.read()
                    raise Refused(_detail(answer))
                yield from answer.iter_lines()
        except httpx.HTTPError as fault:
            raise Away(str(fault)) from fault

    def post(self, path: str, value: Any = None, **params: Any) -> Any:
        """Return the JSON of a POST of a JSON value. Raises Away or Refused."""
        return self._ask("POST", path, json={} if value is None else value, params=params).json()

    def propose(self, document: str, *, key: str | None = None) -> dict[str, Any]:
        """Propose and submit a change and return its view; the same `key` twice is one change. Raises Away or Refused."""
        answer = self._ask(
            "POST",
            "/changes",
            content=document.encode(),
            headers={"Content-Type": "application/yaml", **({} if key is None else {"Idempotency-Key": key})},
            params={"submit": "true"},
        )
        found: dict[str, Any] = answer.json()
        return found

    def ready(self) -> bool:
        """Return whether the server says it is ready."""
        try:
            return self._client.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {**given.pop("headers", {})}
        if method == "POST":
            headers.setdefault("Idempotency-Key", secrets.token_hex(16))
        try:
            answer = self._client.request(method, API + path, headers=headers, **given)
        except httpx.HTTPError as fault:
            raise Away(f"{method} {path}: {str(fault) or type(fault).__name__}") from fault
        if answer.status_code in (502, 503, 504):
            raise Away(f"{method} {path}: {_detail(answer)}")
        if answer.is_error:
            raise Refused(f"{method} {path}: {_detail(answer)}")
        return answer


def _detail(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        told = None
    detail = told.get("detail") if isinstance(told, dict) else None
    return str(detail or f"{answer.status_code} {answer.text[:200]}")
