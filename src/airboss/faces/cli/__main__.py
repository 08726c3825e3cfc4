"""`python -m airboss.faces.cli`: the same as `airboss`, where the script is not on the path."""

from __future__ import annotations

import sys

from airboss.faces.cli import main

sys.exit(main())
