"""How long one flag evaluation takes: ours, and the fastest other Python evaluator installed, in one run.

    python bench/flags.py [rounds]

Prints microseconds; ratios are what counts, the machine is whatever it is. Goals: 10 rules and a split p50 ≤ 2 µs and
at least 7 times faster than flagd-core; a bulk of 200 flags ≤ 0.6 ms.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from airboss.sdk.evaluator import compile_snapshot


def definition() -> dict[str, Any]:
    """Ten rules that do not match, then a 25/75 split."""
    rules: list[Any] = []
    for number in range(10):
        rules += [{"==": [{"var": "country"}, f"c{number}"]}, "on"]
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [*rules, {"fractional": [["on", 25], ["off", 75]]}]},
    }


def timed(call: Callable[[str], object], rounds: int) -> tuple[float, float]:
    """Return p50 and p99 in microseconds over single calls."""
    keys = [f"user-{number}" for number in range(rounds)]
    spent = []
    for key in keys:
        start = time.perf_counter_ns()
        call(key)
        spent.append(time.perf_counter_ns() - start)
    cuts = statistics.quantiles(spent, n=100)
    return cuts[49] / 1000, cuts[98] / 1000


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    attributes = {"country": "de", "plan": "pro"}
    ramp = {"change_id": "chg_bench", "percent": 50, "on_variant": "on", "off_variant": "off", "salt": "chg_bench"}
    plain = {key: value for key, value in definition().items() if key != "targeting"}
    flags: dict[str, Any] = {f"flag-{number}": definition() for number in range(200)}
    ours = compile_snapshot({"flags": {**flags, "ramp": {**plain, "ramp": ramp}}})
    core = FlagdCore()
    core.set_flags(json.dumps({"flags": flags}))

    def flagd(key: str) -> object:
        return core.resolve_boolean_value("flag-7", False, EvaluationContext(key, attributes))

    def bulk(key: str) -> object:
        answers = [(name, flag.evaluate(key, attributes)) for name, flag in ours.flags.items()]
        return json.dumps([{"key": name, "value": a.value, "variant": a.variant} for name, a in answers])

    rows = {
        "airboss, 10 rules + split": timed(lambda key: ours.evaluate("flag-7", key, attributes), rounds),
        "airboss, ramp with its arm": timed(lambda key: ours.evaluate("ramp", key, attributes), rounds),
        "flagd-core, 10 rules + split": timed(flagd, rounds // 10),
        "airboss, 200 flags with JSON": timed(bulk, max(100, rounds // 100)),
    }
    for name, (p50, p99) in rows.items():
        print(f"{name:32} p50 {p50:9.2f} µs   p99 {p99:9.2f} µs")
    print(f"ratio to flagd-core {rows['flagd-core, 10 rules + split'][0] / rows['airboss, 10 rules + split'][0]:.1f}")


if __name__ == "__main__":
    main()
