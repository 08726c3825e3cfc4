"""The ingest as a child of control: settings as one line on standard input, whose end means that control is gone."""

from __future__ import annotations

import signal
import socket
import sys

from airboss.faces.server.ingest import run_ingest
from airboss.faces.server.keeper import read_settings_line


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    # Control-C in a terminal reaches the whole group; control decides when its child ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    run_ingest(read_settings_line(line), listener=socket.socket(fileno=int(sys.argv[1])), parent=sys.stdin.buffer)


main()
