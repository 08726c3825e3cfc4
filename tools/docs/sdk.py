"""The page about what services import: every public name of `airboss.sdk` with its signature and what it says."""

from __future__ import annotations

import inspect
import re
from typing import Any

from airboss import sdk


def signature(name: str, thing: Any) -> str:
    """Return how a name is called, one argument a line where it does not fit one."""
    if inspect.isclass(thing) and issubclass(thing, tuple):
        return f"class {name}({', '.join(thing._fields)})"  # type: ignore[attr-defined]  # a NamedTuple
    word = "class" if inspect.isclass(thing) else "def"
    called = inspect.signature(thing)
    shown = [_argument(argument) for argument in called.parameters.values()]
    kinds = [argument.kind for argument in called.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    ending = "" if called.return_annotation in {None, "None", called.empty} else f" -> {called.return_annotation}"
    one = f"{word} {name}({', '.join(shown)}){ending}"
    if len(one) <= 110:
        return one
    inside = "".join(f"    {argument},\n" for argument in shown)
    return f"{word} {name}(\n{inside}){ending}"


def _argument(argument: inspect.Parameter) -> str:
    """Return an argument as it is written; a default that only Python can say is three dots."""
    text = re.sub(r" = <.*>$", " = ...", str(argument))
    return text.replace("'", "")


def members(thing: Any) -> list[str]:
    """Return the public properties and methods a class adds, each with the first sentence of what it says."""
    if not inspect.isclass(thing):
        return []
    rows = []
    for name, member in vars(thing).items():
        doc = inspect.getdoc(member)
        if name.startswith("_") or doc is None or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        call = name if isinstance(member, property) else f"{name}()"
        rows.append(f"- `{call}`: {doc.split(chr(10) + chr(10))[0].replace(chr(10), ' ')}")
    return rows


def prose(doc: str) -> str:
    """Return a docstring as Markdown: what is indented in it is code."""
    parts = []
    for part in doc.split("\n\n"):
        if part.startswith("    "):
            parts.append("```python\n" + inspect.cleandoc(part) + "\n```")
        else:
            parts.append(part)
    return "\n\n".join(parts)


def sections() -> list[str]:
    """Return one section a public name, in the order of the door."""
    parts = []
    for name in sdk.__all__:
        thing = getattr(sdk, name)
        parts.append(
            "\n\n".join(
                part
                for part in (
                    f"## {name}",
                    f"```text\n{signature(name, thing)}\n```",
                    prose(inspect.getdoc(thing) or ""),
                    "\n".join(members(thing)),
                )
                if part
            )
        )
    return parts
