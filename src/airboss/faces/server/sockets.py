"""Listening sockets, opened before anything else: a port that is taken is said at once."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final

from airboss.kernel.errors import AirbossError, Invalid, Refused

BACKLOG: Final = 2048


def listen(host: str, port: int, *, setting: str) -> socket.socket:
    """Return a socket that listens. `setting` is the option that names the port. Raises Refused (taken) or Invalid."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as fault:
        raise _unusable(host, fault) from fault
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as fault:
        opened.close()
        raise _refused(host, port, setting, fault) from fault
    return opened


def port_of(listener: socket.socket) -> int:
    """Return the port a socket listens on."""
    return int(listener.getsockname()[1])


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused(host: str, port: int, setting: str, fault: OSError) -> AirbossError:
    if fault.errno == errno.EADDRINUSE:
        return Refused(
            f"port {port} of {host} is taken",
            code="port-taken",
            way_out=f"end what listens there, or choose another port: {setting} N",
        )
    if fault.errno == errno.EACCES:
        return Refused(
            f"port {port} may not be opened by this user",
            code="port-forbidden",
            way_out=f"choose a port from 1024 on: {setting} N",
        )
    return _unusable(host, fault)


def _unusable(host: str, fault: OSError) -> Invalid:
    return Invalid(
        f"{host} is no address of this machine: {fault.strerror}", code="bad-setting", way_out="use --host 127.0.0.1"
    )
