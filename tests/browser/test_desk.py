"""The pages beside changes in a real browser: accessible, small, no wider than a phone, asking nobody else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.faces.web import samples_lists
from tests.faces.web.stories import flags
from tests.faces.web.town import Town, town
from tests.tower.world import ramp

from airboss.faces.web.frame import MORE, PLACES

pytestmark = pytest.mark.browser

PAGES = [
    "/on-call",
    "/flags",
    "/flags/tax.engine?who=user-1",
    "/flags/pay.onepress",
    "/policy?change={change}",
    "/calendar",
    "/versions",
    "/people",
    "/audit?change={change}",
]


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


def test_every_page_of_the_navigation_is_looked_at() -> None:
    """Whatever the bar and its menu lead to is under axe in both themes: here, or as a sample page."""
    looked = {path.partition("?")[0] for path in PAGES} | {f"/{name}" for name in samples_lists.PAGES}
    assert {href for _, href in (*PLACES, *MORE)} <= looked


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_sound_for_everybody(page: Page, served: Town, path: str) -> None:
    """axe finds nothing in either theme with everything opened, a phone shows all of it, and nobody else is asked."""
    abroad: list[str] = []
    page.on("request", lambda one: None if one.url.startswith((served.url, "data:")) else abroad.append(one.url))
    sizes: list[int] = []
    page.on("requestfinished", lambda one: sizes.append(one.sizes()["responseBodySize"]))
    page.context.add_cookies([served.cookie("root")])
    (change,) = [one.id for one in served.world.house.changes.list(actor=served.world.people["root"]).items]
    page.goto(served.url + path.format(change=change))
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
    expect(page.locator(".tabs").get_by_role("link", name="On call")).to_be_visible()
    page.locator("#more > summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Audit").click()
    expect(page).to_have_url(f"{served.url}/audit")


def test_one_hand_takes_a_change_back_at_night(page: Page, served: Town) -> None:
    """On a phone: what moves, one large Roll back, pressed twice and never typed; the page stays and follows it home."""
    world = served.world
    page.context.add_cookies([served.cookie("dev-b")])
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{served.url}/on-call")
    card = page.locator(".call").filter(has_text="New VAT engine")
    expect(card).to_contain_text("When every gate of this step passes")
    button = card.locator("summary.danger")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 48
    assert box["width"] >= 280
    button.click()
    expect(card).to_contain_text("goes back to 0\N{NARROW NO-BREAK SPACE}% at once")
    page.get_by_role("button", name="Roll back now").click()
    expect(page).to_have_url(f"{served.url}/on-call")
    expect(page.locator(".flash")).to_contain_text("Rolling back.")
    (change,) = [one.id for one in world.house.changes.list(actor=world.people["root"]).items]
    assert served.run(60, until=lambda: world.phase(change) not in ("rolling_out", "rolling_back"))
    assert world.percent() == 0
    expect(page.locator("#on-call")).to_contain_text("No change is out now.")
