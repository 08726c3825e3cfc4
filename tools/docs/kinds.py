"""The reference page of the shipped templates, made from their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from airboss.changes import LABEL, SignalShape, Template, templates

Page = Callable[..., str]
Grid = Callable[[Sequence[str], Iterable[Sequence[str]]], str]

WATCHED = {
    "indicator": "an SLI or SLO with its label",
    "objectives": "the burn rates of all objectives of the services",
    "exposure": "the engine: only the approved digest counts as exposed",
    "step-deadline": "the engine: the `most` of each step",
    "rollback-deadline": "the engine: taking back ends in 15 minutes, or as a failed rollback",
    "start-deadline": "the engine: `schedule.not_after`, which the change must say",
    "ci": "evidence of type `ci`, without which it does not start",
}


def kinds(page: Page, grid: Grid, carried: Iterable[str]) -> str:
    """Return the page: each kind, what it is watched by, how it is rolled out, and where it can go here."""
    here = sorted(carried)
    parts = [_one(one, grid, here) for one in templates()]
    return page(
        "Kinds of change",
        "A change names its kind by `template:`. The template fills in what the file leaves open, once, at submit. What a kind "
        f"is *watched by* are its signals. A signal is told by an SLI of the service with the label `{LABEL}: NAME` (a canary "
        "gate), or by an SLO with it (a burn rate). `errors` and `latency` need no label: a ratio is the one, durations are the "
        "other. A needed signal that nothing tells keeps the change on the desk (`signal-missing`), until it is declared or "
        'waived: `waive: {lock-wait: "the table is empty"}`. Approvers see the reason, and policy reads '
        "`change.waived_signals`.",
        f"This version carries changes to {' and '.join(f'`{kind}`' for kind in here)}. A change to another target can be "
        "written and kept as a draft; submitting it says which target is missing. Templates of your own are files with "
        "`kind: Template` ([files](files.md)).",
        *parts,
    )


def _one(found: Template, grid: Grid, here: Sequence[str]) -> str:
    spec = found.spec
    rows = [
        (f"`{one.name}`", one.about, WATCHED[one.by], _fails(one), "yes" if one.needed else "no")
        for one in spec.signals
    ]
    going = "any target" if spec.targets is None else ", ".join(f"`{kind}`" for kind in spec.targets)
    lacking = spec.targets is not None and not set(spec.targets) & set(here)
    steps = " → ".join(f"{step.expose:g} %" for step in spec.steps.outermost if hasattr(step, "expose"))
    lines = [
        f"## {found.metadata.name}",
        f"{spec.summary[:1].upper()}{spec.summary[1:]}. {spec.description or ''}".strip(),
        grid(("watched by", "what it is", "told by", "fails at", "needed"), rows),
        f"Goes to {going}{' (none of which is carried yet)' if lacking else ''}; rolled out {' or '.join(spec.strategies)}, "
        f"{steps} near users. Runbook{'' if spec.runbook.needed else ' (not required)'}: {spec.runbook.about}."
        + (f" Evidence: {', '.join(spec.evidence)}." if spec.evidence else ""),
    ]
    return "\n\n".join(lines)


def _fails(one: SignalShape) -> str:
    parts = [
        *([f"{one.margin * 100:g} % worse than the old side"] if one.margin is not None else []),
        *([f"p{one.quantile * 100:g}"] if one.quantile is not None else []),
        *([f"burn above {one.above:g}"] if one.above is not None else []),
    ]
    return ", ".join(parts) or "the template's margin" if one.by == "indicator" else ", ".join(parts)
