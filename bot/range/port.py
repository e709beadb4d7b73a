"""A port of loopback for one of the range's servers."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def listen() -> socket.socket:
    """A listening socket on a port of the system's choice.

    It names TCP as its protocol, which ``socket.create_server`` does not: asyncio turns Nagle's algorithm off only for
    sockets that say so, and with it every answer on a connection that is kept waits some 40 ms for an acknowledgement.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind((HOST, 0))
    made.listen(128)
    return made
