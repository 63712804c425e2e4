"""What stands behind a tunnel: listening sockets in the test's own process."""

from __future__ import annotations

import contextlib
import socket as blocking
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gevent import socket
from gevent.server import StreamServer

from pssh.clients.base.seam import Destination

Serve = Callable[[socket.socket], None]

#: What :func:`echo` says after it has seen an end of file.
GOODBYE = b"goodbye"


def echo(sock: socket.socket) -> None:
    """Send back what comes, and a last word after the end of it."""
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.sendall(GOODBYE)


def flood(sock: socket.socket) -> None:
    """Send for ever."""
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"x" * 65536)


class Endpoint:
    """A listening loopback socket.

    :ivar port: its port.
    :ivar open: connections that are being served.
    :ivar accepted: how many there have been.
    """

    host = "127.0.0.1"

    def __init__(self, serve: Serve, family: int = socket.AF_INET) -> None:
        self._serve = serve
        address = ("127.0.0.1", 0) if family == socket.AF_INET else ("::1", 0)
        self.server = StreamServer(address, self._handle)
        self.server.start()
        self.port: int = self.server.server_port
        self.open: set[socket.socket] = set()
        self.accepted = 0

    @property
    def destination(self) -> Destination:
        """Where it is, in an object of its own."""
        return Destination(self.host, self.port)

    def _handle(self, sock: socket.socket, _address: object) -> None:
        self.accepted += 1
        self.open.add(sock)
        try:
            with contextlib.suppress(ConnectionError):
                self._serve(sock)
        finally:
            self.open.discard(sock)
            sock.close()


@contextmanager
def listening(serve: Serve) -> Iterator[Endpoint]:
    """An endpoint, as long as it is needed."""
    endpoint = Endpoint(serve)
    try:
        yield endpoint
    finally:
        endpoint.server.stop(timeout=0)


def socket_pair() -> tuple[blocking.socket, socket.socket]:
    """An end for a pump, and the other for a greenlet."""
    pumped, ours = blocking.socketpair()
    pumped.setblocking(False)
    return pumped, socket.socket(fileno=ours.detach())


def read_all(sock: socket.socket) -> bytes:
    """Read until the end of file."""
    parts = []
    while data := sock.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)
