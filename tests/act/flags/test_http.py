"""Flags over real HTTP: a uvicorn on loopback, the OFREP client everybody uses, and our own provider."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import uvicorn
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, OpenFeatureError
from openfeature.flag_evaluation import Reason
from starlette.applications import Starlette
from starlette.requests import Request
from tests.act.flags.conftest import SPEC, spec

from airboss.act.flags import Flags
from airboss.faces.api.flags import FlagRoutes, RevisionWatch
from airboss.kernel.clock import SystemClock
from airboss.kernel.errors import Unauthenticated
from airboss.kernel.ids import SystemChance, TimeOrderedIds
from airboss.people.access import SYSTEM, Actor
from airboss.records.journal import Journal
from airboss.records.store import Store
from airboss.sdk.provider import AirbossProvider

TOKEN = "abt_good"


class Live:
    """The routes on a port; may be taken down and brought back on the same port."""

    def __init__(self, flags: Flags, store: Store, reader: Actor) -> None:
        self.flags = flags
        self.store = store
        self._reader = reader
        self.revoked = False
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def _actor(self, request: Request) -> Actor:
        if self.revoked or request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Unauthenticated("the token is unknown", way_out="issue another")
        return self._reader

    def up(self) -> None:
        def latest() -> int:
            with self.store.read() as connection:
                return self.flags.revision(connection)

        watch = RevisionWatch(latest, SystemClock(), poll_s=0.2)
        routes = FlagRoutes(self.flags, self.store, self._actor, watch, SystemClock(), heartbeat_s=0.3)
        self.store.on_commit(watch.announce)
        config = uvicorn.Config(
            Starlette(routes=routes.routes()),
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            timeout_graceful_shutdown=0,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server is not None and self._server.started)

    def down(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join(10)
            self._server = self._thread = None

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self._send("GET", path, None, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        status, got, answer = self._send("POST", path, data, headers)
        return status, got, json.loads(answer) if answer else None

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"Authorization": f"Bearer {TOKEN}", **named})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), body


def until(holds: Any, within_s: float = 10.0) -> None:
    """Wait until something holds; fail when it does not in time."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


@pytest.fixture
def live(sqlite_store: Store, engineer: Actor, reader: Actor) -> Iterator[Live]:
    clock = SystemClock()
    journal = Journal(sqlite_store, clock=clock, ids=TimeOrderedIds(clock, SystemChance()), chance=SystemChance())
    journal.open()
    flags = Flags(sqlite_store, journal, clock)
    flags.put("tax.engine", SPEC, actor=engineer)
    numbers = spec(variants={"one": 1.0, "half": 0.5}, defaultVariant="one")
    flags.put("rate", numbers, actor=engineer)
    flags.put("count", spec(variants={"few": 3, "many": 9}, defaultVariant="few"), actor=engineer)
    flags.put("greeting", spec(variants={"hi": "hi", "yo": "yo"}, defaultVariant="hi"), actor=engineer)
    flags.put("layout", spec(variants={"a": {"columns": 2}, "b": {"columns": 3}}, defaultVariant="a"), actor=engineer)
    flags.put("sleeping", spec(state="DISABLED"), actor=engineer)
    flags.put("undecided", spec(defaultVariant=None), actor=engineer)
    served = Live(flags, sqlite_store, reader)
    served.up()
    yield served
    served.down()


def client(live: Live, token: str = TOKEN) -> OFREPProvider:
    return OFREPProvider(live.url, headers_factory=lambda: {"Authorization": f"Bearer {token}"})


def test_the_ordinary_ofrep_client_reads_every_type(live: Live) -> None:
    """Booleans, texts, integers, floats (1.0 too) and objects arrive with variant and reason."""
    ofrep = client(live)
    context = EvaluationContext("user-1", {"country": "DE"})
    found = ofrep.resolve_boolean_details("tax.engine", True, context)
    assert (found.value, found.variant, found.reason) == (False, "off", Reason.STATIC)
    assert ofrep.resolve_float_details("rate", 9.9, context).value == 1.0
    assert ofrep.resolve_integer_details("count", 1, context).value == 3
    assert ofrep.resolve_string_details("greeting", "", context).value == "hi"
    assert ofrep.resolve_object_details("layout", {}, context).value == {"columns": 2}


