"""The provider against a server that misbehaves: nothing it sends reaches an evaluation."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode

from airboss.sdk.provider import AirbossProvider

FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
VALUES = {
    "boolean": FLAG,
    "text": {**FLAG, "variants": {"on": "yes"}},
    "integer": {**FLAG, "variants": {"on": 3}},
    "float": {**FLAG, "variants": {"on": 1}, "type": "float"},
    "object": {**FLAG, "variants": {"on": {"a": [1]}}},
}


class Script:
    """What the server answers next: (status, headers, body); the last one stays."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[str | None] = []

    def next(self) -> tuple[int, dict[str, str], bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def scripted() -> Iterator[tuple[str, Script]]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/stream"):
                self.send_error(404)
                return
            script.asked.append(self.headers.get("If-None-Match"))
            status, headers, body = script.next()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", script
    server.shutdown()
    server.server_close()


def body(**flags: Any) -> bytes:
    return json.dumps({"revision": 1, "flags": flags}).encode()


def until(holds: Any) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


def test_every_type_and_every_mismatch(scripted: tuple[str, Script]) -> None:
    """Each type is answered by its method and TYPE_MISMATCH by the others, always with the caller's default."""
    url, script = scripted
    script.answers = [(200, {"ETag": '"1"'}, body(**VALUES))]
    provider = AirbossProvider(url, "t")
    provider.initialize(EvaluationContext())
    asks: dict[str, Any] = {
        "boolean": (provider.resolve_boolean_details, False, True),
        "text": (provider.resolve_string_details, "no", "yes"),
        "integer": (provider.resolve_integer_details, 0, 3),
        "float": (provider.resolve_float_details, 0.5, 1.0),
        "object": (provider.resolve_object_details, {}, {"a": [1]}),
    }
    for kind, (ask, default, value) in asks.items():
        for name in VALUES:
            found = ask(name, default)
            if name == kind or (kind, name) == ("float", "integer"):
                assert found.error_code is None
                assert type(found.value) is type(value)
            else:
                assert (found.value, found.error_code) == (default, ErrorCode.TYPE_MISMATCH)
    provider.resolve_object_details("object", {}).value["a"].append(2)
    assert provider.resolve_object_details("object", {}).value == {"a": [1]}, "answers are copies"
    assert provider.resolve_boolean_details("nope", True).error_code is ErrorCode.FLAG_NOT_FOUND
    provider.shutdown()


def test_polls_with_its_etag_and_keeps_what_it_knows(scripted: tuple[str, Script]) -> None:
    """Without a stream it polls; 304, 500, pages of a proxy and sets that are none leave the flags as they were."""
    url, script = scripted
    script.answers = [
        (200, {"ETag": '"1"'}, body(f=FLAG)),
        (304, {}, b""),
        (500, {}, b"oops"),
        (200, {}, b"<html>sign in</html>"),
        (200, {}, b'{"flags": 7}'),
        (200, {}, b'{"flags": {"f": {"state": "ENABLED", "variants": {}}}}'),
        (200, {"ETag": '"2"'}, body(f={**FLAG, "defaultVariant": "off"})),
    ]
    provider = AirbossProvider(url, "t", poll_s=0.02)
    provider.initialize(EvaluationContext())
    seen = [provider.resolve_boolean_details("f", False).value]
    until(lambda: seen.append(provider.resolve_boolean_details("f", True).value) or seen[-1] is False)
    assert set(seen[:-1]) == {True}
    assert script.asked[:3] == [None, '"1"', '"1"']
    provider.shutdown()


def test_events_tell_away_back_and_changed(scripted: tuple[str, Script]) -> None:
    """Handlers hear of new flags, of the server going away and coming back; one that raises hurts nothing."""
    url, script = scripted
    script.answers = [
        (200, {"ETag": '"1"'}, body(f=FLAG)),
        (503, {}, b""),
        (200, {"ETag": '"2"'}, body(f=FLAG, g=FLAG)),
    ]
    heard: list[Any] = []
    client = api.get_client("events")

    def broken(_: Any) -> None:
        raise RuntimeError("a handler of the service's own")

    client.add_handler(ProviderEvent.PROVIDER_STALE, lambda _: heard.append("stale"))
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, broken)
    client.add_handler(
        ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda details: heard.append(details.flags_changed)
    )
    api.set_provider_and_wait(AirbossProvider(url, "t", poll_s=0.02), "events")
    until(lambda: ["g"] in heard)
    assert "stale" in heard
    api.clear_providers()


def test_a_service_starts_without_a_server() -> None:
    """Nothing listens: initialising returns in time, answers are the caller's defaults, shutdown is quick."""
    provider = AirbossProvider("http://127.0.0.1:9", "t", start_timeout_s=0.2)
    start = time.monotonic()
    provider.initialize(EvaluationContext())
    found = provider.resolve_boolean_details("f", True)
    assert (found.value, found.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
    provider.shutdown()
    assert time.monotonic() - start < 2


def test_a_spoilt_cache_file_is_no_obstacle(tmp_path: Any) -> None:
    """Whatever lies in the file, the service starts."""
    for spoilt in (b"", b"{", b"[]", b'{"etag": null}', b'{"etag": "x", "document": 7}', b"\xff"):
        cache = tmp_path / "flags.json"
        cache.write_bytes(spoilt)
        provider = AirbossProvider("http://127.0.0.1:9", "t", cache_file=cache, start_timeout_s=0)
        provider.initialize(EvaluationContext())
        assert provider.resolve_boolean_details("f", True).value is True
        provider.shutdown()


garbage = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(object())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(key=garbage, attributes=garbage, name=garbage)
def test_no_evaluation_raises(key: Any, attributes: Any, name: Any) -> None:
    """Keys, attributes and flag names of any kind get an answer, and the caller's default when it is an error."""
    provider = AirbossProvider("http://127.0.0.1:9", "t")
    targeting = {"if": [{"<": [{"var": "x"}, 3]}, "on", {"fractional": [["on", 1], ["off", 1]]}]}
    provider._use({"flags": {"f": {**FLAG, "targeting": targeting}, "": FLAG}})
    for flag in ("f", name):
        found = provider.resolve_boolean_details(flag, True, EvaluationContext(key, attributes))
        assert isinstance(found.value, bool)
        if found.error_code is not None:
            assert found.value is True
