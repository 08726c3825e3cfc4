"""Keeps a process's flags current: fetch, follow the stream, poll where there is none, and bear the server being away.

Standard library only, one daemon thread, no lock: the document is handed over, never shared.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import random
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from airboss.sdk.attributes import ENVIRONMENT_HEADER

log = logging.getLogger("airboss.sdk")

FLAGS_PATH: Final = "/sdk/v1/flags"
STREAM_PATH: Final = "/sdk/v1/flags/stream"
REFETCH: Final = "refetchEvaluation"
_MOST_BYTES: Final = 32 * 1024 * 1024
_LONGEST_LINE: Final = 65_536
_LONGEST_PAUSE_S: Final = 30.0


class Away(Exception):
    """The server cannot be asked now. `retry_after_s` is its own wish, if it had one."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Follower:
    """Calls `on_flags(document)` for every new document, `on_away(detail)` when the server does not answer and
    `on_away(None)` when it does again.

    `poll_s` is the pace where there is no stream; `idle_s` how long a stream may be silent before it is taken for dead
    (the server speaks at least every 15 s). Both callbacks come from the follower's thread.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        on_flags: Callable[[dict[str, Any]], None],
        on_away: Callable[[str | None], None],
        environment: str | None = None,
        cache_file: Path | None = None,
        poll_s: float = 30.0,
        idle_s: float = 45.0,
        timeout_s: float = 5.0,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an http or https address")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "airboss-sdk"}
        if environment is not None:
            self._headers[ENVIRONMENT_HEADER] = environment
        self._on_flags = on_flags
        self._on_away = on_away
        self._cache_file = cache_file
        self._poll_s = poll_s
        self._idle_s = idle_s
        self._timeout_s = timeout_s
        self._chance = random.Random()  # noqa: S311 - spreads retries, hides nothing
        self._etag: str | None = None
        self._stop = threading.Event()
        self._live: socket.socket | None = None
        self._away = False
        self._thread: threading.Thread | None = None
        self.fetched = threading.Event()
        """Set once the server has answered."""

    def start(self) -> None:
        """Load what the cache file holds and start following. Calling it again does nothing."""
        if self._thread is not None:
            return
        self._load()
        self._thread = threading.Thread(target=self._run, name="airboss-flags", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, waking it from whatever it waits for; takes milliseconds, at most two seconds."""
        self._stop.set()
        live = self._live
        if live is not None:
            with contextlib.suppress(OSError):
                live.shutdown(socket.SHUT_RDWR)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            wish = None
            try:
                self._fetch()
                failures = 0
                self._tell(None)
                self._follow()
                pause = 0.05 + 0.2 * self._chance.random()
            except Away as fault:
                failures += 1
                wish = fault.retry_after_s
                pause = min(_LONGEST_PAUSE_S, 0.2 * 2 ** min(failures, 10)) * (0.5 + 0.5 * self._chance.random())
                self._tell(str(fault))
            except Exception:
                # Nothing foreseen; the flags at hand stay good, and a dead thread would let them grow old in silence.
                failures += 1
                pause = _LONGEST_PAUSE_S
                log.exception("following flags failed; trying again in %s s", pause)
            self._stop.wait(max(pause, min(wish or 0.0, 300.0)))

    def _tell(self, away: str | None) -> None:
        if self._stop.is_set() or (away is None and not self._away):
            return
        if away is not None and not self._away:
            log.warning("flags are not being followed (%s); the last known ones stay in use", away)
        self._away = away is not None
        self._on_away(away)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _fetch(self) -> None:
        headers = {**self._headers, "Accept": "application/json"}
        if self._etag is not None:
            headers["If-None-Match"] = self._etag
        connection = self._connection(self._timeout_s)
        try:
            connection.request("GET", self._prefix + FLAGS_PATH, headers=headers)
            response = connection.getresponse()
            if response.status == http.HTTPStatus.NOT_MODIFIED:
                self.fetched.set()
                return
            _refuse_unless_ok(response)
            data = response.read(_MOST_BYTES + 1)
            etag = response.getheader("ETag")
        except (OSError, http.client.HTTPException) as fault:
            raise Away(f"{type(fault).__name__}: {fault}") from fault
        finally:
            connection.close()
        self._take(data, etag)
        self._save(data, etag)
        self.fetched.set()

    def _take(self, data: bytes, etag: str | None) -> None:
        """Hand a document over. Raises Away for bytes that are none: a proxy's page must not become our flags."""
        if len(data) > _MOST_BYTES:
            raise Away("the answer is too large")
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as fault:
            raise Away("the answer is not JSON") from fault
        if not isinstance(document, dict) or not isinstance(document.get("flags"), dict):
            raise Away("the answer holds no flags")
        self._on_flags(document)
        self._etag = etag

    def _follow(self) -> None:
        """Follow the stream until it ends; fetch on every word of a new revision. Without a stream, wait one poll."""
        connection = self._connection(self._timeout_s)
        try:
            connection.connect()
            live = connection.sock  # taken now: http.client lets go of it when the server means to close
            connection.request(
                "GET", self._prefix + STREAM_PATH, headers={**self._headers, "Accept": "text/event-stream"}
            )
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK or "event-stream" not in (
                response.getheader("Content-Type") or ""
            ):
                self._stop.wait(self._poll_s * (0.9 + 0.2 * self._chance.random()))
                return
            live.settimeout(self._idle_s)
            self._live = live
            if self._stop.is_set():
                return
            self._read(response)
        except (OSError, http.client.HTTPException, ValueError) as fault:
            log.debug("the flag stream ended: %s", fault)
        finally:
            self._live = None
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> None:
        while not self._stop.is_set():
            line = response.readline(_LONGEST_LINE)
            if not line:
                return
            if not line.startswith(b"data:"):
                continue
            message = json.loads(line[5:])
            if isinstance(message, dict) and message.get("type") == REFETCH and message.get("etag") != self._etag:
                self._fetch()

    def _load(self) -> None:
        if self._cache_file is None:
            return
        try:
            held = json.loads(self._cache_file.read_bytes())
            self._take(held["document"].encode(), held["etag"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Away) as fault:
            log.warning("the flags kept in %s cannot be used: %s", self._cache_file, fault)

    def _save(self, data: bytes, etag: str | None) -> None:
        """Replace the cache file in one step, so that a crash leaves the old or the new one."""
        if self._cache_file is None:
            return
        try:
            handle, name = tempfile.mkstemp(dir=self._cache_file.parent, prefix=self._cache_file.name)
            with os.fdopen(handle, "w") as out:
                json.dump({"etag": etag, "document": data.decode()}, out)
            Path(name).replace(self._cache_file)
        except (OSError, ValueError) as fault:
            log.warning("the flags cannot be kept in %s: %s", self._cache_file, fault)


def _refuse_unless_ok(response: http.client.HTTPResponse) -> None:
    if response.status == http.HTTPStatus.OK:
        return
    wish = response.getheader("Retry-After") or ""
    raise Away(f"the server answered {response.status}", float(wish) if wish.isdecimal() else None)
