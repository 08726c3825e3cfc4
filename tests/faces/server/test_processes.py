"""The server as processes: what it says, what it survives, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from airboss.faces.server.keeper import read_settings_line, settings_line
from airboss.faces.server.sockets import is_loopback, listen, port_of
from airboss.kernel.errors import Refused
from airboss.kernel.settings import Settings

RUN = """
import sys
from airboss.faces.server import serve
from airboss.faces.server.keeper import read_settings_line
from airboss.kernel.errors import AirbossError
try:
    serve(read_settings_line(sys.stdin.buffer.readline()), role=sys.argv[1])
except AirbossError as fault:
    sys.exit(f"{fault.code}: {fault.detail} ({fault.way_out})")
"""


def start(settings: Settings, role: str = "all") -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(settings_line(settings))
    process.stdin.flush()
    return process


def ready(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], str | None]:
    """Return the line that says it listens, and the first admin's link."""
    assert process.stdout is not None
    link = None
    for line in process.stdout:
        told = json.loads(line)
        if told["event"] == "ready":
            return told, link
        link = told["link"]
    assert process.stderr is not None
    raise AssertionError(process.stderr.read().decode())


@contextmanager
def running(
    settings: Settings, role: str = "all"
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any], str | None]]:
    process = start(settings, role)
    try:
        yield process, *ready(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def ingest_of(pid: int) -> int | None:
    """Return the process ID of a server's ingest."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == pid and b"airboss.faces.server" in command:
            return int(folder.name)
    return None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", port=0, ingest_port=0)


def takes_telemetry(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=20).status_code == 200
    except httpx.TransportError:
        return False


def test_a_server_lives_without_its_ingest_and_ends_in_order(settings: Settings) -> None:
    """It says when it listens; a killed ingest is started again while control answers; SIGTERM ends both cleanly."""
    with running(settings) as (process, told, link):
        assert told["pid"] == process.pid
        assert link is not None
        assert link.startswith(told["url"])
        session = httpx.post(f"{told['url']}/api/v1/session", json={"link": link.rpartition("/")[2], "handle": "admin"})
        assert session.status_code == 201
        until(lambda: takes_telemetry(told["otlp"]))
        first = ingest_of(process.pid)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert httpx.get(f"{told['url']}/healthz").json() == {"status": "ok"}
        until(lambda: ingest_of(process.pid) not in (None, first))
        until(lambda: takes_telemetry(told["otlp"]))
        until(lambda: httpx.get(f"{told['url']}/readyz", timeout=20).status_code == 200)
        second = ingest_of(process.pid)
        assert second is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().decode().splitlines()]
        assert any("the ingest ended (signal 9)" in line["message"] for line in lines)
        assert lines[-1]["message"] == "stopped"
        assert not Path(f"/proc/{second}").exists()


def test_a_killed_server_takes_its_ingest_along_and_starts_again(settings: Settings) -> None:
    """SIGKILL of control ends the ingest too, and the next start finds both ports, and no second admin link."""
    with running(settings) as (process, told, link):
        httpx.post(f"{told['url']}/api/v1/session", json={"link": str(link).rpartition("/")[2], "handle": "admin"})
        until(lambda: takes_telemetry(told["otlp"]))
        child = ingest_of(process.pid)
        process.kill()
        process.wait()
    ports = {name: int(told[key].rpartition(":")[2]) for name, key in (("port", "url"), ("ingest_port", "otlp"))}
    with running(replace(settings, **ports)) as (_, again, link):
        assert (again["url"], again["otlp"]) == (told["url"], told["otlp"])
        assert link is None
        until(lambda: not Path(f"/proc/{child}").exists())


def test_a_taken_port_is_said(settings: Settings) -> None:
    """A port that somebody else listens on is refused at once, by name, before anything is opened."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(replace(settings, port=taken.getsockname()[1]))
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 1
        assert stderr.decode().startswith(f"port-taken: port {taken.getsockname()[1]} of 127.0.0.1 is taken")
        with pytest.raises(Refused, match="is taken"):
            listen("127.0.0.1", taken.getsockname()[1], setting="--port")


def test_an_exposed_server_is_refused(settings: Settings) -> None:
    """Beyond loopback it takes TLS or a proxy, and an admin."""
    for wrong, code in (
        (replace(settings, host="0.0.0.0"), "exposed-without-tls"),
        (replace(settings, host="0.0.0.0", behind_proxy=True), "exposed-without-admin"),
        (replace(settings, tls_certificate=Path("/nowhere")), "bad-setting"),
    ):
        process = start(wrong, "control")
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 1
        assert stderr.decode().splitlines()[-1].startswith(code), stderr


def test_control_alone_and_ingest_alone(settings: Settings) -> None:
    """Each role runs by itself on the same folder: together they are a ready server."""
    with running(settings, "control") as (_, told, _link):
        assert told["otlp"] is None
        assert httpx.get(f"{told['url']}/readyz", timeout=20).status_code == 503
        with running(settings, "ingest") as (ingest, taking, _none):
            until(lambda: takes_telemetry(taking["otlp"]))
            until(lambda: httpx.get(f"{told['url']}/readyz", timeout=20).status_code == 200)
            assert httpx.post(f"{taking['otlp']}/v1/traces", content=b"").status_code == 401
            ingest.send_signal(signal.SIGTERM)
            assert ingest.wait(timeout=20) == 0


def test_settings_travel_whole(tmp_path: Path) -> None:
    """What the child is told is what we were told."""
    whole = Settings(
        data=tmp_path, hosts=("a", "b"), tls_key=tmp_path / "key", database="postgresql://u:p@h/d", demo=True
    )
    assert read_settings_line(settings_line(whole)) == whole


def test_addresses_of_this_machine() -> None:
    """Only loopback needs no protection; a socket on port 0 gets a port."""
    assert [
        is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "10.1.1.1", "x")
    ] == [
        True,
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    with listen("127.0.0.1", 0, setting="--port") as listener:
        assert port_of(listener) > 0
