"""flagd's targeting language (JsonLogic with four operators of its own), compiled to closures.

A rule is compiled once and called with a scope: the evaluation context, or the current item inside `map` and its kin.
Unknown operators, too deep or too large rules and broken references are found here, not by the first user who reaches
them. Nothing is ever evaluated from text, and nothing given is changed.

Sources: the JsonLogic reference (jsonlogic.com/operations.html) and flagd's flag definitions, custom operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from airboss.sdk import semver
from airboss.sdk.bucketing import Generation
from airboss.sdk.coercion import LONGEST_LIST, OPERATORS, OverLimit, equals, look_up, missing, missing_some, truth
from airboss.sdk.faults import BadDefinition, Path
from airboss.sdk.fractional import Split, fractional, split_by_key, split_by_value, weighted

Rule: TypeAlias = Callable[[Any], Any]

DEEPEST: Final = 64
MOST_NODES: Final = 10_000
MOST_NESTED_LOOPS: Final = 2

_LOOPS: Final = frozenset({"map", "filter", "all", "some", "none", "reduce"})
_OWN: Final = frozenset({"if", "?:", "and", "or", "var", "missing", "missing_some", "fractional", "sem_ver"})
KNOWN: Final = frozenset(OPERATORS) | _LOOPS | _OWN


class Literal:
    """A rule that is always the same value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _: Any) -> Any:
        return self.value


class Compiler:
    """Compiles the targeting of one flag. Use once."""

    def __init__(self, flag: str, generation: Generation, evaluators: Mapping[str, Any]) -> None:
        self._flag = flag
        self._generation = generation
        self._evaluators = evaluators
        self._nodes = 0
        self._loops = 0
        self._open: list[str] = []
        self.asks_flagd = False
        """Whether the rule may look at `$flagd`, so that the caller need not make it otherwise."""

    def compile(self, node: Any, path: Path = (), *, final: bool = False, depth: int = 0) -> Rule:
        """Return the rule of a node.

        `final` marks a node whose value is the rule's own: there a split is returned as `Split`, so that the reason can
        be told. Raises BadDefinition with the path of the fault.
        """
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise BadDefinition(f"the rule has more than {MOST_NODES} parts", path)
        if depth > DEEPEST:
            raise BadDefinition(f"the rule is nested deeper than {DEEPEST}", path)
        if isinstance(node, list | tuple):
            return _list([self.compile(item, (*path, place), depth=depth + 1) for place, item in enumerate(node)])
        if not isinstance(node, Mapping) or len(node) != 1:
            return Literal(node)
        name, given = next(iter(node.items()))
        if name == "$ref":
            return self._reference(given, path, final=final, depth=depth)
        if name not in KNOWN:
            raise BadDefinition(f"there is no operator {name!r}", (*path, str(name)))
        args = list(given) if isinstance(given, list | tuple) else [given]
        return self._operator(name, args, (*path, name), final=final, depth=depth + 1)

    def _reference(self, name: Any, path: Path, *, final: bool, depth: int) -> Rule:
        if not isinstance(name, str) or name not in self._evaluators:
            raise BadDefinition(f"$ref names {name!r}, which is not among $evaluators", (*path, "$ref"))
        if name in self._open:
            raise BadDefinition(f"$ref {name!r} refers to itself", (*path, "$ref"))
        self._open.append(name)
        try:
            return self.compile(self._evaluators[name], ("$evaluators", name), final=final, depth=depth + 1)
        finally:
            self._open.pop()

    def _operator(self, name: str, args: list[Any], path: Path, *, final: bool, depth: int) -> Rule:
        if name in _LOOPS:
            return self._loop(name, args, path, depth)
        if name == "fractional":
            return self._fractional(args, path, final=final, depth=depth)
        last = len(args) - 1
        rules = []
        for place, arg in enumerate(args):
            ends = final and (
                (name in {"and", "or"} and place == last)
                or (name in {"if", "?:"} and (place % 2 == 1 or place == last))
            )
            rules.append(self.compile(arg, (*path, place), final=ends, depth=depth))
        if name == "var":
            return self._var(rules)
        if name in {"missing", "missing_some"}:
            self.asks_flagd = True
        build = _BUILDERS.get(name)
        return build(rules) if build else _call(OPERATORS[name], rules)

    def _var(self, rules: list[Rule]) -> Rule:
        key = rules[0] if rules else Literal(None)
        default = rules[1] if len(rules) > 1 else Literal(None)
        if isinstance(key, Literal) and isinstance(key.value, str) and key.value:
            name: str = key.value
            if name.startswith("$flagd"):
                self.asks_flagd = True
            if not self._loops and "." not in name and isinstance(default, Literal):
                return Member(name, default.value)
        else:
            self.asks_flagd = True
        return lambda data: look_up(data, key(data), default(data))

    def _loop(self, name: str, args: list[Any], path: Path, depth: int) -> Rule:
        items = self.compile(args[0], (*path, 0), depth=depth) if args else Literal(None)
        if self._loops == MOST_NESTED_LOOPS:
            raise BadDefinition(f"loops are nested deeper than {MOST_NESTED_LOOPS}", path)
        self._loops += 1
        body = self.compile(args[1], (*path, 1), depth=depth) if len(args) > 1 else Literal(None)
        self._loops -= 1
        complete = len(args) > 1
        match name:
            case "map":
                return lambda data: [body(item) for item in _items(items(data))]
            case "filter":
                return lambda data: [item for item in _items(items(data)) if truth(body(item))] if complete else []
            case "all":
                return lambda data: bool(found := _items(items(data))) and all(truth(body(item)) for item in found)
            case "some":
                return lambda data: any(truth(body(item)) for item in _items(items(data)))
            case "none":
                return lambda data: not any(truth(body(item)) for item in _items(items(data)))
            case _:
                return _reduce(items, body, args[2] if len(args) > 2 else None)

    def _fractional(self, args: list[Any], path: Path, *, final: bool, depth: int) -> Rule:
        if not args:
            return Literal(None)
        rules = [self.compile(arg, (*path, place), depth=depth) for place, arg in enumerate(args)]
        explicit = not isinstance(args[0], list | tuple)
        shares = args[1:] if explicit else args
        flag = None if self._loops else self._flag  # inside a loop the scope is an item, which knows no flag
        if not self._loops and all(_fixed(share) for share in shares):
            table = weighted([list(share) for share in shares], final=final)
            if not explicit:
                return split_by_key(self._generation, self._flag, table)
            first = rules[0]
            if not isinstance(first, Literal):
                return split_by_value(self._generation, self._flag, first, table, shares)
        generation = self._generation

        def split(data: Any) -> Any:
            chosen = fractional(generation, flag, data, [rule(data) for rule in rules])
            return Split.of(chosen) if final and chosen is not None else chosen

        return split


