"""Lists as they look in real life: changes, inbox, reviews, services; and all sample pages together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.faces.web import samples
from tests.faces.web.samples import HREF, ID, NOW, before, rolling, shell

from airboss.faces.web.inbox_page import InboxPage
from airboss.faces.web.list_page import ChangesPage
from airboss.faces.web.reviews_page import ReviewsPage
from airboss.faces.web.services_page import ServicePage, ServicesPage, Track
from airboss.faces.web.views import ChangeRow, Empty, State


def row(title: str, tone: str, word: str, sentence: str, **more: Any) -> ChangeRow:
    return {
        "id": ID,
        "href": HREF,
        "title": title,
        "state": {"tone": tone, "word": word, "sentence": sentence},
        "kind": "flag ramp",
        "services": ["checkout"],
        "owner": "payments",
        "tier": "low",
        "exposure": None,
        "moved_at": before(minutes=2),
        **more,
    }


def filters(words: str) -> dict[str, Any]:
    """What the filters of a list hold."""
    return {
        "given": {"q": words},
        "narrowed": bool(words),
        "states": [("", "any"), ("moving", "moving")],
        "tiers": [("", "any"), ("high", "high")],
        "older": [],
    }


def changes() -> ChangesPage:
    return {
        "shell": shell(),
        "query": "",
        **filters(""),
        "groups": [
            {
                "heading": "Needs you",
                "tone": "needs",
                "rows": [
                    row(
                        "One-press payment for everybody",
                        "needs",
                        "Needs you",
                        "Waits for one of payments-leads: you, before 17:12 UTC.",
                        services=["pay"],
                        tier="medium",
                    )
                ],
            },
            {
                "heading": "Moving",
                "tone": "waiting",
                "rows": [
                    row(
                        "New VAT engine for everybody",
                        "waiting",
                        "Held",
                        "1,240 more requests needed to call it harmless, about 3 minutes at this traffic.",
                        exposure=10.0,
                    ),
                    row(
                        "Learned ranking for everybody",
                        "well",
                        "Rolling out",
                        "At 50 %, all gates pass; 100 % in about 20 s.",
                        exposure=50.0,
                        services=["search"],
                        owner="discovery",
                    ),
                    row(
                        "Checkout 2.4.0 with the new tax engine",
                        "harmed",
                        "Rolling back",
                        "Convicted at 10 %; 2 % still get the new version.",
                        exposure=2.0,
                        kind="service release",
                        tier="high",
                    ),
                ],
            },
            {
                "heading": "Over",
                "tone": "well",
                "rows": [
                    row(
                        "Search 1.9.2",
                        "well",
                        "Completed",
                        "On for everybody since yesterday.",
                        moved_at=before(days=1),
                        kind="service release",
                    )
                ],
            },
        ],
    }


def no_changes() -> ChangesPage:
    return {
        "shell": shell(demo=False),
        "query": "",
        **filters(""),
        "groups": [],
        "empty": {
            "heading": "No changes yet",
            "sentence": "A change is a file in your repository. Submit one from there or from CI; it appears here at once.",
            "command": "airboss change submit change.yaml",
        },
    }


def _asked(title: str, **more: Any) -> Any:
    return {
        "href": HREF,
        "title": title,
        "state": {"tone": "needs", "word": "medium risk"},
        "services": ["checkout", "pay"],
        "requester": "payments",
        "why": "A flag-ramp that can reach 60 % of users.",
        "waits_for": "1 of service-owners (dev-b)",
        "since": before(hours=2),
        "until": NOW + timedelta(hours=70),
        **more,
    }


def inbox() -> InboxPage:
    """Two that wait for the reader, one of them edited since, and one that waits for others."""
    changed = [{"field": "intent.impact.users percent", "was": "5", "now": "60"}]
    return {
        "shell": shell(),
        "mine": [
            _asked(
                "One-press payment", decide=f"{HREF}#decide", looked="Changed since you last looked:", changed=changed
            ),
            _asked("Cart summary", decide=f"{HREF}#decide", looked="You have not looked at it yet.", changed=[]),
        ],
        "others": [_asked("Larger tills", state={"tone": "waiting", "word": "high risk"})],
    }


def no_inbox() -> InboxPage:
    empty: Empty = {"heading": "Nothing waits for you", "sentence": "It appears here.", "command": "airboss inbox"}
    return {"shell": shell(), "mine": [], "others": [], "empty": empty}


def reviews() -> ReviewsPage:
    return {
        "shell": shell(),
        "rows": [
            {
                "href": HREF,
                "title": "One-press payment",
                "state": {"tone": "harmed", "word": "rolled back"},
                "services": ["checkout"],
                "sentence": "Rolled back at 1 % exposure, 14 s after the first exposure, back after 1.0 s.",
                "convicted_by": ["checkout-errors"],
                "figures": ["convicted after 14 s", "back after 1 s", "about 3 users harmed, estimated"],
                "opened_at": before(hours=3),
                "close": f"{HREF}#review",
            }
        ],
    }


def _track() -> Track:
    """A canary that misses the objective beside a baseline that keeps it."""
    below: State = {"tone": "needs", "word": "below 99.5 %"}
    kept: State = {"tone": "well", "word": "kept"}
    return {
        "title": "New VAT engine for everybody",
        "href": HREF,
        "where": "10 % in production",
        "since": before(minutes=4),
        "arms": [
            {"arm": "canary", "requests": "1,204", "errors": "1.2 %", "p95": "41 ms", "objectives": [("pay", "98.8 %", below)]},
            {"arm": "baseline", "requests": "10,816", "errors": "0.2 %", "p95": "38 ms", "objectives": [("pay", "99.8 %", kept)]},
        ],
    }  # fmt: skip


def services() -> ServicesPage:
    return {
        "shell": shell(),
        "rows": [
            {
                "name": name,
                "href": f"/services/{name}",
                "owner": "payments",
                "tier": "critical",
                "environments": ["staging", "production"],
                "objectives": rolling()["objectives"] * count,
                "telemetry": {"tone": tone, "word": word, "sentence": "68.3 % of its spans name their change."},
                "moving": count,
                "tracks": [_track()] * count,
            }
            for name, count, tone, word in (("checkout", 2, "well", "heard"), ("pay", 0, "needs", "not heard"))
        ],
    }


def service() -> ServicePage:
    return {
        "shell": shell(),
        "name": "checkout",
        "description": "Takes the money.",
        "about": ["owned by payments", "critical tier", "runs in production", "keeps state"],
        "telemetry": {"tone": "well", "word": "heard", "sentence": "99 % of its spans name their change."},
        "objectives": rolling()["objectives"],
        "tracks": [_track()],
        "coverage": [
            {
                "where": "production",
                "signal": "traces",
                "count": "81,204",
                "named": "99 %",
                "late": "12",
                "newest": "2 s ago",
            }
        ],
        "depends_on": ["pay"],
        "dependants": ["web", "mobile"],
        "oncall": "payments-rota",
        "runbooks": ["https://example.com/runbooks/tax-engine-off"],
        "moving": [row("New VAT engine for everybody", "well", "Rolling out", "Watching at 10 %.", exposure=10)],
        "earlier": [row("One-press payment", "harmed", "Rolled back", "Convicted at 1 %.")],
        "all": "/changes?service=checkout",
    }


def bare_service() -> ServicePage:
    empty: Empty = {
        "heading": "It promises nothing yet",
        "sentence": "Apply one.",
        "command": "airboss apply -f slo.yaml",
    }
    page = service()
    page.update(
        objectives=[], tracks=[], coverage=[], moving=[], earlier=[], objectives_empty=empty, changes_empty=empty
    )
    return page


PAGES = {
    **samples.PAGES,
    "changes": ("changes", changes),
    "no-changes": ("changes", no_changes),
    "inbox": ("inbox", inbox),
    "no-inbox": ("inbox", no_inbox),
    "reviews": ("reviews", reviews),
    "services": ("services", services),
    "service": ("service", service),
    "bare-service": ("service", bare_service),
}
