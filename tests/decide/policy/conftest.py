"""What the tests of policy share: packs made of a few lines, and facts laid over the fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from airboss.decide.policy import (
    Bundle,
    InlineEngine,
    Point,
    PolicyEngine,
    Ruling,
    WorkerEngine,
    fixture,
    masked_input,
    overlay,
    parse,
    rule_on,
)

Judge = Callable[..., Ruling]


def pack_bytes(*rules: str, name: str = "mine", layer: str = "organisation", tests: str = "") -> bytes:
    """A pack of rules given as `ID: when -> effect`, flow style."""
    lines = ["apiVersion: airboss/v1", "kind: PolicyPack", f"metadata: {{name: {name}}}"]
    lines += ["spec:", "  owner: platform", f"  layer: {layer}", "  rules:"]
    for number, rule in enumerate(rules):
        when, _, rest = rule.partition(" -> ")
        effect, *more = rest.split(" ;; ")
        lines += [f"    - id: R{number}", f"      title: Rule {number}", "      when: >-", f"        {when}"]
        lines += [f"      effect: {effect}", *(f"      {field}" for field in more)]
    return ("\n".join(lines) + "\n" + tests).encode()


def bundle_of(*rules: str, **options: str) -> Bundle:
    return Bundle(packs=(parse(pack_bytes(*rules, **options), "mine.yaml"),))


def input_of(over: Mapping[str, Any] | None = None, point: str = "start") -> bytes:
    return masked_input(Point(point), overlay(fixture(), over or {}))


@pytest.fixture(scope="session")
def inline() -> InlineEngine:
    return InlineEngine()


@pytest.fixture
def worker() -> Iterator[WorkerEngine]:
    engine = WorkerEngine()
    yield engine
    engine.close()


@pytest.fixture(params=["inline", "worker"])
def engine(request: pytest.FixtureRequest) -> Iterator[PolicyEngine]:
    """One contract, both adapters."""
    made: PolicyEngine = InlineEngine() if request.param == "inline" else WorkerEngine()
    yield made
    made.close()


@pytest.fixture
def judge(inline: InlineEngine) -> Judge:
    """Judge rules on the fixture overlaid, in this process."""

    def go(*rules: str, over: Mapping[str, Any] | None = None, point: str = "start", **options: str) -> Ruling:
        bundle = bundle_of(*rules, **options)
        assert inline.check(bundle) == []
        return rule_on(inline, bundle, input_of(over, point))

    return go
