"""The engine port: one contract for both adapters, and what only a process of its own can promise."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

import pytest
from tests.decide.policy.conftest import bundle_of, input_of, pack_bytes

from airboss.decide.policy import (
    Bundle,
    EngineFailed,
    InlineEngine,
    Outcome,
    PolicyEngine,
    WorkerEngine,
    default_pack,
    rule_on,
    test,
)

GOOD = "change.impact.users_percent > 5.0 -> {deny: {}}"
_LOOP = "[1,2,3,4,5,6,7,8,9,10].all(a, "
ENDLESS = _LOOP * 6 + "true" + ")" * 6 + " -> {deny: {}}"
_TIMES_8 = f".map(v, {' + '.join(['v'] * 8)})"
_ROUNDS = "".join(f"[1,2,3,4,5,6,7,8,9,10].all({name}, " for name in "abc")
SLOW = f'[change.title + "........"]{_TIMES_8 * 6}.exists(v, {_ROUNDS}!v.matches("A.*q.*x")))))' + " -> {warn: {}}"
"""A thousand searches through megabytes: seconds, within every budget of the engine."""
MONSTER = f'[change.title + "........"]{_TIMES_8 * 14}.exists(v, v == "")' + " -> {warn: {}}"
"""A string longer than any memory."""


def _ruling(engine: PolicyEngine, bundle: Bundle) -> Outcome:
    return rule_on(engine, bundle, input_of()).outcome


def test_contract_good(engine: PolicyEngine) -> None:
    """A good bundle has no faults and is judged, again and again, also after another one."""
    good, other = bundle_of(GOOD), bundle_of("true -> {deny: {}}")
    assert engine.check(good) == []
    assert [_ruling(engine, bundle) for bundle in (good, other, good)] == [Outcome.ALLOW, Outcome.BLOCK, Outcome.ALLOW]
    assert engine.name.startswith("cel-cpp")


def test_contract_faults(engine: PolicyEngine) -> None:
    """A bundle that cannot be used says which rule, which field and where, and is never judged."""
    bad = bundle_of(GOOD, "change.nope -> {deny: {}}")
    [fault] = engine.check(bad)
    assert (fault.rule, fault.field, fault.offset) == (1, "when", 7)
    with pytest.raises(EngineFailed, match="no usable bundle"):
        engine.judge(bad, input_of())
    assert _ruling(engine, bad) is Outcome.BLOCK


def test_contract_same_answer() -> None:
    """Both adapters give the same answer to the same bytes."""
    inline, worker = InlineEngine(), WorkerEngine()
    try:
        bundle = Bundle(packs=(default_pack(),))
        for point in ("submit", "approve", "start", "promote", "complete"):
            data = input_of({"change": {"impact": {"users_percent": 40}}, "services": [{"tier": "critical"}]}, point)
            assert inline.judge(bundle, data) == worker.judge(bundle, data)
    finally:
        worker.close()


def test_contract_loop_budget(engine: PolicyEngine) -> None:
    """A million rounds in one expression are stopped by the engine's own budget, which is an error of that rule."""
    ruling = rule_on(engine, bundle_of(ENDLESS), input_of())
    assert ruling.outcome is Outcome.BLOCK
    assert ruling.denials[0].kind == "error"
    assert "budget" in ruling.denials[0].message
    assert _ruling(engine, bundle_of(GOOD)) is Outcome.ALLOW


@pytest.mark.parametrize("depth", [40, 2000])
def test_contract_deep_nesting(engine: PolicyEngine, depth: int) -> None:
    """Nesting beyond the engine's depth is refused when the pack is loaded."""
    [fault] = engine.check(bundle_of("(" * depth + "true" + ")" * depth + " -> {deny: {}}"))
    assert "recursion" in fault.detail or "4,096" in fault.detail
    assert _ruling(engine, bundle_of(GOOD)) is Outcome.ALLOW


def test_contract_catastrophic_pattern(engine: PolicyEngine) -> None:
    """Patterns run in linear time."""
    rule = """change.title.matches("(a+)+$") -> {deny: {}}"""
    ruling = rule_on(engine, bundle_of(rule), input_of({"change": {"title": "a" * 50_000 + "!"}}))
    assert ruling.outcome is Outcome.ALLOW


@pytest.mark.parametrize("rule", [SLOW, MONSTER], ids=["slow", "monster"])
def test_string_blow_up_ends_the_worker_and_only_that_judgement(rule: str) -> None:
    """A policy that eats time or memory is ended at the deadline or the limit; the next decision is an ordinary one."""
    worker = WorkerEngine(deadline_s=0.1)
    try:
        bundle = bundle_of(rule)
        assert worker.check(bundle) == []
        started = time.monotonic()
        ruling = rule_on(worker, bundle, input_of())
        assert time.monotonic() - started < 3
        assert ruling.outcome is Outcome.BLOCK
        assert ruling.denials[0].message.startswith("policy engine ")
        assert ruling.denials[0].kind == "engine"
        assert worker.respawned == 1
        assert _ruling(worker, bundle_of(GOOD)) is Outcome.ALLOW
    finally:
        worker.close()


def test_memory_limit() -> None:
    """A policy that eats the memory ends its worker, not the server, even when nobody counts the time."""
    worker = WorkerEngine(deadline_s=60)
    try:
        ruling = rule_on(worker, bundle_of(MONSTER), input_of())
        assert ruling.outcome is Outcome.BLOCK
        assert ruling.denials[0].kind in {"engine", "error"}
        assert _ruling(worker, bundle_of(GOOD)) is Outcome.ALLOW
    finally:
        worker.close()


