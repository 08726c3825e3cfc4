"""Backups: everything a server keeps as one file, verified when it is written and again when it is put back.

`airboss backup` and `airboss restore` call it; a backup of an embedded database may be taken while the server runs.
"""

from airboss.records.backups.model import Manifest, Places
from airboss.records.backups.service import back_up, restore

__all__ = ["Manifest", "Places", "back_up", "restore"]
