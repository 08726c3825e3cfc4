"""How long one policy decision takes: 50 rules, one shared activation, in this process and in the worker.

    python bench/policy.py [--rules 50] [--rounds 2000]

Goal: p50 of a decision by the worker ≤ 400 µs. Prints JSON: percentiles in microseconds, and the ratio to inline.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from airboss.decide.policy import (
    Bundle,
    InlineEngine,
    Point,
    WorkerEngine,
    fixture,
    masked_input,
    overlay,
    parse,
    rule_on,
)

CONDITIONS = (
    'services.exists(s, s.tier == "critical") && change.impact.users_percent > {n}.0',
    'change.kind == "service-release" && change.impact.users_percent > {n}.5 && !change.impact.reversible',
    'slos_known && slos.exists(s, s.budget_left <= -{n}.0) && !("reliability" in change.labels)',
    'change.environments.exists(e, e == "production") && change.impact.risks.security == "material"',
    "calendar.frozen && !change.emergency && history.service_failures_30d > {n}",
)


def pack(rules: int) -> bytes:
    lines = ["apiVersion: airboss/v1", "kind: PolicyPack", "metadata: {name: bench}", "spec:"]
    lines += ["  owner: bench", "  layer: organisation", "  rules:"]
    for n in range(rules):
        when = CONDITIONS[n % len(CONDITIONS)].format(n=n)
        effect = "{set_tier: high}" if n % 5 == 0 else "{deny: {}}" if n % 5 == 2 else "{warn: {}}"
        lines.append(f"    - {{id: R{n}, title: Rule {n}, when: {when!r}, effect: {effect}}}".replace("\\'", "''"))
    return "\n".join(lines).encode()


def measure(act: Callable[[], object], rounds: int) -> dict[str, float]:
    for _ in range(50):
        act()
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        act()
        times.append((time.perf_counter_ns() - started) / 1000)
    cuts = statistics.quantiles(times, n=100)
    return {"p50": round(cuts[49], 1), "p90": round(cuts[89], 1), "p99": round(cuts[98], 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2000)
    options = parser.parse_args()
    bundle = Bundle(packs=(parse(pack(options.rules), "bench.yaml"),))
    facts = overlay(fixture(), {"services": [{}, {"name": "tax"}, {"name": "stock"}]})
    data = masked_input(Point.START, facts)
    inline, worker = InlineEngine(), WorkerEngine()
    try:
        assert not inline.check(bundle)
        started = time.perf_counter()
        assert not worker.check(bundle)
        spawned_ms = (time.perf_counter() - started) * 1000
        found = {
            "rules": options.rules,
            "input_bytes": len(data),
            "spawn_and_compile_ms": round(spawned_ms, 1),
            "mask_us": measure(lambda: masked_input(Point.START, facts), options.rounds),
            "inline_judge_us": measure(lambda: inline.judge(bundle, data), options.rounds),
            "worker_judge_us": measure(lambda: worker.judge(bundle, data), options.rounds),
            "worker_ruling_us": measure(lambda: rule_on(worker, bundle, data), options.rounds),
        }
    finally:
        worker.close()
    found["worker_to_inline"] = round(found["worker_judge_us"]["p50"] / found["inline_judge_us"]["p50"], 2)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
