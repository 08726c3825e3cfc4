"""What a flag's file may say, and where a refusal points."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.act.flags.conftest import SPEC, spec

from airboss.act.flags import read_definition
from airboss.act.flags.documents import _check
from airboss.kernel.errors import Invalid
from airboss.kernel.yaml import load_one

EXAMPLE = """apiVersion: airboss/v1
kind: Flag
metadata: {name: tax.engine}
spec:
  owner: payments
  purpose: new VAT engine
  kind: release
  remove_by: 2027-02-01
  services: [checkout]
  bucketing: {version: v3, key: targetingKey}
  definition:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting:
      if:
        - {in: [{var: country}, [DE, AT]]}
        - "on"
        - null
"""


def test_the_example_is_read_with_everything_in_it() -> None:
    """A complete file becomes a definition and back again, digest included."""
    document = load_one(EXAMPLE.encode(), "flag.yaml")
    assert _check(document) == "tax.engine"
    made = read_definition("tax.engine", document.value["spec"])
    assert made.value_type == "boolean"
    assert type(made).from_json("tax.engine", made.to_json()) == made
    assert made.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("kind: release", "kind: forever", "flag.yaml:7:9", "release, experiment, ops, permission"),
        ("remove_by: 2027-02-01", "remove_by: soon", "flag.yaml:8:14", "a date"),
        ("version: v3", "version: v1", "flag.yaml:10:24", "v1"),
        ("state: ENABLED", "stat: ENABLED", "flag.yaml:12:11", "unknown field 'stat'"),
        ('"off": false', '"off": 3', "flag.yaml:13:35", "one type"),
        ('defaultVariant: "off"', 'defaultVariant: "of"', "flag.yaml:14:21", "no variant 'of'"),
        ('- "on"', '- "onn"', "flag.yaml:18:11", "'onn', which is no variant"),
        ("{in: [", "{inn: [", "flag.yaml:17:17", "no operator 'inn'"),
        ("- null", "- {fractional: [[on, 1.5], [off, 1]]}", "flag.yaml:19:24", "whole numbers"),
    ],
)
def test_a_fault_points_at_its_line(old: str, new: str, place: str, says: str) -> None:
    """Every fault is refused with file, line and column, and says what is wrong."""
    assert old in EXAMPLE
    with pytest.raises(Invalid) as caught:
        _check(load_one(EXAMPLE.replace(old, new).encode(), "flag.yaml"))
    assert caught.value.place == place
    assert says in caught.value.detail + (caught.value.way_out or "")


def test_a_fault_without_a_file_names_the_field() -> None:
    """Without a file the place is the field's path."""
    with pytest.raises(Invalid) as caught:
        read_definition("flag", spec(targeting={"if": [{"nope": []}, "on"]}))
    assert caught.value.place == "spec.definition.targeting.if[0].nope"


def test_floats_stay_floats() -> None:
    """A number flag with any float is a float flag, so that canonical JSON's 1 is served as 1.0."""
    assert read_definition("f", spec(variants={"on": 1.0, "off": 0}, defaultVariant="on")).value_type == "float"
    assert read_definition("f", spec(variants={"on": 1, "off": 0}, defaultVariant="on")).value_type == "integer"


def test_the_digest_covers_what_decides_answers_and_nothing_else() -> None:
    """Another purpose is the same payload; another rule or another bucketing is not."""
    base = read_definition("f", SPEC)
    assert read_definition("f", {**SPEC, "purpose": "other words"}).digest == base.digest
    assert read_definition("f", {**SPEC, "bucketing": {"version": "v2"}}).digest != base.digest
    assert read_definition("f", spec(targeting={"if": [True, "on"]})).digest != base.digest


def test_the_shipped_example_is_valid() -> None:
    """The flag of the examples is accepted as it is."""
    example = Path(__file__).parents[3] / "examples" / "flag.yaml"
    assert _check(load_one(example.read_bytes(), "flag.yaml")) == "tax.engine"
