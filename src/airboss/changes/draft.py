"""A change as it was written: read, checked as far as the file goes, and remembered with its places.

The places are kept beside the draft, so that what is found at submit still points at the line of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airboss.catalog import dotted, fit
from airboss.changes.shapes import (
    AskShape,
    CanaryShape,
    ChangeShape,
    ChangeSpecShape,
    CoverageShape,
    ExposeShape,
    RolloutShape,
)
from airboss.changes.template import Template, template
from airboss.kernel.canonical import canonical, digest_bytes
from airboss.kernel.errors import AirbossError, Invalid, Refused
from airboss.kernel.yaml import Document, Path

MOST_STEPS: Final = 1_000
_STEP: Final = re.compile(r"[^.\[\]]+|\[[0-9]+\]")


Find = Callable[[str], Template | None]
"""Finds a template by `name` or `name@version`; raises Invalid for one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a change, by field."""

    path: Path
    detail: str
    code: str
    way_out: str | None = None

    def raised(self, draft: Draft, error: type[AirbossError]) -> AirbossError:
        """Return it as an error with the place in the file."""
        return error(
            f"{dotted(self.path)}: {self.detail}", code=self.code, place=draft.place(self.path), way_out=self.way_out
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What was written. `document` is its canonical bytes, `places` where each value stood (both are stored)."""

    id: str | None
    spec: ChangeSpecShape
    document: bytes
    places: bytes

    @property
    def digest(self) -> str:
        """The digest of what was written, which tells an edit from a repetition."""
        return digest_bytes(self.document)

    def place(self, path: Path) -> str:
        """Return `source:line:column` of the value at a path, or of its nearest ancestor."""
        known = json.loads(self.places)
        for end in range(len(path), -1, -1):
            if found := known["at"].get(dotted(path[:end])):
                return f"{known['source']}:{found}"
        return f"{known['source']}:1:1"


def read_change(document: Document, find: Find = template) -> Draft:
    """Return a document as a draft. Raises Invalid with the place of what the file alone shows to be wrong.

    `find` finds its template, of which it may know none yet (None): then what the template forbids is found later.
    """
    shape, value = fit(ChangeShape, document)
    draft = Draft(
        id=shape.metadata.id,
        spec=shape.spec,
        document=canonical(value),
        places=canonical({"source": document.source, "at": dict(_places(document, value, ()))}),
    )
    for fault in faults(shape.spec, find):
        raise fault.raised(draft, Invalid)
    return draft


def reread(stored: bytes, places: bytes) -> Draft:
    """Return a stored draft. It was checked when it came in."""
    shape = ChangeShape.model_validate(json.loads(stored))
    return Draft(id=shape.metadata.id, spec=shape.spec, document=stored, places=places)


def refused(draft: Draft, fault: Refused | Invalid) -> AirbossError:
    """Return an inspector's error, whose place is a field (`spec.rollout.stages[0].target`), with the place in the file."""
    if fault.place is None or not fault.place.startswith("spec"):
        return fault
    path = tuple(int(step[1:-1]) if step.startswith("[") else step for step in _STEP.findall(fault.place))
    return Refused(f"{fault.place}: {fault.detail}", code=fault.code, place=draft.place(path), way_out=fault.way_out)


def faults(spec: ChangeSpecShape, find: Find = template) -> Iterator[Fault]:
    """Yield what is wrong with a change by itself, in the order of the file."""
    try:
        defaults = find(spec.template)
    except Invalid as fault:
        yield Fault(path=("spec", "template"), detail=fault.detail, code=fault.code, way_out=fault.way_out)
        return
    rollout, schedule = spec.rollout, spec.schedule
    strategy = rollout.strategy or (defaults.spec.strategy if defaults is not None else "canary")
    if defaults is not None and strategy not in defaults.spec.strategies:
        yield Fault(
            path=("spec", "rollout", "strategy"),
            detail=f"a {defaults.metadata.name} is not rolled out {strategy}",
            code="bad-strategy",
            way_out=f"leave it out, or say one of {', '.join(defaults.spec.strategies)}",
        )
    if schedule and schedule.not_before and schedule.not_after and schedule.not_after <= schedule.not_before:
        yield Fault(path=("spec", "schedule", "not_after"), detail="this is not after not_before", code="bad-schedule")
    yield from _stages(rollout, strategy)
    yield from gate_faults(rollout.gates or [], ("spec", "rollout", "gates"))
    if rollout.allowance == 0:
        yield Fault(
            path=("spec", "rollout", "allowance"),
            detail="with no allowance at all no amount of evidence is enough",
            code="gate-cannot-pass",
            way_out="say what the change may cost, such as 0.05%",
        )


