"""A compiled bundle, and one pass of facts through it. Runs in the worker; knows CEL and no files, database or clock.

What crosses the pipe is JSON: `Program` takes rules as `rule_json` writes them and answers what each rule came to.
What the answers add up to is `rules.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Final

from cel_expr_python import cel

from airboss.decide.policy.clearing import clearings
from airboss.decide.policy.facts import POOL, TYPES, activation
from airboss.decide.policy.model import AddRisk, Mode, Rule, SetTier
from airboss.decide.policy.rules import risk_of
from airboss.decide.policy.syntax import Read, TooDeep, Tree
from airboss.decide.policy.vocabulary import MESSAGES, VARIABLES
from airboss.kernel.clock import rfc3339

ENGINE: Final = f"cel-cpp cel-expr-python/{version('cel-expr-python')}"

MAX_EXPRESSION: Final = 4096
"""Characters in one `when` or `message`."""
MAX_MESSAGE: Final = 500
MAX_VALUES: Final = 12
"""Input values shown for one rule."""

_FIRST = cel.NewEnv(POOL, variables={name: kind for name, kind in TYPES.items() if name != "risk"})
_SECOND = cel.NewEnv(POOL, variables=dict(TYPES))

_MISSING_NAME: Final = re.compile(r"(?P<kind>undefined field|undeclared reference to) '(?P<name>[^']+)'")
_ERROR: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An expression that cannot be used: which rule (index), which field, where in its text, and why."""

    rule: int
    field: str
    offset: int
    detail: str
    way_out: str | None = None


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return what the engine needs of a rule."""
    risk: dict[str, Any] | None = None
    if isinstance(rule.effect, AddRisk):
        risk = {"points": rule.effect.points}
    elif isinstance(rule.effect, SetTier):
        risk = {"tier": rule.effect.tier.value}
    return {
        "when": rule.when,
        "message": rule.message,
        "at": [point.value for point in rule.at],
        "risk": risk,
        "enforced": rule.mode is Mode.ENFORCE,
        "expires": rfc3339(rule.expires) if rule.expires else None,
    }


class _Expression:
    """One compiled, tightened CEL text."""

    def __init__(self, text: str, *, env: Any, wanted: Any) -> None:
        if len(text) > MAX_EXPRESSION:
            raise _Unusable(MAX_EXPRESSION, f"the expression has more than {MAX_EXPRESSION:,} characters")
        try:
            compiled = env.compile(text)
        except Exception as fault:
            raise _unusable(text, str(fault)) from fault
        if compiled.return_type() != wanted:
            raise _Unusable(
                0, f"the expression gives {compiled.return_type().name().lower()}, not {wanted.name().lower()}"
            )
        try:
            tree = Tree(compiled.serialize())
        except TooDeep as fault:
            raise _Unusable(0, str(fault)) from fault
        self.reads: tuple[Read, ...] = tree.reads()
        self.constants = tree.constants()
        self._wanted, self._truth = wanted, wanted == cel.Type.BOOL
        self._run = env.deserialize(tree.tightened()).eval

    def value(self, facts: Any) -> Any:
        """Return the value. Raises _Failed unless it has exactly the wanted type."""
        try:
            result = self._run(facts)
        except Exception as fault:
            raise _Failed(str(fault)) from fault
        value = result.value()
        # An error is a value here, and a truthy one: only the wanted type counts. The compiler has proven that the type
        # is the wanted one, null or an error, and neither null nor an error is an instance of bool; for text, the type
        # is asked for as well, because the value of an error is text.
        if isinstance(value, bool) if self._truth else result.type() == self._wanted:
            return value
        raise _Failed(str(value) if result.type() == cel.Type.ERROR else "the result is not set")


class _Unusable(Exception):
    def __init__(self, offset: int, detail: str, way_out: str | None = None) -> None:
        super().__init__(detail)
        self.offset, self.detail, self.way_out = offset, detail, way_out


class _Failed(Exception):
    """The expression gave no value of its type."""


def _unusable(text: str, report: str) -> _Unusable:
    found = _ERROR.search(report)
    if found is None:
        return _Unusable(0, re.sub(r"\s*\[[A-Z_]+\]\s*$", "", report.split("\n", maxsplit=1)[0]))
    line, column, detail = int(found[1]), int(found[2]), found[3].removesuffix(" [INVALID_ARGUMENT]")
    offset = sum(len(part) + 1 for part in text.split("\n")[: max(line - 1, 0)]) + max(column - 1, 0)
    detail = detail.replace(" (in container '')", "").replace("struct 'airboss.", "'")
    if missing := _MISSING_NAME.match(detail):
        # The engine points at the dot before the last part; a person looks for the name.
        if missing["kind"] == "undefined field":
            offset += text[offset : offset + 1] == "."
        else:
            offset -= len(missing["name"].rpartition(".")[0])
    return _Unusable(offset, detail, _way_out(detail))


def _way_out(detail: str) -> str | None:
    if detail.startswith("undeclared reference to 'risk"):
        return "a rule that sets risk may not read it; use another effect, or name the facts themselves"
    if missing := _MISSING_NAME.match(detail):
        struct = re.search(r"not found in '(\w+)'", detail)
        known = MESSAGES[struct[1]] if struct and struct[1] in MESSAGES else VARIABLES
        close = difflib.get_close_matches(missing["name"].partition(".")[0], known, n=1)
        return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    if "double" in detail and re.search(r"\bint\b", detail):
        return "write numbers that are compared with shares and rates with a point: 5.0"
    return None


class _Rule:
    def __init__(self, index: int, spec: Mapping[str, Any], faults: list[Fault]) -> None:
        self.index = index
        self.at = frozenset(spec["at"])
        self.risk: Mapping[str, Any] | None = spec["risk"]
        self.enforced: bool = spec["enforced"]
        self.expires: str | None = spec["expires"]
        env = _FIRST if self.risk else _SECOND
        self.when = self._compile("when", spec["when"], env, cel.Type.BOOL, faults)
        self.message = self._compile("message", spec["message"], env, cel.Type.STRING, faults)

    def _compile(self, field: str, text: str | None, env: Any, wanted: Any, faults: list[Fault]) -> _Expression | None:
        if text is None:
            return None
        try:
            return _Expression(text, env=env, wanted=wanted)
        except _Unusable as fault:
            faults.append(
                Fault(rule=self.index, field=field, offset=fault.offset, detail=fault.detail, way_out=fault.way_out)
            )
            return None

    def judge(self, facts: Any, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what the rule came to, or None when it does not hold."""
        assert self.when is not None, "a program with faults is never run"
        try:
            if not self.when.value(facts):
                return None
        except _Failed as failed:
            return {"rule": self.index, "error": _why(str(failed), self.when.reads, values), "read": self.read(values)}
        answer: dict[str, Any] = {"rule": self.index, "read": self.read(values)}
        if self.message is not None:
            try:
                answer["message"] = self.message.value(facts)[:MAX_MESSAGE]
            except _Failed:
                answer["message"] = None  # the title speaks instead; the outcome does not depend on words
        return answer

    def clears(self, values: Mapping[str, Any], facts_of: Callable[[Mapping[str, Any]], Any]) -> list[dict[str, Any]]:
        """Return which single facts would keep this rule from firing, were they others."""
        when = self.when
        assert when is not None, "a program with faults is never run"

        def holds(other: Mapping[str, Any]) -> bool | None:
            try:
                return bool(when.value(facts_of(other)))
            except _Failed:
                return None

        return [asdict(found) for found in clearings(when.reads, when.constants, values, holds)]

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the input values the condition reads, by name; an unset one is None."""
        assert self.when is not None, "a program with faults is never run"
        shown: dict[str, Any] = {}
        for read in self.when.reads:
            for name, value in _values(read, values):
                if len(shown) == MAX_VALUES:
                    return shown
                shown[name] = value
        return shown


class Program:
    """The rules of one bundle, compiled. `faults` says which cannot be used; a program with faults is never run."""

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self.faults: list[Fault] = []
        self._rules = [_Rule(index, spec, self.faults) for index, spec in enumerate(rules)]
        # Groups no rule reads are not made into messages: a third of the time of a small bundle.
        read = {path[0] for rule in self._rules for part in (rule.when, rule.message) if part for path in part.reads}
        self._wanted = [name for name in VARIABLES if name in read and name != "risk"]

    def judge(self, values: dict[str, Any]) -> dict[str, Any]:
        """Judge a masked input (parsed): two passes over one activation. Adds `risk` to it.

        Returns {risk: {tier, score}, answers: [{rule, read, message} or {rule, read, error}], quiet: [rule…]}, rules by
        their index. `quiet` are those that were asked and did not hold.
        """
        point, now = values["point"], values.get("now", "")
        asked = [
            rule for rule in self._rules if point in rule.at and not (rule.expires and now and rule.expires <= now)
        ]
        answers: list[dict[str, Any]] = []
        quiet: list[int] = []
        arena = cel.Arena()
        given = activation(values, self._wanted)
        facts = _FIRST.Activation(given, arena=arena)
        self._pass([rule for rule in asked if rule.risk], facts, values, answers, quiet)
        enforced = [answer for answer in answers if self._rules[answer["rule"]].enforced]
        risk = risk_of(
            [self._rules[answer["rule"]].risk or {} for answer in enforced if "error" not in answer],
            in_error=any("error" in answer for answer in enforced),
        )
        values["risk"] = risk
        facts = _SECOND.Activation({**given, **activation(values, ("risk",))}, arena=arena)
        self._pass([rule for rule in asked if not rule.risk], facts, values, answers, quiet)
        return {"risk": risk, "answers": answers, "quiet": quiet}

    def explain(self, values: dict[str, Any], stands: Sequence[int]) -> dict[str, Any]:
        """Judge, and say of the rules that stayed quiet what they read, and of those in `stands` what would clear them.

        Returns what `judge` does with {quiet_read: {rule: read}, clears: {rule: [Clearing…]}}, keys as text for JSON.
        """
        answer = self.judge(values)
        wanted = (*self._wanted, "risk")

        def facts_of(other: Mapping[str, Any]) -> Any:
            return _SECOND.Activation(activation(other, wanted), arena=cel.Arena())

        return {
            **answer,
            "quiet_read": {str(index): self._rules[index].read(values) for index in answer["quiet"]},
            "clears": {str(index): self._rules[index].clears(values, facts_of) for index in stands},
        }

    @staticmethod
    def _pass(
        rules: Sequence[_Rule], facts: Any, values: Mapping[str, Any], answers: list[dict[str, Any]], quiet: list[int]
    ) -> None:
        for rule in rules:
            answer = rule.judge(facts, values)
            if answer is None:
                quiet.append(rule.index)
            else:
                answers.append(answer)


def _values(read: Read, values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return (name, value) of what a read meant in this input; an unset one is (name, None)."""
    if not read:
        plain = isinstance(values, dict) or (isinstance(values, list) and values and isinstance(values[0], dict))
        return [(prefix, "…" if plain else values)]
    step, rest = read[0], read[1:]
    if step == "[]":
        if not isinstance(values, list):
            return [(f"{prefix}[]", None)]
        return [pair for at, item in enumerate(values[:MAX_VALUES]) for pair in _values(rest, item, f"{prefix}[{at}]")]
    name = f"{prefix}.{step}" if prefix else step
    if not isinstance(values, dict) or step not in values:
        return [(".".join((name, *rest)).replace(".[]", "[]"), None)]
    return _values(rest, values[step], name)


def _why(error: str, reads: Sequence[Read], values: Mapping[str, Any]) -> str:
    """Say what made the rule fail in the reader's words: facts that are not there first, the engine's words else."""
    absent = sorted({read[0] for read in reads if read[0] not in values})
    if absent:
        return f"{' and '.join(absent)} could not be read"
    unset = [name for read in reads for name, value in _values(read, values) if value is None]
    if unset:
        return f"{' and '.join(unset[:3])} is not set"
    return re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]\s*$", "", error)[:MAX_MESSAGE]
