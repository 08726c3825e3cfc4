"""What the reference shows: one change, as its author writes it."""

from __future__ import annotations

from typing import Any, Final

CHANGE: Final[dict[str, Any]] = {
    "apiVersion": "airboss/v1",
    "kind": "Change",
    "spec": {
        "template": "flag-ramp",
        "title": "New VAT engine for everybody",
        "why": "VAT rules change on 1 December",
        "services": ["checkout"],
        "owner": {"team": "payments"},
        "impact": {"users_percent": 5, "reversible": True, "data": "none"},
        "rollback": {"plan": "flag back to off"},
        "rollout": {
            "strategy": "ramp",
            "stages": [
                {
                    "environment": "production",
                    "target": {"flag": {"name": "tax.engine", "old": "off", "new": "on"}},
                    "steps": [
                        {"expose": "1%", "bake": {"least": "1m"}},
                        {"expose": "10%", "bake": {"least": "2m"}},
                        {"expose": "100%", "bake": {"least": "10m"}},
                    ],
                }
            ],
            "gates": ["data", {"canary": {"sli": "checkout-errors"}}],
        },
    },
}

CHANGE_YAML: Final = """\
apiVersion: airboss/v1
kind: Change
spec:
  template: flag-ramp
  title: New VAT engine for everybody
  why: VAT rules change on 1 December
  services: [checkout]
  owner: {team: payments}
  impact: {users_percent: 5, reversible: true, data: none}
  rollback: {plan: flag back to off}
  rollout:
    strategy: ramp
    stages:
      - environment: production
        target: {flag: {name: tax.engine, old: "off", new: "on"}}
        steps:
          - {expose: 1%, bake: {least: 1m}}
          - {expose: 10%, bake: {least: 2m}}
          - {expose: 100%, bake: {least: 10m}}
    gates:
      - data
      - {canary: {sli: checkout-errors}}
"""
