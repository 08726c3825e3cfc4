"""The first admin of an empty store: a link in a file that only the owner of the data folder can read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from airboss.people.access import LOCAL
from airboss.people.identity.model import Link
from airboss.people.identity.sign_in import SignIn

FILE: Final = "first-admin-link.txt"


def first_admin_link(sign_in: SignIn, folder: Path, *, base_url: str) -> str | None:
    """Issue the link that makes the first admin, write it to `folder`/first-admin-link.txt (mode 0600), return it.

    Returns None, and clears the file away, when there is an admin already. Each call replaces the link before.
    """
    path = folder / FILE
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    issued: Link | None = sign_in.issue_first_admin_link(LOCAL)
    if issued is None:
        return None
    url = base_url.rstrip("/") + issued.path
    # Made with its mode, never widened and narrowed; and never through a link somebody left in its place.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(url + "\n")
    return url
