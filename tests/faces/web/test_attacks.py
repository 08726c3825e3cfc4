"""Bad forms and bad addresses on the pages: refused as the mistakes they are, never a fault of ours."""

from __future__ import annotations

import httpx
import pytest
from tests.faces.api.desk import BASE, Desk, InMemory

from airboss.faces import web
from airboss.faces.api import create_app
from airboss.testing import ManualClock, SeededChance

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", "Accept-Encoding": "identity"}


@pytest.fixture
def desk(tmp_path, clock: ManualClock, chance: SeededChance):
    """A new house with its first admin, and its pages."""
    opened = Desk(tmp_path, clock, chance)
    opened.app = create_app(opened.house, web_routes=web.routes(opened.house), error_page=web.error_page(opened.house))
    yield opened.organised()
    opened.close()


@pytest.mark.parametrize("field", ["version=\u00b2", "version=\u0663", "reason=a%00b"])
def test_forms_with_odd_characters_are_refused(desk: Desk, field: str) -> None:
    """Digits that are none and NUL in words are answered as the mistakes they are."""
    asked = desk.proposed()
    browser = desk.browser("dev-a")
    sent = browser.post(f"/changes/{asked['id']}/orders/pause", content=field.encode(), headers=FORM)
    assert sent.status_code in (409, 422), sent.text
    assert "<h1" in sent.text
    assert browser.get(f"/api/v1/changes/{asked['id']}").json()["version"] == asked["version"]


@pytest.mark.parametrize(
    "away",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/a\r\nb: c",
    ],
)
def test_signing_in_leads_nowhere_else(desk: Desk, away: str) -> None:
    """Whatever address follows, the browser stays with this server, and no header is written by it."""
    led = desk.browser("dev-a").get("/sign-in", params={"next": away}, headers=FORM)
    assert (led.status_code, led.headers["location"]) == (303, "/")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{BASE}.evil.example", None])
@pytest.mark.parametrize(
    "path", ["/sign-out", "/password", "/changes/x/submit", "/changes/x/votes/approve", "/changes/x/orders/abort"]
)
def test_no_form_is_sent_by_another_site(desk: Desk, path: str, origin: str | None) -> None:
    """With a session's cookie, a form without our own Origin is refused before anybody reads it."""
    browser = desk.browser("dev-a")
    del browser.headers["Origin"]
    sent = browser.post(path, content=b"reason=x", headers=FORM if origin is None else {**FORM, "Origin": origin})
    assert sent.status_code == 403
    assert browser.get("/api/v1/me").status_code == 200


def test_a_link_works_once_and_its_session_is_new(desk: Desk) -> None:
    """Looking does not spend a link, using it does; a cookie from before is not taken over by whoever signs in."""
    link = desk.browser("admin").post("/api/v1/people/dev-b/link").json()["link"]
    secret = link.rpartition("/")[2]
    anyone = httpx.Client(transport=InMemory(desk.app), base_url=BASE, headers={"Cookie": "airboss_session=abs_fixed"})
    for _ in range(2):
        assert anyone.get(f"/sign-in/{secret}", headers=FORM).status_code == 200
    fields = {**FORM, "Origin": BASE}
    first = anyone.post("/sign-in", content=f"link={secret}&next=/%3Fa%3D1%26b%3D2", headers=fields)
    assert (first.status_code, first.headers["location"]) == (303, "/password?next=/%3Fa%3D1%26b%3D2")
    assert "abs_fixed" not in first.headers["set-cookie"]
    again = anyone.post("/sign-in", content=f"link={secret}", headers=fields)
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_free_text_is_shown_and_never_run(desk: Desk) -> None:
    """Titles, reasons, comments and names are text on every page that shows them, behind a policy without inline script."""
    text = (
        desk.browser("dev-a")
        .get("/openapi.json")
        .json()["paths"]["/api/v1/changes"]["post"]["requestBody"]["content"]["application/json"]["example"]
    )
    text["spec"] |= {"title": HOSTILE, "why": HOSTILE}
    made = desk.browser("dev-a").post("/api/v1/changes?submit=true", json=text)
    assert made.status_code == 201, made.text
    desk.turn()
    change = made.json()["id"]
    desk.browser("dev-a").post(f"/api/v1/changes/{change}/orders", json={"verb": "abort", "reason": HOSTILE})
    desk.turn()
    for path in ("/", f"/changes/{change}", f"/changes/{change}/live", "/sign-in/abl_%3Cscript%3Ealert(1)"):
        page = desk.browser("dev-b").get(path, headers=FORM)
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
