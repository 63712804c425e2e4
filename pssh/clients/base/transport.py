"""The socket that a session speaks over."""

from __future__ import annotations

import socket

from gevent.monkey import get_original

from pssh.clients.base import arrivals

# The real one, also when the program has made the standard library cooperative.
_socket: type[socket.socket] = get_original("socket", "socket")


class TransportSocket(_socket):  # type: ignore[valid-type, misc]
    """A socket that only its connection closes.

    One that Python finds in a cycle it would close by itself, with a warning, and before the
    protocol library has let go of the descriptor, which might be somebody else's by then.
    """

    def __del__(self) -> None:
        pass

    def bytes_received(self) -> int | None:
        """Count the bytes that have come, read or not; ``None`` where nobody counts them."""
        return arrivals.bytes_received(self)

    def why_ended(self) -> Exception | None:
        """Why the other end has gone, where that is known better than the network tells."""
        return None
