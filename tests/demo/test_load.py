"""The demo's customers: a sound, bounded load whose counts can be believed."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import statistics
import time

import pytest

from airboss.demo.load import (
    SWING,
    Target,
    arguments,
    legacy_customers,
    parse_answer,
    poisson,
    quantile,
    rate_at,
    run,
    variant_totals,
)

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nshop-variant: on\r\n\r\nfine"


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:80/", "https://127.0.0.1:80/", "http://shop.example:80/", "http://127.0.0.1/"]
)
def test_the_load_goes_to_loopback_only(url: str) -> None:
    """A load that could be pointed at somebody else's server would be a weapon."""
    with pytest.raises(ValueError, match="loopback"):
        Target(url, connections=1, timeout_s=1, monotonic=time.monotonic)


def test_arrivals_are_poisson() -> None:
    """Mean and variance of the draws are both the mean asked for."""
    chance = random.Random(3)
    draws = [poisson(7.0, chance) for _ in range(20_000)]
    assert statistics.fmean(draws) == pytest.approx(7.0, abs=0.1)
    assert statistics.variance(draws) == pytest.approx(7.0, abs=0.3)


def test_the_day_swings_around_the_mean_rate() -> None:
    """Over one compressed day the rate averages what was asked for and never leaves its swing."""
    rates = [rate_at(100.0, second) for second in range(120)]
    assert statistics.fmean(rates) == pytest.approx(100.0)
    assert min(rates) >= 100 * (1 - SWING) - 1e-9
    assert max(rates) <= 100 * (1 + SWING) + 1e-9


def test_the_same_seed_gives_the_same_customers() -> None:
    """Which customers always fail follows from the seed alone."""
    assert legacy_customers(50_000, random.Random(7)) == legacy_customers(50_000, random.Random(7))
    assert len(legacy_customers(50_000, random.Random(7))) == 20


@pytest.mark.parametrize("cut", range(len(ANSWER)))
def test_an_answer_in_pieces_is_waited_for(cut: int) -> None:
    """However the network cuts an answer, nothing is counted before it is whole."""
    assert parse_answer(ANSWER[:cut]) is None
    assert parse_answer(ANSWER) == (200, "on", False)


def test_quantile_of_nothing_is_zero() -> None:
    """A second in which nothing was served has no durations to rank."""
    assert quantile([], 0.95) == 0.0
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0


def test_totals_are_summed_by_variant_and_time() -> None:
    """The demo's last page counts requests served badly by variant, within the seconds it asks for."""
    lines = [
        json.dumps({"second": second, "target": "t", "variant": variant, "requests": 10, "bad": bad})
        for second, variant, bad in [(1, "on", 1), (2, "on", 2), (2, "off", 0), (3, "on", 4)]
    ]
    lines.append(json.dumps({"second": 2, "target": "t", "left_out": 5}))
    assert variant_totals(lines, since=2) == {("t", "on"): (20, 6), ("t", "off"): (10, 0)}
    assert variant_totals(lines, until=2) == {("t", "on"): (10, 1)}


class _Server(asyncio.Protocol):
    """Gives the prepared answers, then good ones; an empty answer breaks the connection. `None` is silence."""

    def __init__(self, answers: list[bytes] | None) -> None:
        self.answers = answers

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.answers is None:
            return
        for _ in range(data.count(b"\r\n\r\n")):
            answer = self.answers.pop() if self.answers else ANSWER
            if answer:
                self.transport.write(answer)
            else:
                self.transport.close()


async def _serve(answers: list[bytes] | None) -> tuple[asyncio.Server, str]:
    server = await asyncio.get_running_loop().create_server(lambda: _Server(answers), "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def test_every_request_is_counted_once_and_bad_ones_as_bad(tmp_path) -> None:
    """Good answers, answers of 500 and connections that break are all counted, each once."""
    broken = [b"", b"HTTP/1.1 500 No\r\ncontent-length: 0\r\nshop-variant: on\r\n\r\n"]

    async def story() -> io.StringIO:
        server, url = await _serve(broken)
        options = arguments().parse_args(
            ["--target", "x", "--rate", "200", "--seconds", "0.5", "--timeout", "0.3", "--out", str(tmp_path / "x")]
        )
        out = io.StringIO()
        target = Target(url, connections=8, timeout_s=0.3, monotonic=time.monotonic)
        await run(options, [target], out, time.monotonic)
        server.close()
        return out

    lines = asyncio.run(story()).getvalue().splitlines()
    totals = variant_totals(lines)
    target = json.loads(lines[0])["target"]
    assert totals[target, "on"][1] == 1
    assert totals[target, ""] == (1, 1)
    assert totals[target, "on"][0] > 40


def test_requests_that_find_no_connection_are_told_apart() -> None:
    """An open-loop load that quietly sent less than it promised would flatter the service."""

    async def story() -> list[str]:
        server, url = await _serve(None)
        target = Target(url, connections=1, timeout_s=0.1, monotonic=time.monotonic)
        options = argparse.Namespace(seed=1, users=10, rate=500, seconds=0.2, timeout=0.1)
        out = io.StringIO()
        await run(options, [target], out, time.monotonic)
        server.close()
        return out.getvalue().splitlines()

    assert any("left_out" in line for line in asyncio.run(story()))
