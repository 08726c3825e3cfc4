"""What people write wrong, and what they are told: one table, gone through over HTTP and on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.faces.api.desk import CHANGE, ORGANISATION


@dataclass(frozen=True)
class Bad:
    """A file with one fault. `draft`: only submitting refuses it, so what was written is kept as a draft."""

    name: str
    text: str
    code: str
    says: str
    applied: bool = False
    draft: bool = False


def _change(old: str, new: str) -> str:
    assert CHANGE.count(old) == 1, old
    return CHANGE.replace(old, new)


def _service(name: str, needs: str) -> str:
    return (
        f"apiVersion: airboss/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{owner: payments, tier: standard, "
        f"stateful: false, environments: [production], depends_on: [{needs}], telemetry: {{service_name: {name}}}}}\n"
    )


def _pack(when: str) -> str:
    return (
        "apiVersion: airboss/v1\nkind: PolicyPack\nmetadata: {name: odd, version: 1}\nspec:\n  owner: platform\n"
        f"  layer: team\n  rules:\n    - {{id: ODD, title: Odd, when: '{when}', effect: {{warn: {{}}}}}}\n"
    )


STEPS: Final = """          - {expose: 1%, bake: {least: 1m}}
          - {expose: 100%, bake: {least: 1m}}
"""
BOMB: Final = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
LATENCY: Final = (
    "---\napiVersion: openslo/v1\nkind: SLI\nmetadata: {name: checkout-latency}\nspec:\n"
    "  thresholdMetric: {metricSource: {type: builtin, spec: {signal: spans, service: checkout, value: duration}}}\n"
)
FINE: Final = "      - {canary: {sli: checkout-latency, quantile: p95, margin: 5%}}\n"

BAD: Final = (
    Bad("unknown field", _change("  why:", "  wy:"), "unknown-field", "wy"),
    Bad("wrong type", _change("users_percent: 40", "users_percent: many"), "wrong-type", "many"),
    Bad("bad id", _change("spec:", "metadata: {id: chg_1}\nspec:"), "bad-change-id", "chg_1"),
    Bad("alias bomb", BOMB, "bad-yaml", "alias"),
    Bad("duplicate key", _change("  title:", "  title: Another\n  title:"), "bad-yaml", "title"),
    Bad(
        "wrong digest",
        _change("  impact:", '  artifact: {version: "1.2", digest: "sha256:12"}\n  impact:'),
        "bad-value",
        "sha256",
    ),
    Bad("unknown service", _change("[checkout]", "[nowhere]"), "unknown-reference", "nowhere", draft=True),
    Bad(
        "over a thousand steps",
        _change(STEPS, "          - {expose: 1%, bake: {least: 1m}}\n" * 1_001),
        "too-many-steps",
        "1,000",
    ),
    Bad(
        "a step to less",
        _change(STEPS, STEPS.replace("expose: 1%", "expose: 20%").replace("expose: 100%", "expose: 10%")),
        "step-back",
        "20 % to 10 %",
    ),
    Bad(
        "a gate that cannot fail",
        _change("      - data\n", "      - {annotation_coverage: {least: 0%}}\n"),
        "gate-cannot-fail",
        "cannot fail",
    ),
    Bad(
        "a burn rate never reached",
        _change("      - data\n", "      - data\n      - {burn_rate: {slo: checkout-availability, above: 1000}}\n"),
        "gate-cannot-fail",
        "at most 1000 times",
        draft=True,
    ),
    Bad(
        "a margin never reached",
        _change("      - {canary: {sli: checkout-errors}}\n", FINE),
        "metric-margin",
        "5.00%",
        draft=True,
    ),
    Bad(
        "a circle in one file",
        _service("a", "b") + "---\n" + _service("b", "a"),
        "circular-dependency",
        "a → b → a",
        True,
    ),
    Bad("a circle with what is in force", _service("checkout", "cart"), "circular-dependency", "cart → checkout", True),
    Bad("a service of itself", _service("own", "own"), "circular-dependency", "own → own", True),
    Bad("policy typo", _pack('change.titel == "x"'), "bad-policy", "titel", True),
    Bad("policy that is no truth", _pack("change.title"), "bad-policy", "", True),
    Bad("policy nested without end", _pack("(" * 400 + "true" + ")" * 400), "bad-policy", "", True),
)
STOCK: Final = ORGANISATION + LATENCY + "---\n" + _service("cart", "checkout")
"""What is in force when the files come."""
