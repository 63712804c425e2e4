"""What the kernel knows of the bytes that have come for a socket."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios

#: ``tcpi_bytes_received`` of Linux's ``struct tcp_info`` (linux/tcp.h).
_BYTES_RECEIVED = struct.Struct("=128xQ")


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
