"""The file `airboss change new` prints: what a template knows is filled in, what it cannot know stands in capitals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airboss.changes import Template

_TARGETS: Final = {
    "flag": '{flag: {name: FLAG, old: "off", new: "on"}}',
    "envoy": "{envoy: {connection: CONNECTION, route: ROUTE, old: OLD, new: NEW}}",
}


def proposal(template: Template, change_id: str, service: str) -> str:
    """Return a change of a kind, as YAML, for its author to mend."""
    spec, given = template.spec, template.spec.proposal
    fitting = [kind for kind in spec.targets or ("envoy",) if kind in _TARGETS]
    target = _TARGETS[fitting[0]] if fitting else f"{{{(spec.targets or ['TARGET'])[0]}: {{}}}}"
    window = f", window: {given.rollback.window}s" if given.rollback.window else ""
    lines = [
        "apiVersion: airboss/v1",
        "kind: Change",
        f"metadata: {{id: {change_id}}}",
        "spec:",
        f"  template: {template.metadata.name}",
        "  title: What will be different, in one line",
        "  why: What it is for",
        f"  services: [{service}]",
        "  owner: {team: TEAM}",
        *(['  artifact: {version: 1.2.3, digest: "sha256:…"}'] if given.artifact else []),
        f"  impact: {{users_percent: 5, reversible: {json.dumps(given.reversible)}, data: {given.data}}}",
        f"  rollback: {{plan: {json.dumps(given.rollback.plan or '', ensure_ascii=False)}{window}}}",
        *([f"  runbook: RUNBOOK  # {spec.runbook.about}"] if spec.runbook.needed else []),
        "  rollout:",
        "    stages:",
        "      - environment: production",
        f"        target: {target}",
    ]
    return "\n".join(lines)
