"""What a change does to a flag, seen before it is approved: who becomes exposed, and by how big a jump."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

from sqlalchemy import Connection

from airboss.act.flags import rules
from airboss.act.flags.model import Exposure, Flag
from airboss.act.flags.service import Flags, subject_of
from airboss.changes import Expose, Finding, Inspection, Spec, Stage
from airboss.kernel.errors import AirbossError, Invalid, NotFound, Refused

KIND: Final = "flag"
"""The kind of target this room carries: `target: {flag: {name, old, new}}`."""


class FlagInspector:
    """Looks into flag ramps for `changes`, pins the definition they move, and says what they would do to people.

    `people` tells how many people a service has, where somebody knows.
    """

    def __init__(self, flags: Flags, people: Callable[[str], int | None] | None = None) -> None:
        self._flags = flags
        self._people = people or (lambda _: None)

    def inspect(self, spec: Spec, connection: Connection) -> Inspection:
        """Return the findings about every flag a change moves, and their definitions' digests.

        Raises Invalid or Refused with the field of what cannot be carried out.
        """
        findings: list[Finding] = []
        pinned: dict[str, str] = {}
        for stage, flag, new, old in self._moved(spec, connection):
            pinned[subject_of(flag.definition.name)] = flag.definition.digest
            findings += _findings(flag, stage, new, old, self._people(spec.services[0]))
        return Inspection(findings=tuple(findings), pinned=pinned)

    def pins(self, spec: Spec, connection: Connection) -> dict[str, str]:
        """Return the digests of those definitions, without asking whom they would expose. Raises what `inspect` raises."""
        return {
            subject_of(flag.definition.name): flag.definition.digest for _, flag, _, _ in self._moved(spec, connection)
        }

    def _moved(self, spec: Spec, connection: Connection) -> Iterator[tuple[Stage, Flag, str, str]]:
        """Yield each stage that moves a flag, with the flag, its new side and its old one."""
        for number, stage in enumerate(spec.stages):
            if stage.target.kind == KIND:
                yield stage, *self._sides(connection, stage, f"spec.rollout.stages[{number}].target.flag")

    def _sides(self, connection: Connection, stage: Stage, place: str) -> tuple[Flag, str, str]:
        params = stage.target.params
        for field in params:
            if field not in {"name", "old", "new"}:
                raise Invalid(
                    f"a flag target has no field {field!r}",
                    code="bad-flag-target",
                    place=f"{place}.{field}",
                    way_out="there are name, old, new",
                )
        name, old, new = (params.get(field) for field in ("name", "old", "new"))
        for field, value in (("name", name), ("old", old), ("new", new)):
            if not isinstance(value, str) or not value:
                raise Invalid(
                    f"a flag target names its {field}",
                    code="bad-flag-target",
                    place=f"{place}.{field}",
                    way_out='write flag: {name: tax.engine, old: "off", new: "on"}',
                )
        assert isinstance(name, str)
        assert isinstance(old, str)
        assert isinstance(new, str)
        try:
            flag = self._flags.get(connection, name)
        except NotFound as fault:
            raise Refused(fault.detail, code=fault.code, place=f"{place}.name", way_out=fault.way_out) from fault
        try:
            rules.check_sides(flag, stage.environment, new, old, ())
        except (Invalid, Refused) as fault:
            side = "new" if isinstance(fault, Invalid) and new not in flag.definition.variants else "old"
            raise _placed(fault, f"{place}.{side}") from fault
        return flag, new, old


def _placed(fault: Invalid | Refused, place: str) -> AirbossError:
    return type(fault)(fault.detail, code=fault.code, place=place, way_out=fault.way_out)


def _findings(flag: Flag, stage: Stage, new: str, old: str, people: int | None) -> Iterator[Finding]:
    name = flag.definition.name
    subject = subject_of(name)

    def finding(code: str, message: str, severity: Literal["info", "warning", "danger"] = "info") -> Finding:
        return Finding(code=code, severity=severity, message=message, subject=subject)

    active, killed = flag.active(stage.environment), flag.killed(stage.environment)
    if active is not None:
        message = f"change {active.change_id} ramps flag {name} in {stage.environment}; this one must wait for it"
        yield finding("flag-ramped", message, "warning")
    if killed is not None:
        yield finding("flag-killed", f"flag {name} is killed in {stage.environment}; nobody would be exposed", "danger")
    steps = [step.percent for step in stage.steps if isinstance(step, Expose)]
    if not steps:
        return
    seen = rules.preview(
        name,
        rules.served(_at(flag, stage, new, old, 0), stage.environment),
        rules.served(_at(flag, stage, new, old, max(steps)), stage.environment),
        people=people,
    )
    told = "; ".join(seen.sentences) or "nobody gets another answer"
    yield finding("flag-exposure", f"flag {name} in {stage.environment} at {max(steps):g} %: {told}")
    jump = max(after - before for before, after in zip([0.0, *steps], steps, strict=False))
    if steps[0] >= 100:
        yield finding("flag-everybody", f"flag {name} goes to everybody in {stage.environment} at once", "danger")
    elif steps[0] > rules.JUMP_PERCENT:
        yield finding("flag-jump", f"flag {name} starts with {steps[0]:g} % in {stage.environment}", "warning")
    elif jump > rules.JUMP_PERCENT:
        yield finding("flag-jump", f"flag {name} grows by {jump:g} points in one step", "warning")
    if flag.definition.plain.get("targeting"):
        yield finding("flag-targeting", f"flag {name} has targeting rules; people they answer are not in the ramp")


def _at(flag: Flag, stage: Stage, new: str, old: str, percent: float) -> Flag:
    """Return the flag as the ramp would have it at a percentage, with no other ramp and no kill switch."""
    ramp = Exposure(
        flag=flag.definition.name,
        environment=stage.environment,
        change_id="preview",
        percent=percent,
        on_variant=new,
        off_variant=old,
        split=(),
        salt="preview",
        state="active",
        revision=0,
        at=flag.created_at,
    )
    return Flag(
        definition=flag.definition,
        revision=flag.revision,
        created_at=flag.created_at,
        exposures=(ramp,),
        standings=flag.standings,
    )
