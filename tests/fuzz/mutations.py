"""Breaks files in the ways people and attackers do: bytes, tokens of YAML, and whole values in odd places."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from airboss.kernel.errors import AirbossError
from airboss.kernel.yaml import load_documents

TOKENS: Final = tuple(
    token.encode()
    for token in (
        *("&a ", "*a", "<<: *a", "!!binary ", "!!python/object:os ", "!x ", "{", "}", "[", "]", ",", ": ", "? ", "- "),
        *(
            "|\n",
            ">\n",
            "|+9\n",
            "'",
            '"',
            "\t",
            "\r",
            "\r\n",
            "\n---\n",
            "\n...\n",
            "%YAML 1.2\n",
            "# ",
            "\\",
            "\\ud800",
        ),
        *(
            "\x00",
            "\x85",
            "\u2028",
            "\ufeff",
            "\u202e",
            "\U0001f600",
            "~",
            "null",
            ".inf",
            "-.nan",
            "0x",
            "0o7",
            "1_000",
        ),
        *("1e999", "9" * 500, "-0", "1.", "2026-02-30T25:61", "24h", "-1s", "100.1%", "p100", "1%%", "yes", "on"),
        *("${jndi:x}", "{{x}}", "../../etc", "a" * 3000, "chg_", "chg_" + "0" * 26, "sha256:", "kind: Change\n"),
    )
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**63, -(2**63), 10**400, 0.1, 1e308, -0.0, "", " ", "\n", "x", "0", "1%", "1m"),
    *([], {}, [[]], [{}], {"": ""}, {"a": {"b": {"c": []}}}, "a" * 5000, "ü", "\u202e", "\x7f", "p95", "data", "*"),
    *("2026-12-01T09:00:00Z", "9999-12-31T23:59:59Z", "FREQ=SECONDLY", "FREQ=YEARLY;BYDAY=99MO", "Europe/Nowhere"),
    *("size(services) > 0", "services.all(a, services.all(b, a == b))", "(" * 300, "1/0", '"' + "x" * 100 + '"'),
)


def broken(chance: Random, corpus: Sequence[tuple[bytes, str]]) -> tuple[bytes, str]:
    """Return one broken file and what it is called."""
    data, name = chance.choice(corpus)
    if chance.random() < 0.5 and (whole := _values(chance, data, name, corpus)) is not None:
        return whole, name.replace(".md", ".yaml")
    for _ in range(chance.randint(1, 6)):
        data = _bytes(chance, data, corpus)
    return data, name


def _bytes(chance: Random, data: bytes, corpus: Sequence[tuple[bytes, str]]) -> bytes:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 1, 2, 5, 20, 80)))
    match chance.randrange(7):
        case 0:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + chance.choice(TOKENS) + data[at:]
        case 3:
            return data[:end] + data[at:end] * chance.choice((1, 2, 50)) + data[end:]
        case 4:
            other = chance.choice(corpus)[0]
            start = chance.randrange(len(other))
            return data[:at] + other[start : start + chance.choice((10, 100, 1000))] + data[at:]
        case 5:
            lines = data.splitlines(keepends=True) or [b""]
            here = chance.randrange(len(lines))
            lines.insert(chance.randrange(len(lines)), lines.pop(here))
            return b"".join(lines)
        case _:
            lines = data.splitlines(keepends=True) or [b""]
            here = chance.randrange(len(lines))
            lines[here] = b" " * chance.randrange(4) + lines[here].lstrip()
            return b"".join(lines)


def _values(chance: Random, data: bytes, name: str, corpus: Sequence[tuple[bytes, str]]) -> bytes | None:
    """Return a file whose YAML is sound and whose values are not; None where there is nothing to take apart."""
    trees = _trees(data, name)
    if not trees:
        return None
    others = _trees(*chance.choice(corpus))
    for _ in range(chance.randint(1, 4)):
        tree = chance.choice(trees)
        path = _somewhere(chance, tree)
        if not path:
            continue
        holder = tree
        for step in path[:-1]:
            holder = holder[step]
        match chance.randrange(5):
            case 0:
                del holder[path[-1]]
            case 1 if isinstance(holder, dict):
                holder[chance.choice(("x", "", "kind", "spec", "name", "Ü" * 70, path[-1] + "s"))] = holder[path[-1]]
            case 2 if others:
                other = chance.choice(others)
                there = _somewhere(chance, other)
                for step in there:
                    other = other[step]
                holder[path[-1]] = json.loads(json.dumps(other))
            case 3 if isinstance(holder, list):
                holder += [holder[path[-1]]] * chance.choice((1, 3, 1200))
            case _:
                holder[path[-1]] = chance.choice(VALUES)
    return "\n---\n".join(json.dumps(tree, ensure_ascii=chance.random() < 0.5) for tree in trees).encode(
        errors="surrogatepass"
    )


def _trees(data: bytes, name: str) -> list[Any]:
    if name.endswith(".md"):
        data = data.split(b"---\n", 2)[1]
    try:
        return [json.loads(json.dumps(document.value)) for document in load_documents(data, name)]
    except AirbossError:
        return []


def _somewhere(chance: Random, tree: Any) -> tuple[Any, ...]:
    path: list[Any] = []
    while isinstance(tree, dict | list) and tree and (not path or chance.random() < 0.8):
        step = chance.choice(list(tree)) if isinstance(tree, dict) else chance.randrange(len(tree))
        path.append(step)
        tree = tree[step]
    return tuple(path)
