"""What the kernel knows of the bytes that have come for a socket, and of its end."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios

from gevent.monkey import get_original

#: ``tcpi_bytes_received`` of Linux's ``struct tcp_info`` (linux/tcp.h).
_BYTES_RECEIVED = struct.Struct("=128xQ")

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)

# The real one, also when the program has made the standard library cooperative.
_poll = get_original("select", "poll")


def bytes_received(sock: socket.socket) -> int | None:
    """Count the bytes that have come, read or not; ``None`` where the kernel does not."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
        return int(_BYTES_RECEIVED.unpack(info)[0])
    except (OSError, struct.error, AttributeError):
        return None


def bytes_unread(sock: socket.socket) -> int:
    """Count the bytes that have come and not been read; none on a socket that is closed."""
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0")
    except (OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)


def acknowledge(sock: socket.socket) -> None:
    """Have the kernel tell the other end at once what has come, where it would wait with that.

    A server that has sent something small and holds back something else until it knows that the
    first has come (Nagle's algorithm) would wait for as long as the kernel does: 40 ms.
    """
    if _QUICKACK is not None:
        try:  # noqa: SIM105 (which costs more than the call itself, and this is often called)
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            # What is no TCP connection has nothing to acknowledge.
            pass


def is_cut(sock: socket.socket) -> bool:
    """Whether the connection has ended in both directions, as it does with a reset."""
    poll = _poll()
    poll.register(sock.fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