def test_killed_between_and_during(worker: WorkerEngine) -> None:
    """A worker that was killed fails one judgement closed, and the next has a new worker."""
    bundle = bundle_of(GOOD)
    assert _ruling(worker, bundle) is Outcome.ALLOW
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    ruling = rule_on(worker, bundle, input_of())
    assert ruling.outcome is Outcome.BLOCK
    assert "signal 9" in ruling.denials[0].message
    assert _ruling(worker, bundle) is Outcome.ALLOW
    assert worker.pid not in {None, first}


def test_hung(worker: WorkerEngine) -> None:
    """A worker that does not answer is ended at the deadline."""
    bundle = bundle_of(GOOD)
    assert _ruling(worker, bundle) is Outcome.ALLOW
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    started = time.monotonic()
    ruling = rule_on(worker, bundle, input_of())
    assert 0.2 < time.monotonic() - started < 2
    assert ruling.outcome is Outcome.BLOCK
    assert "gave no answer within 250 ms" in ruling.denials[0].message
    assert _ruling(worker, bundle) is Outcome.ALLOW


def test_threads_share_one_worker(worker: WorkerEngine) -> None:
    """Answers reach the thread that asked, however many ask at once."""
    strict, light = bundle_of("true -> {deny: {}}"), bundle_of(GOOD)
    wrong: list[object] = []

    def ask(bundle: Bundle, expected: Outcome) -> None:
        wrong.extend(found for _ in range(40) if (found := _ruling(worker, bundle)) is not expected)

    threads = [
        threading.Thread(target=ask, args=pair) for pair in [(strict, Outcome.BLOCK), (light, Outcome.ALLOW)] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert worker.respawned == 0


def test_old_bundles_come_back(worker: WorkerEngine) -> None:
    """The worker keeps a few bundles; one it has let go is loaded again."""
    bundles = [bundle_of(f"change.impact.users_percent > {n}.0 -> {{deny: {{}}}}") for n in range(5, 12)]
    for bundle in (*bundles, *bundles):
        assert _ruling(worker, bundle) is Outcome.ALLOW
    assert worker.respawned == 0


def test_the_worker_ends_with_its_input(worker: WorkerEngine) -> None:
    """A worker whose parent closed the pipe goes by itself, and its environment holds no secrets."""
    os.environ["AIRBOSS_TEST_SECRET"] = "secret"
    try:
        assert _ruling(worker, bundle_of(GOOD)) is Outcome.ALLOW
    finally:
        del os.environ["AIRBOSS_TEST_SECRET"]
    process = worker._process
    assert process is not None
    with open(f"/proc/{process.pid}/environ", "rb") as environment:  # noqa: PTH123
        assert b"SECRET" not in environment.read()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=5) == 0


def test_a_heavy_pack_is_refused_before_it_is_in_force(worker: WorkerEngine) -> None:
    """A pack that the engine gives up on is refused when it is tried, for in force it would block everything."""
    [report] = test([("heavy.yaml", pack_bytes(MONSTER))], engine=worker)
    assert [problem.code for problem in report.problems] == ["policy-too-heavy"]
    assert not report.good


@pytest.mark.parametrize("interpreter", ["/bin/false", "/nowhere/python"])
def test_a_worker_that_does_not_come_up_blocks_with_its_reason(
    interpreter: str, worker: WorkerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies at once, and one that cannot be started at all; when it can again, the next decision is ordinary."""
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", interpreter)
        ruling = rule_on(worker, bundle_of(GOOD), input_of())
    assert ruling.outcome is Outcome.BLOCK
    [denial] = ruling.denials
    assert denial.kind == "engine"
    assert "could not be started" in denial.message or "ended without an answer" in denial.message
    assert _ruling(worker, bundle_of(GOOD)) is Outcome.ALLOW


def test_a_huge_list_is_answered_or_refused_within_the_deadline(worker: WorkerEngine) -> None:
    """Facts with a hundred thousand entries never hang a decision; the next one is ordinary."""
    bundle = bundle_of("change.labels.all(a, change.labels.exists(b, a == b)) -> {deny: {}}")
    assert worker.check(bundle) == []
    started = time.monotonic()
    ruling = rule_on(worker, bundle, input_of({"change": {"labels": [f"label-{n}" for n in range(100_000)]}}))
    assert time.monotonic() - started < 3
    assert ruling.outcome is Outcome.BLOCK
    assert ruling.denials[0].kind in {"engine", "error"}
    assert _ruling(worker, bundle_of(GOOD)) is Outcome.ALLOW


@pytest.mark.parametrize("rule", [SLOW, MONSTER], ids=["slow", "monster"])
def test_an_explanation_of_a_hostile_policy_ends_too(rule: str, worker: WorkerEngine) -> None:
    """Asking what would clear a rule asks it many times; that is bounded as a judgement is."""
    bundle = bundle_of(rule)
    assert worker.check(bundle) == []
    started = time.monotonic()
    with contextlib.suppress(EngineFailed):  # or the rule is told to be in error
        worker.explain(bundle, input_of(), [0])
    assert time.monotonic() - started < 5
    assert _ruling(worker, bundle_of(GOOD)) is Outcome.ALLOW
