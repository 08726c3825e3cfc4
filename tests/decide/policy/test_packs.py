"""Reading packs: what is refused, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.decide.policy.conftest import pack_bytes

from airboss.decide.approvals import choices_of
from airboss.decide.policy import (
    PROFILES,
    Bundle,
    InlineEngine,
    Layer,
    Mode,
    Point,
    check,
    default_pack,
    fixture,
    masked_input,
    need_words,
    parse,
    parse_all,
    rule_on,
)
from airboss.decide.policy.model import EFFECTS, Obligate, RequireApproval, RequireEvidence, Schedule
from airboss.decide.policy.packs import SECTIONS
from airboss.decide.policy.vocabulary import EVIDENCE
from airboss.kernel.errors import Invalid

HEAD = """\
apiVersion: airboss/v1
kind: PolicyPack
metadata: {name: mine, version: 2.10}
spec:
  owner: platform
  layer: organisation
  rules:
"""
RULE = """\
    - id: ONE
      title: One
      when: change.emergency
      effect: {deny: {}}
"""


def _pack(rules: str = RULE, tests: str = "", layer: str = "organisation") -> bytes:
    return (HEAD.replace("organisation", layer) + rules + tests).encode()


def test_a_pack_is_read() -> None:
    """Names, defaults and every field of a rule arrive."""
    pack = parse(
        _pack(
            """\
    - id: ONE
      title: One
      at: [start, promote]
      when: change.emergency
      mode: warn
      owner: sre
      link: https://example.com/one
      expires: 2027-01-01T00:00:00Z
      effect: {obligate: {canary: true, bake_least: 10m, largest_step: 25%}}
    - id: TWO
      title: Two
      when: change.emergency
      effect: {require_approval: {any_of: [{group: sre}, {group: leads, least: 2}], distinct_from: [requester], sla: 2d}}
    - {id: THREE, title: Three, when: change.emergency, effect: {require_evidence: {type: ci, max_age: 24h}}}
    - {id: FOUR, title: Four, when: change.emergency, effect: {schedule: {windows: [business-hours]}}}
