"""The catalog keeps what is applied, says what changed, and answers who owns what."""

from __future__ import annotations

import json

import pytest
from tests.changes.desk import ADMIN, DEV, EXAMPLES, Desk

from airboss.catalog import Catalog, Kinds
from airboss.catalog.rules import cycle
from airboss.kernel.errors import Forbidden, Invalid


@pytest.fixture
def desk(store, journal, clock, ids) -> Desk:
    return Desk(store, journal, clock, ids)


def _apply(desk: Desk, text: str, actor=ADMIN):
    (parsed,) = desk.kinds.parse(text.encode(), "x.yaml")
    return desk.kinds.apply(parsed, actor=actor)


def _service(name: str, depends_on: str = "") -> str:
    return (
        f"apiVersion: airboss/v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{owner: payments, tier: standard, environments: [production], depends_on: [{depends_on}]}}\n"
    )


def test_applying_again_records_nothing(desk):
    """The same file twice is one revision and one fact; an edit is the next of both, and the old one can be read."""
    assert _apply(desk, _service("tax")).outcome == "created"
    assert _apply(desk, _service("tax")).outcome == "unchanged"
    assert _apply(desk, _service("tax", "vat")).outcome == "changed"
    facts = desk.facts("service/tax")
    assert [(fact.type, fact.body["revision"]) for fact in facts] == [("service.changed", 1), ("service.changed", 2)]
    with desk.store.read() as connection:
        assert desk.catalog.service(connection, "tax").depends_on == ("vat",)
        assert desk.catalog.revision(connection, "Service", "tax", 1).value["spec"]["depends_on"] == []
        assert facts[1].body["digest_before"] == desk.catalog.revision(connection, "Service", "tax", 1).digest


def test_the_examples_on_an_empty_store(desk):
    """The organisation and service of the examples are applied, and what they name and is not there is warned about."""
    names = ("service.yaml", "organisation.yaml", "runbook-tax-engine-off.md")
    parsed = desk.kinds.parse_all([((EXAMPLES / name).read_bytes(), name) for name in names])
    applied = {one.name: one for one in desk.kinds.apply_all(parsed, actor=ADMIN)}
    assert applied["checkout"].warnings == (
        "depends_on: there is no service tax yet",
        "depends_on: there is no service inventory yet",
        "environments: there is no environment staging yet",
    )
    assert applied["checkout-availability"].warnings == ()
    assert applied["sre"].warnings == ("backup: there is no group or team platform-leads yet",)
    with desk.store.read() as connection:
        catalog: Catalog = desk.catalog
        service = catalog.service(connection, "checkout")
        assert (service.owner, service.tier, service.telemetry_name) == ("payments", "critical", "checkout")
        owners = ("service-owners", frozenset({"checkout", "nowhere"}))
        asked = {owners: {"dev-a", "dev-b"}, ("sre", frozenset()): {"sre-a", "sre-b"}, ("nobody", frozenset()): set()}
        assert catalog.seated(connection, asked) == asked
        assert catalog.members(connection, "sre") == {"sre-a", "sre-b"}
        assert catalog.members(connection, "payments") == {"dev-a", "dev-b"}
        assert catalog.members(connection, "payments-leads") == {"dev-a"}
        assert catalog.members(connection, "nobody") == frozenset()
        assert catalog.connection(connection, "edge-production").system == "envoy"
        assert [slo.target for slo in catalog.slos_of(connection, "checkout")] == [0.999]
        assert [(sli.name, sli.kind) for sli in catalog.slis_of(connection, "checkout")] == [
            ("checkout-errors", "ratio"),
            ("checkout-latency", "threshold"),
        ]
        assert catalog.runbook(connection, "tax-engine-off").body.startswith("# Switch")


def test_dependencies_in_a_circle_are_refused(desk):
    """A circle is refused at the name that closes it, with the way round; nothing of it is kept."""
    _apply(desk, _service("a", "b"))
    _apply(desk, _service("b", "c"))
    with pytest.raises(Invalid, match="dependencies go in a circle: c → a → b → c") as refusal:
        _apply(desk, _service("c", "a"))
    assert refusal.value.code == "circular-dependency"
    assert desk.facts("service/c") == []
    assert cycle({"a": ["a"]}, "a") == ("a", "a")
    assert cycle({"a": ["b"], "b": ["c"], "c": ["b"]}, "a") == ()


def test_only_those_who_may_apply(desk):
    """An engineer does not edit who owns what; nothing is kept of the attempt."""
    with pytest.raises(Forbidden):
        _apply(desk, _service("tax"), actor=DEV)
    assert desk.facts("service/tax") == []


def test_content_is_judged_by_the_room_that_knows_it(store, journal):
    """A validator given for a kind refuses a document before anything is applied."""

    def judge(document):
        document.refuse(("spec", "budgetingMethod"), "only Occurrences here", code="bad-slo")

    kinds = Kinds(Catalog(store, journal, validators={"SLO": judge}).kinds())
    with pytest.raises(Invalid) as caught:
        kinds.parse((EXAMPLES / "service.yaml").read_bytes(), "service.yaml")
    assert (caught.value.code, caught.value.place) == ("bad-slo", "service.yaml:36:20")


def test_every_row_is_what_its_last_fact_says(desk):
    """The verifier's digests match the facts, and a row altered by hand does not."""
    desk.furnish()
    with desk.store.read() as connection:
        digests = dict(desk.catalog.row_digests(connection))
    assert len(digests) == 14
    for subject, found in digests.items():
        assert _state_digest(desk.facts(subject)[-1]) == found
    with desk.store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE document SET revision = 7 WHERE name = 'checkout'")
    with desk.store.read() as connection:
        assert dict(desk.catalog.row_digests(connection))["service/checkout"] != digests["service/checkout"]


def _state_digest(fact) -> str:
    return json.loads(fact.stored)["state_digest"]