def test_the_ordinary_ofrep_client_meets_what_is_odd(live: Live) -> None:
    """Disabled and default-less flags give the caller's default; no context, an unknown flag, a bad token are told."""
    ofrep = client(live)
    sleeping = ofrep.resolve_boolean_details("sleeping", True, EvaluationContext("u"))
    assert (sleeping.value, sleeping.reason, sleeping.variant) == (True, Reason.DISABLED, "")
    undecided = ofrep.resolve_boolean_details("undecided", True)
    assert (undecided.value, undecided.reason, undecided.variant) == (True, Reason.DEFAULT, "")
    with pytest.raises(FlagNotFoundError, match="nope"):
        ofrep.resolve_boolean_details("nope", True, EvaluationContext("u"))
    with pytest.raises(OpenFeatureError, match="unauthorized"):
        client(live, "abt_bad").resolve_boolean_details("tax.engine", True, EvaluationContext("u"))


def test_a_ramp_reaches_ofrep_clients_with_its_arm(live: Live) -> None:
    """People split by a ramp get SPLIT and their arm in the metadata; people without a key get the old side, no arm."""
    live.flags.set_exposure("tax.engine", "chg_one", 50, "on", "off", key="k", actor=SYSTEM)
    ofrep = client(live)
    found = [ofrep.resolve_boolean_details("tax.engine", False, EvaluationContext(f"u{n}")) for n in range(40)]
    assert {one.reason for one in found} == {Reason.SPLIT}
    assert {one.value for one in found} == {True, False}
    for one in found:
        arm = "canary" if one.value else "baseline"
        assert one.flag_metadata["airboss.exposure"].startswith(f"chg_one/{arm}/")
    nobody = ofrep.resolve_boolean_details("tax.engine", True)
    assert (nobody.value, nobody.reason) == (False, Reason.DEFAULT)
    assert "airboss.exposure" not in nobody.flag_metadata


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 200, None),
        (b"{}", 200, None),
        ({"context": {}}, 200, None),
        ({"context": None}, 200, None),
        (b"{", 400, "PARSE_ERROR"),
        (b"\xff\xfe", 400, "PARSE_ERROR"),
        ([1], 400, "INVALID_CONTEXT"),
        ({"context": "user"}, 400, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": 7}}, 400, "INVALID_CONTEXT"),
        (b'{"context": {"x": "' + b"y" * 300_000 + b'"}}', 400, "INVALID_CONTEXT"),
        (b"[" * 100_000, 400, "PARSE_ERROR"),
    ],
)
def test_bodies_good_and_bad(live: Live, body: Any, status: int, code: str | None) -> None:
    """Missing and empty contexts are answered; every bad one has errorCode and errorDetails."""
    got, _, answer = live.post("/ofrep/v1/evaluate/flags/tax.engine", body)
    assert got == status
    assert answer.get("errorCode") == code
    assert ("errorDetails" in answer) == (code is not None)
    assert answer["key"] == "tax.engine"
    assert ("variant" in answer) == (code is None)


def test_errors_are_in_ofreps_words(live: Live) -> None:
    """404 and 401 carry key, errorCode and errorDetails; an environment nobody could name is refused."""
    status, _, answer = live.post("/ofrep/v1/evaluate/flags/no%20such", {})
    assert (status, answer["errorCode"], answer["key"]) == (404, "FLAG_NOT_FOUND", "no such")
    assert answer["errorDetails"]
    status, headers, answer = live.post("/ofrep/v1/evaluate/flags/x", {}, Authorization="Bearer no")
    assert (status, bool(answer["errorDetails"])) == (401, True)
    assert {name.lower() for name in headers} >= {"www-authenticate"}
    assert live.get("/sdk/v1/flags?environment=../x")[0] == 400