def _fixed(share: Any) -> bool:
    """Return whether a share [variant, weight] needs no evaluation."""
    return isinstance(share, list | tuple) and not any(
        isinstance(part, list | tuple) or (isinstance(part, Mapping) and len(part) == 1) for part in share
    )


def _items(found: Any) -> list[Any]:
    if not isinstance(found, list):
        return []
    if len(found) > LONGEST_LIST:
        raise OverLimit(f"a loop over more than {LONGEST_LIST} items")
    return found


def _reduce(items: Rule, body: Rule, start: Any) -> Rule:
    def reduce(data: Any) -> Any:
        scope = {"accumulator": start}
        for item in _items(items(data)):
            scope["current"] = item
            scope["accumulator"] = body(scope)
        return scope["accumulator"]

    return reduce


def _list(rules: list[Rule]) -> Rule:
    if all(isinstance(rule, Literal) for rule in rules):
        return Literal([rule(None) for rule in rules])
    return lambda data: [rule(data) for rule in rules]


class Member:
    """The value of one attribute of the context; `==` and `in` look it up themselves, which saves a call."""

    __slots__ = ("default", "name")

    def __init__(self, name: str, default: Any) -> None:
        self.name = name
        self.default = default

    def __call__(self, data: Any) -> Any:
        value = data.get(self.name)
        return self.default if value is None else value


class MemberIs:
    """Whether an attribute of the context is one text: the commonest condition, which `if` asks without a call."""

    __slots__ = ("name", "wanted")

    def __init__(self, name: str, wanted: str) -> None:
        self.name = name
        self.wanted = wanted

    def __call__(self, data: Any) -> bool:
        return equals(data.get(self.name), self.wanted)


