"""What the kernel is told, and tells, of the bytes that have come for a socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pssh.clients.base import arrivals


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    with one, other:
        yield one, other


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Only Linux can be told.")
def test_what_has_come_is_acknowledged_at_once(ends: tuple[socket.socket, socket.socket]) -> None:
    one, _ = ends
    # As after a dialogue, where an acknowledgement waits for something to be sent.
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 0
    arrivals.acknowledge(one)
    assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1


def test_what_is_no_tcp_connection_has_nothing_to_acknowledge() -> None:
    one, other = socket.socketpair()
    with one, other:
        arrivals.acknowledge(one)
