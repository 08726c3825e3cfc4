"""What moves a flag, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.act.flags.conftest import SPEC, spec

from airboss.act.flags import FlagInspector, Flags
from airboss.act.flags.rules import preview
from airboss.kernel.errors import Forbidden, Invalid, NotFound, Refused
from airboss.people.access import SYSTEM, Actor
from airboss.records.journal import Journal
from airboss.records.store import Store
from airboss.sdk.evaluator import compile_snapshot

ONE, TWO = "chg_one", "chg_two"


def expose(flags: Flags, percent: float, *, change: str = ONE, key: str | None = None, **more: Any) -> Any:
    return flags.set_exposure(
        "tax.engine", change, percent, "on", "off", key=key or f"{change}-{percent}", actor=SYSTEM, **more
    )


def shares(flags: Flags, store: Store, environment: str = "production") -> dict[str | None, int]:
    """Of 2,000 people, how many get which variant."""
    with store.read() as connection:
        compiled = flags.served(connection, environment=environment).compiled
    counts: dict[str | None, int] = {}
    for number in range(2000):
        variant = compiled.evaluate("tax.engine", f"user-{number}", {}).variant
        counts[variant] = counts.get(variant, 0) + 1
    return counts


@pytest.fixture
def defined(flags: Flags, engineer: Actor) -> Flags:
    flags.put("tax.engine", SPEC, actor=engineer)
    return flags


def test_a_ramp_goes_up_through_and_becomes_the_default(defined: Flags, store: Store, journal: Journal) -> None:
    """Exposure grows, everybody has the new side at 100 %, and finishing leaves it for good, each with its fact."""
    for percent in (1, 10, 50, 100):
        state = expose(defined, percent)
        assert state.percent == percent
        assert not state.killed
    assert shares(defined, store) == {"on": 2000}
    state = defined.finish(ONE, flag="tax.engine", key="f1", actor=SYSTEM)
    assert (state.percent, state.serves) == (100, "on")
    assert defined.finish(ONE, flag="tax.engine", key="f2", actor=SYSTEM) == state
    with store.read() as connection:
        facts = journal.of(connection, "flag/tax.engine")
        assert [fact.type for fact in facts] == ["flag.defined", *["flag.exposed"] * 4, "flag.finished"]
        answer = defined.served(connection).compiled.evaluate("tax.engine", "u", {})
        assert (answer.variant, answer.reason, answer.arm) == ("on", "STATIC", None)
        assert defined.observe(connection, "tax.engine", change_id=ONE).percent == 100


def test_a_key_is_carried_out_once(defined: Flags, store: Store, journal: Journal) -> None:
    """A late repetition of an older effect changes nothing and records nothing."""
    expose(defined, 1, key="a")
    expose(defined, 10, key="b")
    assert expose(defined, 1, key="a").percent == 10
    with store.read() as connection:
        assert len(journal.of(connection, "flag/tax.engine")) == 3


def test_nobody_moves_out_while_a_ramp_grows(defined: Flags, store: Store) -> None:
    """Whoever is in at 10 % is in at 50 %, and reverting takes everybody back."""
    inside: set[str] = set()
    for percent in (0.5, 10, 50):
        expose(defined, percent)
        with store.read() as connection:
            compiled = defined.served(connection).compiled
        now = {f"u{n}" for n in range(3000) if compiled.evaluate("tax.engine", f"u{n}", {}).value is True}
        assert inside <= now
        inside = now
    state = defined.revert(ONE, flag="tax.engine", key="r", actor=SYSTEM)
    assert state.percent == 0
    assert shares(defined, store) == {"off": 2000}


def test_a_finished_change_can_still_be_taken_back(defined: Flags, store: Store) -> None:
    """Reverting after finish restores the old side; reverting what never began does nothing."""
    expose(defined, 100)
    defined.finish(ONE, flag="tax.engine", key="f", actor=SYSTEM)
    assert defined.revert(TWO, flag="tax.engine", key="never", actor=SYSTEM).serves == "on"
    assert defined.revert(ONE, flag="tax.engine", key="r", actor=SYSTEM).serves == "off"
    assert defined.revert(ONE, flag="tax.engine", key="r2", actor=SYSTEM).serves == "off"
    assert shares(defined, store) == {"off": 2000}


def test_one_ramp_at_a_time(defined: Flags) -> None:
    """A second change is refused and told which one holds the flag; after that one's end it may."""
    expose(defined, 10)
    with pytest.raises(Refused, match=ONE) as caught:
        expose(defined, 1, change=TWO)
    assert caught.value.code == "flag-ramped"
    defined.revert(ONE, flag="tax.engine", key="r", actor=SYSTEM)
    assert expose(defined, 1, change=TWO).percent == 1