def _if(rules: list[Rule]) -> Rule:
    pairs = list(zip(rules[0::2], rules[1::2], strict=False))
    otherwise = rules[-1] if len(rules) % 2 else Literal(None)
    if any(isinstance(condition, MemberIs) for condition, _ in pairs):
        return _if_members(pairs, otherwise)
    if len(pairs) == 1:
        condition, then = pairs[0]
        return lambda data: then(data) if truth(condition(data)) else otherwise(data)

    def choose(data: Any) -> Any:
        for condition, then in pairs:
            holds = condition(data)
            if holds is True or (holds is not False and truth(holds)):
                return then(data)
        return otherwise(data)

    return choose


def _if_members(pairs: list[tuple[Rule, Rule]], otherwise: Rule) -> Rule:
    steps = [
        (condition.name, condition.wanted, condition, then)
        if isinstance(condition, MemberIs)
        else (None, "", condition, then)
        for condition, then in pairs
    ]

    def choose(data: Any) -> Any:
        get = data.get
        for name, wanted, condition, then in steps:
            if name is not None:
                value = get(name)
                if type(value) is str:
                    if value == wanted:
                        return then(data)
                    continue
            holds = condition(data)
            if holds is True or (holds is not False and truth(holds)):
                return then(data)
        return otherwise(data)

    return choose


def _and(rules: list[Rule]) -> Rule:
    def every(data: Any) -> Any:
        value = None
        for rule in rules:
            value = rule(data)
            if value is not True and not truth(value):
                return value
        return value

    return every


def _or(rules: list[Rule]) -> Rule:
    def first(data: Any) -> Any:
        value = None
        for rule in rules:
            value = rule(data)
            if value is True or truth(value):
                return value
        return value

    return first


def _equals(rules: list[Rule]) -> Rule:
    if len(rules) == 2 and isinstance(rules[1], Literal) and type(rules[1].value) is str:
        left, wanted = rules[0], rules[1].value
        if isinstance(left, Member) and left.default is None:
            return MemberIs(left.name, wanted)

        def equals_text(data: Any) -> bool:
            value = left(data)
            return value == wanted if type(value) is str else equals(value, wanted)

        return equals_text
    return _call(equals, rules)


def _in(rules: list[Rule]) -> Rule:
    if len(rules) == 2 and isinstance(rules[1], Literal) and isinstance(rules[1].value, list):
        needle, haystack = rules[0], rules[1].value
        if all(type(item) is str for item in haystack):
            texts = frozenset(haystack)

            def among(data: Any) -> bool:
                value = needle(data)
                return value in texts if type(value) is str else value in haystack

            return among
    return _call(OPERATORS["in"], rules)


def _sem_ver(rules: list[Rule]) -> Rule:
    if len(rules) != 3:
        return _call(lambda *_: None, rules)
    left, middle, right = rules
    if isinstance(middle, Literal) and isinstance(right, Literal):
        operator, bound = middle.value, semver.parse(right.value)

        def against_bound(data: Any) -> bool | None:
            version = semver.parse(left(data))
            return None if version is None or bound is None else semver.compare(version, operator, bound)

        return against_bound

    def compare(data: Any) -> bool | None:
        one, operator, other = semver.parse(left(data)), middle(data), semver.parse(right(data))
        return None if one is None or other is None else semver.compare(one, operator, other)

    return compare


def _missing(find: Callable[..., Any], rules: list[Rule]) -> Rule:
    return lambda data: find(data, *[rule(data) for rule in rules])


def _call(operator: Callable[..., Any], rules: list[Rule]) -> Rule:
    match rules:
        case [one]:
            return lambda data: operator(one(data))
        case [one, two]:
            return lambda data: operator(one(data), two(data))
        case _:
            return lambda data: operator(*[rule(data) for rule in rules])


_BUILDERS: Final[Mapping[str, Callable[[list[Rule]], Rule]]] = {
    "if": _if,
    "?:": _if,
    "and": _and,
    "or": _or,
    "==": _equals,
    "in": _in,
    "sem_ver": _sem_ver,
    "missing": lambda rules: _missing(missing, rules),
    "missing_some": lambda rules: _missing(missing_some, rules),
}
