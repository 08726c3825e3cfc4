"""The witnesses of a soak are not asleep: what a stale server or a doubled effect would leave behind is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.soak.edge import ORDERS, REQUESTS
from tests.soak.witness import Generation, Told, judge

BEGAN = datetime(2026, 1, 5, 9, tzinfo=UTC)
BLUE, GREEN = "search-blue", "search-green"
ONE = Told(
    change="chg_one",
    new=GREEN,
    steps=((BEGAN, 10.0), (BEGAN + timedelta(seconds=10), 50.0)),
    back_at=BEGAN + timedelta(seconds=20),
    over_at=BEGAN + timedelta(seconds=25),
    completed=False,
)
ROUTE = [
    Generation(number=number, weights={BLUE: 100_000 - green, GREEN: green}, change=change, taken_back=back)
    for number, green, change, back in (
        (0, 0, None, None),
        (1, 10_000, "chg_one", None),
        (2, 50_000, "chg_one", None),
        (3, 0, None, "chg_one"),
    )
]


def _at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _order(seconds: float, green: int) -> str:
    query = f"airboss.search.{BLUE}={100_000 - green}&airboss.search.{GREEN}={green}"
    return f"{_at(seconds)} POST 200 /runtime_modify?{query}\n"


def _write(folder: Path, *more: str) -> None:
    orders = [_order(0.1, 10_000), _order(10.1, 50_000), _order(20.1, 0)]
    clear = f"{_at(20.2)} POST 200 /runtime_modify?airboss.search.{BLUE}=&airboss.search.{GREEN}=\n"
    (folder / ORDERS).write_text("".join([*orders, clear, *more]))
    (folder / REQUESTS).write_text(
        "".join(f"{_at(at)} {side} 200\n" for at, side in ((-1, BLUE), (11, GREEN), (40, BLUE)))
    )


def test_what_the_record_allows_is_counted(tmp_path: Path) -> None:
    """A release that rose twice and was taken back, as file, orders and requests tell it."""
    _write(tmp_path)
    found = judge(tmp_path, ROUTE, [ONE], 3, BLUE)
    assert (found["generations"], found["orders"]) == (3, {"set": 3, "cleared": 1})
    assert found["requests"] == {BLUE: 2, GREEN: 1}


@pytest.mark.parametrize(
    ("seconds", "green", "told"),
    [(5, 50_000, "chg_one at 10 %"), (30, 10_000, "chg_one taken back"), (-5, 10_000, "at rest")],
    ids=["before its step", "by a sleeper that woke up", "before it began"],
)
def test_an_order_that_no_step_allows_is_named(tmp_path: Path, seconds: float, green: int, told: str) -> None:
    """Exposure ordered before its step began, or after the change was over."""
    _write(tmp_path, _order(seconds, green))
    with pytest.raises(AssertionError, match=f"was told .* for {GREEN}: {told}"):
        judge(tmp_path, ROUTE, [ONE], 3, BLUE)


def test_a_request_that_went_astray_is_named(tmp_path: Path) -> None:
    """A side that was taken back still gets requests, a while after."""
    _write(tmp_path)
    with (tmp_path / REQUESTS).open("a") as lines:
        lines.write(f"{_at(28)} {GREEN} 200\n")
    with pytest.raises(AssertionError, match=f"a request went to {GREEN}"):
        judge(tmp_path, ROUTE, [ONE], 3, BLUE)


def test_an_effect_done_twice_is_named(tmp_path: Path) -> None:
    """More generations than effects; a share written again; a change that takes the route again after it was taken back."""
    _write(tmp_path)
    with pytest.raises(AssertionError, match="written 3 times for 2 effects"):
        judge(tmp_path, ROUTE, [ONE], 2, BLUE)
    again = replace(ROUTE[2], number=3)
    with pytest.raises(AssertionError, match="wrote the shares"):
        judge(tmp_path, [*ROUTE[:3], again], [ONE], 3, BLUE)
    with pytest.raises(AssertionError, match="again after it was taken back"):
        judge(tmp_path, [*ROUTE, replace(ROUTE[1], number=4)], [ONE], 4, BLUE)
