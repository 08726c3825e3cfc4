"""Files become documents, and every fault points at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from airboss.catalog import Catalog, Kinds, duration_s, percent
from airboss.decide.calendar import WINDOW
from airboss.kernel.errors import Invalid

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS = Kinds(Catalog(None, None, held=[WINDOW]).kinds())  # type: ignore[arg-type]  # parsing touches no store

SERVICE = """apiVersion: airboss/v1
kind: Service
metadata: {name: checkout}
spec:
  owner: payments
  tier: critical
  environments: [production]
"""


def test_the_example_files_are_read_in_the_order_of_applying():
    """Files given in any order come out with what others refer to first."""
    names = ["service.yaml", "calendar.yaml", "runbook-tax-engine-off.md", "organisation.yaml"]
    parsed = KINDS.parse_all([((EXAMPLES / name).read_bytes(), name) for name in names])
    assert [(one.kind, one.name) for one in parsed] == [
        ("Team", "payments"),
        ("Group", "sre"),
        ("Rota", "payments-oncall"),
        ("Environment", "production"),
        ("Connection", "edge-production"),
        ("Runbook", "tax-engine-off"),
        ("Service", "checkout"),
        ("SLI", "checkout-errors"),
        ("SLI", "checkout-latency"),
        ("SLO", "checkout-availability"),
        ("Window", "business-hours"),
        ("Window", "year-end-freeze"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "place", "code", "says"),
    [
        ("tier: critical", "teir: critical", "6:3", "unknown-field", "'teir'"),
        ("tier: critical", "tier: vital", "6:9", "bad-value", "'vital' is not one of"),
        ("  tier: critical\n", "", "5:3", "missing-field", "spec.tier"),
        ("owner: payments", "owner: [payments]", "5:10", "wrong-type", "spec.owner"),
        ("owner: payments", "owner: Payments Team", "5:10", "bad-name", "'Payments Team' cannot be a name"),
        ("owner: payments", "owner: payments\n  owner: tax", "6:3", "bad-yaml", "twice"),
        ("environments: [production]", "environments: []", "7:17", "bad-value", "spec.environments"),
        ("environments: [production]", "environments: [a, b, a]", "7:17", "doubled", "'a' stands twice"),
        ("kind: Service", "kind: Servise", "2:7", "unknown-kind", "'Servise'"),
        ("airboss/v1", "airboss/v9", "1:13", "unknown-kind", "airboss/v9"),
        ("kind: Service\n", "", "1:1", "bad-document", "kind is missing"),
        ("metadata: {name: checkout}", "metadata: {name: -checkout}", "3:18", "bad-name", "metadata.name"),
        ("tier: critical", "tier: critical\n  stateful: maybe", "7:13", "wrong-type", "'maybe'"),
    ],
)
def test_every_fault_names_its_place(old, new, place, code, says):
    """A mistyped service is refused with the line and column of the mistake, a stable code and the word at fault."""
    with pytest.raises(Invalid) as caught:
        KINDS.parse(SERVICE.replace(old, new).encode(), "service.yaml")
    assert (caught.value.place, caught.value.code) == (f"service.yaml:{place}", code)
    assert says in caught.value.detail


def test_several_faults_are_told_by_the_first_in_the_file():
    """The earliest line is shown first, and how many more there are."""
    with pytest.raises(Invalid) as caught:
        KINDS.parse(SERVICE.replace("payments", "A B").replace("critical", "vital").encode(), "s.yaml")
    assert caught.value.place == "s.yaml:5:10"
    assert "(and 1 more)" in caught.value.detail


def test_a_number_stands_for_text_as_it_was_written():
    """A name such as 2.10 keeps its last zero."""
    (parsed,) = KINDS.parse(SERVICE.replace("name: checkout", "name: 2.10").encode(), "s.yaml")
    assert parsed.name == "2.10"


@pytest.mark.parametrize("secret", ["hunter2", "{env: A B}", "{env: A, file: b}", "[x]"])
def test_a_secret_in_a_connection_is_refused(secret):
    """Secrets come by reference only, and the refusal does not repeat them."""
    text = f"apiVersion: airboss/v1\nkind: Connection\nmetadata: {{name: edge}}\nspec: {{envoy: {{token: {secret}}}}}\n"
    with pytest.raises(Invalid) as caught:
        KINDS.parse(text.encode(), "c.yaml")
    assert caught.value.code == "secret-in-file"
    assert "hunter2" not in str(caught.value)


def test_a_name_given_twice_is_refused_with_both_places():
    """One run of apply cannot mean two things by one name."""
    with pytest.raises(Invalid) as caught:
        KINDS.parse_all([(SERVICE.encode(), "a.yaml"), (SERVICE.encode(), "b.yaml")])
    assert caught.value.place == "b.yaml:1:1"
    assert "a.yaml:1:1" in caught.value.detail


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("# only text\n", "r.md:1:1"),
        ("---\nname: x\n", "r.md:1:1"),
        ("---\napiVersion: airboss/v1\nkind: Runbook\nname: x\nowner: t\nfor: [party]\n---\ndo it\n", "r.md:6:7"),
        ("---\napiVersion: airboss/v1\nkind: Runbook\nname: x\nowner: t\nfor: [triage]\n---\n", "r.md:2:1"),
    ],
)
def test_markdown_keeps_its_line_numbers(text, place):
    """Front matter faults point at the line of the Markdown file."""
    with pytest.raises(Invalid) as caught:
        KINDS.parse(text.encode(), "r.md")
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2m", 120), ("4h", 14_400), ("10d", 864_000), ("1h30m", 5_400)]
)
def test_durations(text, seconds):
    """Durations are read as people write them."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "2", "2 m", "-2m", "1.5h", "30m1h", "9999d", "2M"])
def test_bad_durations(text):
    """What is not a duration is not guessed at."""
    with pytest.raises(ValueError, match=r"duration|longer"):
        duration_s(text)


def test_percentages_are_exact():
    """0.05 % is five of ten thousand and nothing near it."""
    assert str(percent("0.05%")) == "0.05"
    with pytest.raises(ValueError, match="more than"):
        percent("100.1%")