def test_bulk_has_an_etag_for_each_context(live: Live) -> None:
    """The same question is answered 304 until flags change; another context or another revision is answered anew."""
    status, headers, answer = live.post("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "u"}})
    etag = headers["etag"]
    assert status == 200
    by_key = {one["key"]: one for one in answer["flags"]}
    assert by_key["rate"]["value"] == 1.0
    assert isinstance(by_key["rate"]["value"], float)
    assert "value" not in by_key["sleeping"]
    assert answer["eventStreams"][0]["url"] == f"{live.url}/ofrep/v1/sse"
    same = {"context": {"targetingKey": "u"}}
    assert live.post("/ofrep/v1/evaluate/flags", same, If_None_Match=etag)[0] == 304
    assert live.post("/ofrep/v1/evaluate/flags", same, If_None_Match=f"W/{etag}")[0] == 304
    assert live.post("/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "v"}}, If_None_Match=etag)[0] == 200
    live.flags.set_exposure("tax.engine", "chg_one", 50, "on", "off", key="k", actor=SYSTEM)
    assert live.post("/ofrep/v1/evaluate/flags", same, If_None_Match=etag)[0] == 200


def test_the_snapshot_has_an_etag_and_environments(live: Live) -> None:
    """304 while nothing changed; a ramp in staging is in staging's snapshot only."""
    status, headers, body = live.get("/sdk/v1/flags")
    assert status == 200
    assert live.get("/sdk/v1/flags", If_None_Match=headers["etag"])[0] == 304
    live.flags.set_exposure("tax.engine", "chg_one", 100, "on", "off", key="k", actor=SYSTEM, environment="staging")
    assert "ramp" not in json.loads(live.get("/sdk/v1/flags")[2])["flags"]["tax.engine"]
    staging = json.loads(live.get("/sdk/v1/flags", Airboss_Environment="staging")[2])
    assert staging["flags"]["tax.engine"]["ramp"]["percent"] == 100
    assert json.loads(body)["revision"] < staging["revision"]
    for environment, value in (("staging", True), (None, False)):
        provider = AirbossProvider(live.url, TOKEN, environment=environment)
        provider.initialize(EvaluationContext())
        assert provider.resolve_boolean_details("tax.engine", not value, EvaluationContext("u")).value is value
        provider.shutdown()


def test_the_stream_tells_the_state_then_changes_then_ends_with_the_token(live: Live) -> None:
    """First message at once, one for each revision, heartbeats between; revoking the token ends the stream."""
    request = urllib.request.Request(f"{live.url}/ofrep/v1/sse", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=5) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")

        def message() -> dict[str, Any]:
            while True:
                line = stream.readline()
                if line.startswith(b"data:"):
                    return json.loads(line[5:])

        first = message()
        assert first["type"] == "refetchEvaluation"
        assert first["etag"] == live.get("/sdk/v1/flags")[1]["etag"]
        live.flags.set_exposure("tax.engine", "chg_one", 5, "on", "off", key="k", actor=SYSTEM)
        second = message()
        assert second["etag"] != first["etag"]
        assert {"etag", "lastModified"} <= second.keys()
        while not stream.readline().startswith(b":"):
            pass
        live.revoked = True
        while stream.readline():
            pass
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=5)


def test_our_provider_follows_live_and_outlives_the_server(live: Live, tmp_path: Any) -> None:
    """Values change within moments of the change; with the server away they stay; back, they follow again; a service
    started while it is away starts with the last known flags."""
    cache = tmp_path / "flags.json"
    provider = AirbossProvider(live.url, TOKEN, cache_file=cache)
    context = EvaluationContext("user-1")
    provider.initialize(context)
    try:
        assert provider.resolve_boolean_details("tax.engine", True, context).value is False
        live.flags.set_exposure("tax.engine", "chg_one", 100, "on", "off", key="k", actor=SYSTEM)
        until(lambda: provider.resolve_boolean_details("tax.engine", False, context).value is True)
        live.down()
        assert provider.resolve_boolean_details("tax.engine", False, context).value is True
        restarted = AirbossProvider(live.url, TOKEN, cache_file=cache, start_timeout_s=0.1)
        restarted.initialize(context)
        assert restarted.resolve_boolean_details("tax.engine", False, context).value is True
        restarted.shutdown()
        live.flags.revert("chg_one", flag="tax.engine", key="r", actor=SYSTEM)
        live.up()
        until(lambda: provider.resolve_boolean_details("tax.engine", True, context).value is False)
    finally:
        start = time.monotonic()
        provider.shutdown()
        assert time.monotonic() - start < 2
