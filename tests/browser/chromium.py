"""The real browser of the browser tests: Debian's Chromium, or the one AIRBOSS_CHROMIUM names."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Browser, Playwright

MISSING = "no chromium: apt-get install chromium, or name another in AIRBOSS_CHROMIUM"


def executable() -> str | None:
    """Return the browser's path, or None."""
    return os.environ.get("AIRBOSS_CHROMIUM") or shutil.which("chromium")


def launch(playwright: Playwright) -> Browser:
    """Start a headless Chromium. Its own sandbox is off only for root, where it cannot work."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=executable(), args=[*arguments, "--disable-dev-shm-usage"])
