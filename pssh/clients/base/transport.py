"""The way to a host, and the socket that a session speaks over."""

from __future__ import annotations

import contextlib
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

from gevent.monkey import get_original

from pssh.clients.base import arrivals

#: What a pair of sockets may hold each way, in bytes, as far as the system allows. Whoever is at
#: one end is woken for the other end's sake as seldom as it is large.
_BUFFER = 256 * 1024

#: What is read at once of what nobody wants.
_DRAINED = 64 * 1024

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

    def nothing_read(self) -> bool:
        """Whether all that has come is there still, as far as is known."""
        received = self.bytes_received()
        # An end of file counts as a byte that has come.
        return received is not None and received - arrivals.bytes_unread(self) <= 1

    def why_ended(self) -> Exception | None:
        """Why the other end has gone, where that is known better than the network tells."""
        return None


class Carrier(Protocol):
    """Carries what a session says through something else than a network."""

    #: How many bytes it has put into the session's socket.
    passed_on: int
    #: What cut it off, if something did.
    error: BaseException | None

    def stop(self) -> None:
        """The session has closed its socket. It can be called in any thread."""


class CarriedSocket(TransportSocket):
    """An end of a pair of sockets, at whose other end a carrier stands.

    :ivar carrier: the carrier.
    :ivar explain: makes the session's error of what cut the carrier off.
    """

    carrier: Carrier | None = None
    explain: Callable[[BaseException], Exception] | None = None

    def bytes_received(self) -> int | None:
        # The kernel does not count them on a local socket.
        return None if self.carrier is None else self.carrier.passed_on

    def why_ended(self) -> Exception | None:
        if self.carrier is None or self.carrier.error is None or self.explain is None:
            return None
        return self.explain(self.carrier.error)

    def close(self) -> None:
        """Close it, and have the carrier finish."""
        super().close()
        carrier, self.carrier = self.carrier, None
        if carrier is not None and not sys.is_finalizing():
            carrier.stop()


def carried_pair() -> tuple[CarriedSocket, socket.socket]:
    """Make a socket for a session, and the other end for a carrier. Neither blocks.

    :raises OSError: when the process has no descriptors left.
    """
    ours, theirs = socket.socketpair()
    sock, other_end = CarriedSocket(fileno=ours.detach()), plain(theirs)
    for end in (sock, other_end):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return sock, other_end


def close_drained(sock: socket.socket) -> None:
    """Close a socket of which not everything may have been read.

    To close it as it is would be a reset. At the other end of a pair that comes before what is
    there to be read: of a host that has gone, its last words.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
        # What a pair holds; whoever sends more from elsewhere is not waited for.
        for _ in range(_BUFFER * 2 // _DRAINED + 1):
            if not sock.recv(_DRAINED, socket.MSG_DONTWAIT):
                break
    sock.close()


def plain(sock: socket.socket) -> socket.socket:
    """Return an ordinary socket in place of one that the program may have made cooperative.

    :param sock: is not to be used any more.
    """
    return _socket(fileno=sock.detach())


class Attempt(NamedTuple):
    """An attempt to reach a host.

    :ivar host: the host as the user names it, for messages.
    :ivar port: its port.
    :ivar timeout: seconds that each step may take; ``None`` for as long as it likes.
    :ivar number: which attempt this is, from 1.
    :ivar attempts: of how many.
    :ivar hostname: its real name or address.
    """

    host: str
    port: int
    timeout: float | None
    number: int
    attempts: int
    hostname: str


class Final(Exception):
    """Wraps an error after which another attempt would do harm, or no good."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Transport(ABC):
    """A way to a host, for the attempts to connect to it; a context manager around them."""

    @abstractmethod
    def open(self, to: Attempt) -> TransportSocket:
        """Return a socket that leads to the host, and does not block.

        :param to: the attempt.
        :raises PSSHError: when the host cannot be reached.
        :raises Final: when that is no use trying again.
        """

    def __enter__(self) -> Transport:
        return self

    def __exit__(  # noqa: B027 (most ways hold nothing)
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """There will be no further attempt."""
