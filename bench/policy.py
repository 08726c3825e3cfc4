"""How long one policy decision takes: 50 rules on one shared activation, in this process and in the worker.

The worker is what the server uses: a pipe, a deadline and a memory limit between our process and Google's C++ CEL.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

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
from bench.table import Effort, Row, Sample, interleaved, median_us, named, over

RULES = 50
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


def rows(effort: Effort) -> Iterator[Row]:
    bundle = Bundle(packs=(parse(pack(RULES), "bench.yaml"),))
    facts = overlay(fixture(), {"services": [{}, {"name": "tax"}, {"name": "stock"}]})
    data = masked_input(Point.START, facts)
    inline, worker = InlineEngine(), WorkerEngine()
    try:
        assert not inline.check(bundle)
        began = time.perf_counter()
        assert not worker.check(bundle)
        spawned = Sample(((time.perf_counter() - began) * 1000,))
        calls = effort.of(300, quick=60)
        found = interleaved(
            {
                "ruling": lambda: median_us(lambda _: rule_on(worker, bundle, data), calls),
                "worker": lambda: median_us(lambda _: worker.judge(bundle, data), calls),
                "inline": lambda: median_us(lambda _: inline.judge(bundle, data), calls),
                "mask": lambda: median_us(lambda _: masked_input(Point.START, facts), calls),
            },
            effort.of(9, quick=3),
        )
    finally:
        worker.close()
    ruling = found["ruling"]
    yield Row(
        what=f"policy decision, {RULES} rules, isolated, with its ruling, p50",
        ours=ruling.told(0, "µs"),
        peer=f"{named('cel-expr-python')} in our process, rules only: {found['inline'].told(0, 'µs')}",
        ratio=over(ruling, found["inline"]).told(2, "× the time"),
        goal="≤ 400 µs",
        reached=ruling.median <= 400,
        note=f"the worker's answer alone {found['worker'].told(0, 'µs')}; masking {found['mask'].told(0, 'µs')} of "
        f"{len(data):,} bytes of input; starting the worker and compiling the rules once {spawned.told(0, 'ms')}",
    )
