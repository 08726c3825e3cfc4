"""What a stranger gets with a clone: everything pinned by hash, nothing that names a place only we can reach."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTS = re.compile(r"https?://[a-z.-]*(pythonhosted|npm" + r"js|debian)\.|https?://py" + r"pi\.", re.IGNORECASE)


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry_host() -> None:
    """Where packages come from is the machine's setting, so no file in the tree says it."""
    named = []
    for path in _tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        if HOSTS.search(text):
            named.append(str(path.relative_to(ROOT)))
    assert named == []


@pytest.mark.parametrize("name", ["run", "dev", "node"])
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    """An entry without an exact version or a hash would let the install differ from what was tested."""
    entries = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ").splitlines()
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9-]*==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


def _names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match.group().lower()) for match in found if match}


def test_compiled_requirements_know_every_declared_one() -> None:
    """A dependency added to pyproject.toml without `make requirements` would be missing on a fresh clone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    run = _names([*project["project"]["dependencies"], *extras["server"], *extras["demo"], *groups["build"]])
    development = _names([*groups["test"], *groups["check"]])
    compiled = {
        name: _names((ROOT / "requirements" / f"{name}.txt").read_text().splitlines()) for name in ("run", "dev")
    }
    assert run - compiled["run"] - {"airboss"} == set()
    assert (run | development) - compiled["dev"] - {"airboss"} == set()


def test_javascript_is_pinned_exactly_and_names_no_place() -> None:
    """The lock file keeps versions and integrity; htmx stays on 2, whose behaviour the pages are written for."""
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        entry = locked[f"node_modules/{name}"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert entry["version"] == version
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry
    assert wanted["htmx.org"].startswith("2.")


def test_readme_commands_exist() -> None:
    """Every `make` target that the README tells a reader to type is there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