def _stages(rollout: RolloutShape, strategy: str) -> Iterator[Fault]:
    before: list[str] = []
    count = 0
    for number, stage in enumerate(rollout.stages):
        path: Path = ("spec", "rollout", "stages", number)
        if stage.environment in before:
            yield Fault(path=(*path, "environment"), detail=f"{stage.environment} has a stage already", code="doubled")
        if stage.needs is not None and stage.needs not in before:
            yield Fault(
                path=(*path, "needs"),
                detail=f"no stage before this one goes to {stage.needs}",
                code="bad-needs",
                way_out=f"there are {', '.join(before)}" if before else "a first stage needs nothing",
            )
        before.append(stage.environment)
        count += len(stage.steps or [])
        if count > MOST_STEPS:
            yield Fault(
                path=(*path, "steps"), detail=f"more than {MOST_STEPS:,} steps in one change", code="too-many-steps"
            )
            return
        yield from step_faults(stage.steps or (), strategy, (*path, "steps"), first=number == 0)
        yield from gate_faults(stage.gates or [], (*path, "gates"))


def step_faults(steps: Sequence[Any], strategy: str, path: Path, *, first: bool = True) -> Iterator[Fault]:
    """Yield what is wrong with the steps of a stage, or of a template."""
    reached = 0.0
    for number, step in enumerate(steps):
        here: Path = (*path, number)
        if isinstance(step, AskShape) and first and number == 0:
            yield Fault(
                path=here,
                detail="the first step asks before anything was exposed",
                code="bad-step",
                way_out="what must be cleared before the start is an approval; ask after a first exposure",
            )
        if not isinstance(step, ExposeShape):
            continue
        if step.expose == 0:
            yield Fault(path=(*here, "expose"), detail="an exposure is more than 0 %", code="bad-step")
        if step.expose < reached:
            yield Fault(
                path=(*here, "expose"),
                detail=f"this goes back from {reached:g} % to {step.expose:g} %",
                code="step-back",
                way_out="order the steps from small to large; taking back is done for you",
            )
        if strategy == "ramp" and reached == 0 and step.expose == 100:
            yield Fault(
                path=(*here, "expose"),
                detail="a ramp does not start with everybody",
                code="ramp-starts-full",
                way_out="begin with a small share such as 1%",
            )
        reached = max(reached, step.expose)
        if step.bake.most is not None and step.bake.most < step.bake.least:
            yield Fault(path=(*here, "bake", "most"), detail="this is shorter than `least`", code="bad-step")
    if steps and reached == 0:
        yield Fault(path=path, detail="this stage never exposes anything", code="bad-step")


def gate_faults(gates: Sequence[Any], path: Path) -> Iterator[Fault]:
    """Yield the gates that only look like gates."""
    for number, gate in enumerate(gates):
        if gate in gates[:number]:
            yield Fault(path=(*path, number), detail="this gate stands twice", code="doubled")
        if isinstance(gate, CoverageShape) and gate.annotation_coverage.least == 0:
            yield Fault(
                path=(*path, number, "annotation_coverage", "least"),
                detail="a coverage of 0 % is always reached: the gate cannot fail",
                code="gate-cannot-fail",
                way_out="say how much must be annotated, such as 95%",
            )
        if isinstance(gate, CanaryShape) and gate.canary.margin == 0:
            yield Fault(
                path=(*path, number, "canary", "margin"),
                detail="with a margin of 0 % no amount of evidence is enough",
                code="gate-cannot-pass",
                way_out="say how much worse is still harmless, such as 10%",
            )


def _places(document: Document, value: Any, path: Path) -> Iterator[tuple[str, str]]:
    """Yield (field, line:column) of every value."""
    line, column = document.place(path).rsplit(":", 2)[1:]
    yield dotted(path), f"{line}:{column}"
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _places(document, below, (*path, key))
    if isinstance(value, list):
        for index, below in enumerate(value):
            yield from _places(document, below, (*path, index))