"""
        ),
        "p.yaml",
    )
    assert (pack.name, pack.version, pack.owner, pack.layer) == ("mine", "2.10", "platform", Layer.ORGANISATION)
    one, two, three, four = pack.rules
    assert one.at == (Point.START, Point.PROMOTE)
    assert (one.mode, one.owner, one.link, one.place) == (Mode.WARN, "sre", "https://example.com/one", "p.yaml:8:7")
    assert one.effect == Obligate(canary=True, bake_least_s=600, largest_step_percent=25.0)
    assert two.at == tuple(Point)
    assert two.owner == "platform"
    assert isinstance(two.effect, RequireApproval)
    assert (two.effect.of, two.effect.sla_s, two.effect.distinct_from) == ("any", 172800, {"requester"})
    assert three.effect == RequireEvidence(type="ci", max_age_s=86400)
    assert four.effect == Schedule(windows=("business-hours",))


@pytest.mark.parametrize(
    ("rules", "place", "says"),
    [
        (RULE + "      colour: red\n", "p.yaml:12:7", "no field colour"),
        (RULE.replace("title: One", "titel: One"), "p.yaml:8:7", "lacks title"),
        (RULE.replace("{deny: {}}", "{refuse: {}}"), "p.yaml:11:16", "not an effect"),
        (RULE.replace("{deny: {}}", "{deny: {}, warn: {}}"), "p.yaml:11:15", "exactly one"),
        (RULE.replace("{deny: {}}", "{deny: {hard: true}}"), "p.yaml:11:23", "no field hard"),
        (RULE.replace("{deny: {}}", "{set_tier: extreme}"), "p.yaml:11:26", "not a set_tier"),
        (RULE.replace("{deny: {}}", "{auto_approve: {up_to: high}}"), "p.yaml:11:38", "always needs a person"),
        (RULE.replace("{deny: {}}", "{require_evidence: {type: sbom}}"), "p.yaml:11:41", "not a type"),
        (RULE.replace("{deny: {}}", "{add_risk: {points: 0, reason: x}}"), "p.yaml:11:35", "from 1"),
        (RULE.replace("{deny: {}}", "{obligate: {}}"), "p.yaml:11:26", "obliges to nothing"),
        (RULE.replace("{deny: {}}", "{obligate: {largest_step: 0%}}"), "p.yaml:11:41", "not a share"),
        (RULE.replace("{deny: {}}", "{require_approval: {sla: 4h}}"), "p.yaml:11:34", "either all_of or any_of"),
        (
            RULE.replace("{deny: {}}", "{require_approval: {all_of: [{group: sre}], distinct_from: [friends]}}"),
            "p.yaml:11:75",
            "not known here",
        ),
        (RULE + RULE, "p.yaml:12:11", "stands twice"),
        (RULE + "      at: [deploy]\n", "p.yaml:12:12", "not known here"),
        (RULE + "      id: TWO\n", "p.yaml:12:7", "twice"),
        (RULE + "      expires: tomorrow\n", "p.yaml:12:16", "not a time"),
    ],
)
def test_refusals_name_the_place(rules: str, place: str, says: str) -> None:
    """What a rule may not say is refused at its line and column."""
    with pytest.raises(Invalid) as refused:
        parse(_pack(rules), "p.yaml")
    assert (refused.value.place, says in refused.value.detail) == (place, True), str(refused.value)


@pytest.mark.parametrize("layer", ["compliance", "team"])
def test_a_lower_layer_may_only_tighten(layer: str) -> None:
    """auto_approve belongs to those who may loosen."""
    with pytest.raises(Invalid, match="only tighten"):
        parse(_pack(RULE.replace("{deny: {}}", "{auto_approve: {}}"), layer=layer), "p.yaml")


@pytest.mark.parametrize(
    ("when", "place", "says"),
    [
        ("change.impact.user_percent > 5.0", "p.yaml:10:27", "undefined field 'user_percent'"),
        ("'change.emergency && chnage.emergency'", "p.yaml:10:34", "undeclared reference to 'chnage.emergency'"),
        ("change.impact.users_percent > 5", "p.yaml:10:41", "no matching overload"),
        ("change.title", "p.yaml:10:13", "gives string, not bool"),
        ("change.emergency &&", "p.yaml:10:32", "Syntax error"),
        (">-\n        change.emergency\n        || change.oops", "p.yaml:12:19", "undefined field 'oops'"),
        ("|\n        change.emergency\n          || change.oops", "p.yaml:12:21", "undefined field 'oops'"),
        ("dyn(change.emergency)", "p.yaml:10:13", "not bool"),
        ('"a.b.c"', "p.yaml:10:14", "undeclared reference to 'a.b.c'"),
        ("true" + " && true" * 700, "p.yaml:10:", "more than 4,096 characters"),
    ],
)
def test_cel_faults_are_shown_in_the_file(when: str, place: str, says: str) -> None:
    """A misspelt name, a wrong type or bad syntax is refused at load, at its line and column of the file."""
    [report] = check([("p.yaml", _pack(RULE.replace("change.emergency", when, 1)))])
    [problem] = report.problems
    assert problem.place.startswith(place), problem
    assert says in problem.detail, problem
    assert not report.good


def test_a_risk_rule_may_not_read_risk() -> None:
    """The first pass makes the risk, so it cannot read it."""
    rules = RULE.replace("{deny: {}}", "{set_tier: high}").replace("change.emergency", 'risk.tier == "low"')
    [report] = check([("p.yaml", _pack(rules))])
    assert "risk" in report.problems[0].detail
    assert report.problems[0].place == "p.yaml:10:13"


@pytest.mark.parametrize(
    ("when", "way_out"),
    [
        ("change.impact.user_percent > 5.0", "did you mean users_percent?"),
        ("chnage.emergency", "did you mean change?"),
        ("change.artifact.zzz == 'x'", "known here: version, digest"),
        ("change.impact.users_percent > 5", "write numbers that are compared with shares and rates with a point: 5.0"),
    ],
)
def test_a_misspelt_name_gets_its_way_out(when: str, way_out: str) -> None:
    """Whoever misspells a fact is told what there is."""
    [report] = check([("p.yaml", _pack(RULE.replace("change.emergency", when, 1)))])
    assert report.problems[0].way_out == way_out


def test_a_bad_message_is_shown_at_its_place() -> None:
    """Words are checked as strictly as conditions."""
    [report] = check([("p.yaml", _pack(RULE + "      message: '\"x\" + change.nmae'\n"))])
    assert report.problems[0].place == "p.yaml:12:30"
    assert report.problems[0].detail.startswith("message of ONE")


def test_every_fault_of_a_file_is_listed() -> None:
    """One run shows all expressions that cannot be used."""
    rules = RULE.replace("change.emergency", "nope") + RULE.replace("ONE", "TWO").replace("change.emergency", "neither")
    [report] = check([("p.yaml", _pack(rules))])
    assert [problem.place for problem in report.problems] == ["p.yaml:10:13", "p.yaml:14:13"]


@pytest.mark.parametrize(
    ("tests", "place"),
    [
        ("    - {name: x, at: submit, input: {change: {impct: {}}}, expect: {}}\n", "p.yaml:13:46"),
        ("    - {name: x, at: submit, input: {change: {emergency: maybe}}, expect: {}}\n", "p.yaml:13:46"),
        ("    - {name: x, at: submit, expect: {fired: [TWO]}}\n", "p.yaml:13:45"),
        ("    - {name: x, at: submit, expect: {outcome: fine}}\n", "p.yaml:13:47"),
        ("    - {name: x, at: submit, input: {risk: {tier: low}}, expect: {}}\n", "p.yaml:13:37"),
    ],
)
def test_tests_are_checked_too(tests: str, place: str) -> None:
    """A test that speaks of facts or rules that do not exist is refused at its place."""
    with pytest.raises(Invalid) as refused:
        parse(_pack(tests="  tests:\n" + tests), "p.yaml")
    assert refused.value.place == place, str(refused.value)


def test_packs_in_one_file_are_told_apart() -> None:
    """Each document of a file is a pack with its own bytes and its own lines."""
    two = _pack() + b"---\n" + _pack().replace(b"mine", b"other").replace(b"ONE", b"TWO")
    first, second = parse_all(two, "p.yaml")
    assert (first.name, second.name) == ("mine", "other")
    assert second.rules[0].place == "p.yaml:20:7"
    assert parse(second.data, "p.yaml").rules == second.rules
    assert first.digest != second.digest


def test_the_shipped_pack_is_named_and_layered() -> None:
    """What ships is a platform pack: an organisation stands above it."""
    pack = default_pack()
    assert (pack.name, pack.layer) == ("airboss-default", Layer.PLATFORM)


def test_every_effect_is_in_the_reference() -> None:
    """The page of effects names each effect, each evidence type and each layer, and no effect there is none of."""
    page = (Path(__file__).resolve().parents[3] / "docs/reference/policy-effects.md").read_text()
    table = {
        line.split("`")[1].partition(":")[0] for line in page.splitlines() if line.startswith("| `") and "{" in line
    }
    table |= {"set_tier"} if "| `set_tier: TIER`" in page else set()
    assert table == set(EFFECTS.values())
    for word in (*EVIDENCE, *SECTIONS, *PROFILES, *(layer.value for layer in Layer), *(mode.value for mode in Mode)):
        assert f"`{word}`" in page, word


APPROVAL = "true -> {{require_approval: {{{}}}}}"


def test_k_of_n_groups_are_asked_as_written() -> None:
    """Two of three groups become one choice of two, and the words say so."""
    rule = APPROVAL.format("any_of: [{group: sre}, {group: dba, covers: [plan]}, {group: net}], take: 2")
    pack = parse(pack_bytes(rule), "pack.yaml")
    ruling = rule_on(InlineEngine(), Bundle(packs=(pack,)), masked_input(Point.APPROVE, fixture()))
    [need] = ruling.approvals
    assert need_words(need).startswith("2 of these: 1 of sre or 1 of dba or 1 of net")
    [choice] = choices_of([need])
    assert (choice.take, [one.group for one in choice.of]) == (2, ["sre", "dba", "net"])
    assert [one.covers for one in choice.of] == [None, {"plan"}, None]


@pytest.mark.parametrize(
    "asked",
    [
        "all_of: [{group: sre}, {group: dba}], take: 2",
        "any_of: [{group: sre}, {group: dba}], take: 3",
        "any_of: [{group: sre}], take: 0",
        "all_of: [{group: sre, covers: [presentation]}]",
        "all_of: [{group: sre, covers: []}]",
    ],
)
def test_askings_nobody_can_answer_are_refused(asked: str) -> None:
    """More groups than there are, none, or a section no vote is bound to: refused at its place."""
    with pytest.raises(Invalid) as refused:
        parse(pack_bytes(APPROVAL.format(asked)), "pack.yaml")
    assert refused.value.place is not None
    assert refused.value.place.startswith("pack.yaml:")
