"""Free ports on this machine, for clusters that live for a test or an afternoon."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

from pssmr.errors import Error

_LOWEST = 10_000
_TRIES = 2000


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports at which nobody listens on `host`.

    They are below the range from which the kernel draws the ports of outgoing connections. So none of those takes one
    while its replica is down, least of all a peer that dials the replica and would get connected to itself.

    Somebody else may take a port before its replica does: whoever starts replicas tries again with other ports.

    Raises:
        Error: If there are too few.
    """
    highest = _ephemeral_start() - 1
    draw = random.SystemRandom()
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for _ in range(_TRIES):
            if len(found) == count:
                return found
            probe = held.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            # A port of a replica that just stopped has connections in TIME_WAIT: it is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = draw.randint(_LOWEST, highest)
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                # Without it, two sockets with SO_REUSEADDR could be bound to one port.
                probe.listen(1)
                found.append(port)
    raise Error(f"no {count} free ports from {_LOWEST} to {highest} on {host}")


def _ephemeral_start() -> int:
    """The first port of the kernel's range for outgoing connections."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