def test_environments_are_apart(defined: Flags, store: Store) -> None:
    """A ramp at 100 % in staging exposes nobody in production."""
    expose(defined, 100, environment="staging")
    assert shares(defined, store, "staging") == {"on": 2000}
    assert shares(defined, store) == {"off": 2000}


def test_what_a_ramp_cannot_be(defined: Flags) -> None:
    """Unknown flags, unknown variants, a wrong old side, percentages too fine, and finishing early are refused."""
    with pytest.raises(NotFound):
        defined.set_exposure("nope", ONE, 1, "on", "off", key="1", actor=SYSTEM)
    with pytest.raises(Invalid, match="no variant 'up'"):
        defined.set_exposure("tax.engine", ONE, 1, "up", "off", key="2", actor=SYSTEM)
    with pytest.raises(Refused, match="people get 'off'"):
        defined.set_exposure("tax.engine", ONE, 1, "off", "on", key="3", actor=SYSTEM)
    with pytest.raises(Invalid, match="not an exposure"):
        expose(defined, 0.0001)
    with pytest.raises(Invalid, match="not an exposure"):
        expose(defined, 101)
    expose(defined, 50)
    with pytest.raises(Refused, match="50 %, not 100 %"):
        defined.finish(ONE, flag="tax.engine", key="4", actor=SYSTEM)


def test_the_kill_switch_beats_everything(defined: Flags, engineer: Actor, reader: Actor, store: Store) -> None:
    """A kill serves the off side to all, with no arm; lifting it brings the ramp back; it takes a reason and a right."""
    expose(defined, 100)
    with pytest.raises(Forbidden):
        defined.kill("tax.engine", "x", actor=reader)
    with pytest.raises(Invalid, match="reason"):
        defined.kill("tax.engine", "  ", actor=engineer)
    state = defined.kill("tax.engine", "VAT is wrong in AT", actor=engineer)
    assert (state.killed, state.percent, state.ramp_percent, state.serves) == (True, 0, 100, "off")
    with store.read() as connection:
        answer = defined.served(connection).compiled.evaluate("tax.engine", "u", {})
    assert (answer.value, answer.reason, answer.arm, answer.metadata["airboss.killed"]) == (False, "STATIC", None, True)
    assert defined.unkill("tax.engine", actor=engineer).percent == 100
    assert shares(defined, store) == {"on": 2000}


def test_the_reason_of_a_kill_lies_outside_the_chain(
    defined: Flags, engineer: Actor, store: Store, journal: Journal
) -> None:
    """The fact holds a reference; the words are in the journal's texts."""
    defined.kill("tax.engine", "Anna saw it", actor=engineer)
    with store.read() as connection:
        fact = journal.of(connection, "flag/tax.engine")[-1]
        assert b"Anna" not in fact.stored
        assert journal.read_text(connection, fact.body["reason"]) == "Anna saw it"


def test_a_killed_flag_without_an_off_side_asks_for_it(flags: Flags, engineer: Actor) -> None:
    """Where nothing says which variant is off, the kill is refused with the choice."""
    flags.put("colour", spec(variants={"red": "r", "blue": "b"}, defaultVariant="red"), actor=engineer)
    with pytest.raises(Refused, match="off side"):
        flags.kill("colour", "ugly", actor=engineer)
    assert flags.kill("colour", "ugly", actor=engineer, variant="blue").serves == "blue"


