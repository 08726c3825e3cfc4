"""How long one flag evaluation takes, beside the evaluators other Python SDKs bring.

Everybody gets the same flag: ten rules on one attribute that do not match, then a split of 25 to 75 by the key. Each is
asked in its usual way, with what its callers must build for each request (a context, an attribute dictionary), nothing sent
anywhere and no network. Who answers for another share of people than a quarter is refused: then the flags differ.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from growthbook import GrowthBook
from ldclient import Config, Context, LDClient
from ldclient.integrations import Files
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from airboss.sdk.evaluator import compile_snapshot
from bench.table import Effort, Row, interleaved, median_us, named, over

Evaluate = Callable[[str], bool]
COUNTRIES = [f"c{number}" for number in range(10)]
ATTRIBUTES = {"country": "de", "plan": "pro"}


def definition() -> dict[str, Any]:
    """Return the flag in flagd's words."""
    rules: list[Any] = []
    for country in COUNTRIES:
        rules += [{"==": [{"var": "country"}, country]}, "on"]
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [*rules, {"fractional": [["on", 25], ["off", 75]]}]},
    }


def flagd_core(_: ExitStack) -> Evaluate:
    core = FlagdCore()
    core.set_flags(json.dumps({"flags": {"flag": definition()}}))
    return lambda key: core.resolve_boolean_value("flag", False, EvaluationContext(key, ATTRIBUTES)).value


def growthbook(stack: ExitStack) -> Evaluate:
    rules: list[dict[str, Any]] = [{"condition": {"country": country}, "force": True} for country in COUNTRIES]
    split = {"force": True, "coverage": 0.25, "hashAttribute": "id"}
    client = GrowthBook(features={"flag": {"defaultValue": False, "rules": [*rules, split]}})
    stack.callback(client.destroy)

    def evaluate(key: str) -> bool:
        client.set_attributes({"id": key, **ATTRIBUTES})
        return client.is_on("flag")

    return evaluate


def unleash(stack: ExitStack) -> Evaluate:
    def strategy(share: int, *countries: str) -> dict[str, Any]:
        limits = [{"contextName": "country", "operator": "IN", "values": [country]} for country in countries]
        split = {"rollout": str(share), "stickiness": "userId", "groupId": "flag"}
        return {"name": "flexibleRollout", "parameters": split, "constraints": limits}

    strategies = [*(strategy(100, country) for country in COUNTRIES), strategy(25)]
    flag = {"name": "flag", "type": "release", "enabled": True, "strategies": strategies}
    cache = FileCache("bench", directory=stack.enter_context(tempfile.TemporaryDirectory()))
    cache.bootstrap_from_dict({"version": 2, "features": [flag]})
    never = 1_000_000
    client = UnleashClient(
        url="http://127.0.0.1:1/api",
        app_name="bench",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
        refresh_interval=never,
        metrics_interval=never,
    )
    client.initialize_client(fetch_toggles=False)
    stack.callback(client.destroy)
    return lambda key: client.is_enabled("flag", {"userId": key, "properties": ATTRIBUTES})


def launchdarkly(stack: ExitStack) -> Evaluate:
    def rule(country: str) -> dict[str, Any]:
        return {"id": country, "clauses": [{"attribute": "country", "op": "in", "values": [country]}], "variation": 0}

    split = {"variations": [{"variation": 0, "weight": 25_000}, {"variation": 1, "weight": 75_000}]}
    flag = {
        "key": "flag",
        "on": True,
        "version": 1,
        "salt": "flag",
        "variations": [True, False],
        "offVariation": 1,
        "rules": [rule(country) for country in COUNTRIES],
        "fallthrough": {"rollout": split},
    }
    file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "flags.json"
    file.write_text(json.dumps({"flags": {"flag": flag}}))
    source = Files.new_data_source(paths=[str(file)])
    client = LDClient(Config("sdk-bench", update_processor_class=source, send_events=False), start_wait=5)
    stack.callback(client.close)
    assert client.is_initialized()

    def evaluate(key: str) -> bool:
        context = Context.builder(key).set("country", "de").set("plan", "pro").build()
        return client.variation("flag", context, False)

    return evaluate


PEERS: dict[str, tuple[str, Callable[[ExitStack], Evaluate]]] = {
    "flagd-core": ("openfeature-flagd-core", flagd_core),
    "GrowthBook": ("growthbook", growthbook),
    "Unleash": ("unleashclient", unleash),
    "LaunchDarkly, file source": ("launchdarkly-server-sdk", launchdarkly),
}


def rows(effort: Effort) -> Iterator[Row]:
    plain = {key: value for key, value in definition().items() if key != "targeting"}
    ramp = {"change_id": "chg_bench", "percent": 50, "on_variant": "on", "off_variant": "off", "salt": "chg_bench"}
    many = {f"flag-{number}": definition() for number in range(200)}
    ours = compile_snapshot({"flags": {**many, "flag": definition(), "ramp": {**plain, "ramp": ramp}}})
    keys = [f"user-{number}" for number in range(effort.of(2_000, quick=300))]

    def bulk(key: str) -> object:
        answers = [(name, flag.evaluate(key, ATTRIBUTES)) for name, flag in ours.flags.items()]
        return json.dumps([{"key": name, "value": a.value, "variant": a.variant} for name, a in answers])

    with ExitStack() as stack:
        asked: dict[str, Evaluate] = {"ours": lambda key: ours.evaluate("flag", key, ATTRIBUTES).value is True}
        asked |= {name: make(stack) for name, (_, make) in PEERS.items()}
        for name, evaluate in asked.items():
            share = sum(evaluate(f"somebody-{number}") for number in range(4_000)) / 4_000
            assert 0.22 < share < 0.28, f"{name} answers on for {share:.1%} of people: not the same flag"
        calls: dict[str, Callable[[str], object]] = {
            **asked,
            "ours bare": lambda key: ours.evaluate("flag", key, ATTRIBUTES),
            "ramp": lambda key: ours.evaluate("ramp", key, ATTRIBUTES),
        }
        contenders = {
            name: lambda call=call: median_us(lambda number: call(keys[number]), len(keys))
            for name, call in calls.items()
        }
        found = interleaved(contenders, effort.of(15, quick=3))
        heavy = interleaved({"bulk": lambda: median_us(lambda number: bulk(keys[number]), 50)}, effort.of(9, quick=3))
    mine, what = found["ours bare"], "flag evaluation, 10 rules and a split, p50"
    yield Row(what=what, ours=mine.told(2, "µs"), goal="≤ 2 µs", reached=mine.median <= 2)
    fastest = min(PEERS, key=lambda name: found[name].median)
    for name, (distribution, _) in PEERS.items():
        ratio = over(found[name], mine)
        is_fastest = name == fastest
        yield Row(
            what="the same, beside " + name + (" (the fastest of them)" if is_fastest else ""),
            ours=mine.told(2, "µs"),
            peer=f"{named(distribution, name)}: {found[name].told(1, 'µs')}",
            ratio=ratio.told(1, "× faster"),
            goal="≥ 7× the fastest" if is_fastest else "",
            reached=ratio.median >= 7 if is_fastest else None,
        )
    yield Row(what="a ramp's flag with its arm, p50", ours=found["ramp"].told(2, "µs"))
    milliseconds = heavy["bulk"].median / 1000
    low, high = (value / 1000 for value in heavy["bulk"].half)
    yield Row(
        what="200 such flags with their JSON, p50",
        ours=f"{milliseconds:.2f} ({low:.2f}–{high:.2f}) ms",
        goal="≤ 0.6 ms",
        reached=milliseconds <= 0.6,
    )
