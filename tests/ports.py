"""Ports for servers of tests."""

from __future__ import annotations

import secrets
import socket
from contextlib import closing


def free_port():
    """A port that nothing uses and no connection is given: a server may leave it and come back."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # Linux numbers connections from 32,768
        with closing(socket.socket()) as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