def test_edits_that_move_people_are_refused(defined: Flags, engineer: Actor) -> None:
    """Words may change; who gets what may not, without a change that clears it; and not at all during a ramp."""
    assert defined.put("tax.engine", SPEC, actor=engineer).outcome == "unchanged"
    assert defined.put("tax.engine", {**SPEC, "purpose": "VAT, again"}, actor=engineer).outcome == "changed"
    more = spec(variants={"on": True, "off": False, "spare": False})
    assert defined.put("tax.engine", more, actor=engineer).revision == 3
    with pytest.raises(Refused, match="100 % go from 'off' to 'on'") as caught:
        defined.put("tax.engine", spec(**{**more["definition"], "defaultVariant": "on"}), actor=engineer)
    assert caught.value.code == "flag-edit-moves-people"
    with pytest.raises(Refused, match="deals everybody anew"):
        defined.put("tax.engine", {**more, "bucketing": {"version": "v2"}}, actor=engineer)
    with pytest.raises(Refused):
        defined.put("tax.engine", SPEC, actor=engineer)
    ruled = {**more, "definition": {**more["definition"], "targeting": {"if": [{"var": "beta"}, "on"]}}}
    assert defined.put("tax.engine", ruled, actor=engineer, clearance=TWO).outcome == "changed"
    expose(defined, 1)
    with pytest.raises(Refused, match=ONE):
        defined.put("tax.engine", more, actor=engineer, clearance=TWO)
    assert defined.put("tax.engine", {**ruled, "purpose": "x"}, actor=engineer).outcome == "changed"


def test_applying_the_file_again_after_a_ramp_takes_nothing_back(defined: Flags, engineer: Actor, store: Store) -> None:
    """The file still says `off`; the finished change stands."""
    expose(defined, 100)
    defined.finish(ONE, flag="tax.engine", key="f", actor=SYSTEM)
    assert defined.put("tax.engine", SPEC, actor=engineer).outcome == "unchanged"
    assert defined.put("tax.engine", {**SPEC, "owner": "tax"}, actor=engineer).outcome == "changed"
    assert shares(defined, store) == {"on": 2000}


def test_the_snapshot_moves_with_the_revision(defined: Flags, store: Store) -> None:
    """Bytes and ETag are the same until something changes; the bytes compile to what `served` compiled."""
    with store.read() as connection:
        first = defined.snapshot(connection)
        assert defined.snapshot(connection) == first
    expose(defined, 50)
    with store.read() as connection:
        etag, body = defined.snapshot(connection)
        compiled = defined.served(connection).compiled
    assert etag != first[0]
    parsed = compile_snapshot(json.loads(body))
    assert not parsed.faults
    for number in range(200):
        assert parsed.evaluate("tax.engine", f"u{number}", {}) == compiled.evaluate("tax.engine", f"u{number}", {})


def test_targeted_people_are_in_no_arm(flags: Flags, engineer: Actor, store: Store) -> None:
    """Who is answered by a rule is not split: no arm; the rest is, with the share asked for."""
    flags.put("tax.engine", spec(targeting={"if": [{"==": [{"var": "team"}, "us"]}, "on"]}), actor=engineer)
    expose(flags, 10)
    with store.read() as connection:
        compiled = flags.served(connection).compiled
    ours = compiled.evaluate("tax.engine", "u", {"team": "us"})
    assert (ours.variant, ours.reason, ours.arm) == ("on", "TARGETING_MATCH", None)
    arms = [compiled.evaluate("tax.engine", f"u{n}", {}).arm for n in range(5000)]
    canary = sum("/canary/" in arm for arm in arms if arm)
    assert None not in arms
    assert 400 < canary < 600


def test_the_export_is_plain_flagd_that_answers_alike(flags: Flags, engineer: Actor, store: Store) -> None:
    """flagd-core on the exported document gives everybody the variant our evaluator gives, at every stage."""
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    flags.put("tax.engine", spec(targeting={"if": [{"==": [{"var": "team"}, "us"]}, "on"]}), actor=engineer)
    for percent in (0, 0.5, 50, 100):
        expose(flags, percent)
        with store.read() as connection:
            document = flags.export(connection)
            compiled = flags.served(connection).compiled
        core = FlagdCore()
        core.set_flags(json.dumps(document))
        for number in range(300):
            for key, context in ((f"u{number}", {}), (f"u{number}", {"team": "us"}), (None, {}), ("", {"team": "x"})):
                theirs = core.resolve_boolean_value("tax.engine", False, EvaluationContext(key, context))
                assert compiled.evaluate("tax.engine", key, context).variant == theirs.variant
        assert document["flags"]["tax.engine"]["metadata"]["airboss.change.id"] == ONE
    flags.kill("tax.engine", "stop", actor=engineer)
    with store.read() as connection:
        core.set_flags(json.dumps(flags.export(connection)))
    assert core.resolve_boolean_value("tax.engine", True, EvaluationContext("u", {"team": "us"})).value is False


