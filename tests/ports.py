"""TCP ports of loopback for the servers that tests start.

Invariant: a port comes from outside the range that the system takes for outgoing connections. One from inside it, free
when it was looked at, is soon the near end of some client's connection, and the server that was meant for it cannot
bind. What is left, another server that binds between the look and the start, is for the caller to try again.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_SETTING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000  # below lie the well-known ones of services that may come and go
_RANDOM = random.SystemRandom()  # two test processes must not draw the same ports
_given: set[int] = set()


def candidates() -> list[int]:
    """Ports that no outgoing connection is given."""
    low, high = map(int, _SETTING.read_text().split()) if _SETTING.exists() else (32_768, 60_999)
    return [*range(_LOWEST, low), *range(high + 1, 65_536)] or [*range(_LOWEST, 65_536)]


def free_port() -> int:
    """A port that nobody has bound now, and that this process was not given before."""
    drawn = candidates()
    _RANDOM.shuffle(drawn)
    for port in drawn:
        if port not in _given and _free(port):
            _given.add(port)
            return port
    raise RuntimeError("every port of loopback is taken")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
