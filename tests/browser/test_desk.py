"""The pages beside changes in a real browser: accessible, small, no wider than a phone, asking nobody else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.faces.web.stories import flags
from tests.faces.web.town import Town, town
from tests.tower.world import ramp

pytestmark = pytest.mark.browser

PAGES = ["/flags", "/flags/tax.engine?who=user-1", "/flags/pay.onepress"]


@pytest.fixture(scope="module")
def served() -> Iterator[Town]:
    with tempfile.TemporaryDirectory() as folder, town(Path(folder)) as made:
        world = made.world
        world.apply(flags("pay.onepress", "search.ranking"))
        made.run(30)
        world.propose(ramp(users=5))
        assert made.run(60, until=lambda: world.percent() >= 1)
        world.house.flags.kill("pay.onepress", "totals are wrong", actor=world.people["dev-b"])
        world.house.checkpoints.write_now()
        yield made


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_sound_for_everybody(page: Page, served: Town, path: str) -> None:
    """axe finds nothing in either theme with everything opened, a phone shows all of it, and nobody else is asked."""
    abroad: list[str] = []
    page.on("request", lambda one: None if one.url.startswith((served.url, "data:")) else abroad.append(one.url))
    sizes: list[int] = []
    page.on("requestfinished", lambda one: sizes.append(one.sizes()["responseBodySize"]))
    page.context.add_cookies([served.cookie("root")])
    page.goto(served.url + path)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert 0 < sum(sizes) <= 100_000
    page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((fold) => { fold.open = true; })")
    for theme, width in (("light", 1280), ("dark", 390)):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=theme)
        found = Axe().run(page)
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found.response["violations"]] == []
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert abroad == []


def test_the_menu_leads_everywhere_on_a_phone(page: Page, served: Town) -> None:
    """What the bar has no room for is in its menu, which opens by keyboard and needs no script."""
    page.context.add_cookies([served.cookie("dev-b")])
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{served.url}/flags")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator(".tabs").get_by_role("link", name="Flags")).to_be_visible()