def test_every_fact_carries_the_digest_of_the_state(defined: Flags, engineer: Actor, store: Store) -> None:
    """After each act the subject's digest is that of the rows, so a row changed by hand shows."""
    import sqlalchemy as sa

    from airboss.records.store import subject

    def kept() -> tuple[str, str]:
        with store.read() as connection:
            written = connection.execute(
                sa.select(subject.c.state_digest).where(subject.c.subject == "flag/tax.engine")
            ).scalar_one()
            return written, defined.state_digest(connection, "tax.engine")

    acts = [
        lambda: expose(defined, 100),
        lambda: defined.kill("tax.engine", "x", actor=engineer),
        lambda: defined.unkill("tax.engine", actor=engineer),
        lambda: defined.finish(ONE, flag="tax.engine", key="f", actor=SYSTEM),
        lambda: defined.revert(ONE, flag="tax.engine", key="r", actor=SYSTEM),
    ]
    for act in acts:
        act()
        written, computed = kept()
        assert written == computed


def test_the_preview_counts_who_moves() -> None:
    """A three-way ramp that takes `on` users away is seen: the share that loses the variant is told."""

    def split(*table: list[Any]) -> dict[str, Any]:
        return {
            "state": "ENABLED",
            "variants": {"b": "b", "on": "on", "off": "off"},
            "defaultVariant": "off",
            "targeting": {"fractional": list(table)},
        }

    seen = preview(
        "f", split(["b", 10], ["on", 10], ["off", 80]), split(["b", 25], ["on", 25], ["off", 50]), people=50_000
    )
    assert seen.out_of_pct("on") == pytest.approx(10, abs=1.5), "every user of `on` loses it"
    assert any("'on' to 'b'" in sentence and "people" in sentence for sentence in seen.sentences)
    grown = preview("f", split(["on", 10], ["off", 90]), split(["on", 25], ["off", 75]))
    assert grown.out_of_pct("on") == 0
    assert grown.into_pct("on") == pytest.approx(15, abs=1.5)
    assert not grown.everybody


def test_the_inspector_says_who_becomes_exposed(defined: Flags, store: Store, engineer: Actor) -> None:
    """It pins the definition's digest, tells the share, finds a jump to everybody, and refuses an unknown flag."""
    from airboss.changes import Expose, Spec, Stage, Target

    def change(name: str, *percents: float, old: str = "off") -> Any:
        steps = tuple(Expose(percent=percent, least_s=1, most_s=2) for percent in percents)
        target = Target(kind="flag", params={"name": name, "old": old, "new": "on"})
        stage = Stage(environment="production", needs=None, target=target, gates=None, steps=steps)
        spec = object.__new__(Spec)
        object.__setattr__(spec, "stages", (stage,))
        object.__setattr__(spec, "services", ("checkout",))
        return spec

    inspector = FlagInspector(defined, people={"checkout": 50_000}.get)
    with store.read() as connection:
        seen = inspector.inspect(change("tax.engine", 1, 10, 50, 100), connection)
        assert inspector.pins(change("tax.engine", 1, 10, 50, 100), connection) == seen.pinned
        digest = defined.observe(connection, "tax.engine").digest
        assert seen.pinned == {"flag/tax.engine": digest}
        assert [finding.code for finding in seen.findings] == ["flag-exposure"]
        assert "50,000 people" in seen.findings[0].message
        at_once = inspector.inspect(change("tax.engine", 100), connection)
        assert "flag-everybody" in [finding.code for finding in at_once.findings if finding.severity == "danger"]
        with pytest.raises(Refused) as caught:
            inspector.inspect(change("nope", 1), connection)
        assert caught.value.place == "spec.rollout.stages[0].target.flag.name"
        with pytest.raises(Invalid, match="both sides"):
            inspector.inspect(change("tax.engine", 1, old="on"), connection)
    defined.put("tax.engine", {**SPEC, "purpose": "same payload"}, actor=engineer)
    with store.read() as connection:
        assert defined.observe(connection, "tax.engine").digest == digest


def test_the_right_to_define_is_asked_for(flags: Flags, reader: Actor, engineer: Actor) -> None:
    """A token that may only read flags cannot define one, nor can a viewer."""
    with pytest.raises(Forbidden):
        flags.put("tax.engine", SPEC, actor=reader)
    viewer = replace(engineer, role=type(engineer.role).VIEWER)
    with pytest.raises(Forbidden):
        flags.put("tax.engine", SPEC, actor=viewer)
