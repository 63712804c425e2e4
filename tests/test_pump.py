"""A pump between a channel that always has something and a socket that takes all of it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from pssh.clients.base.pump import BLOCK, Pump
from pssh.clients.base.transport import carried_pair


class BusyChannel:
    """Whatever is read, there is more."""

    def read(self, _stream: int, size: int) -> bytes:
        return bytes(size)

    def has_arrived(self) -> bool:
        return True


class Taker:
    """A socket that takes everything at once."""

    def __init__(self) -> None:
        self._sock, self._other = socket.socketpair()
        self.fileno, self.recv = self._sock.fileno, self._sock.recv
        self.shutdown = self._sock.shutdown
        self.taken = 0

    def send(self, data: memoryview, _flags: int) -> int:
        self.taken += len(data)
        return len(data)

    def close(self) -> None:
        self._sock.close()
        self._other.close()


@pytest.fixture
def taker() -> Iterator[Taker]:
    made = Taker()
    with contextlib.closing(made):
        yield made


def test_others_have_a_turn_after_a_block(taker: Taker) -> None:
    pumps: Any = SimpleNamespace(
        hub=gevent.get_hub(),
        connection=SimpleNamespace(attempt=lambda operation, *args: operation(*args)),
        ended=lambda _: None,
    )
    channel, sock = BusyChannel(), taker
    pump = Pump(pumps, channel, sock, None)  # type: ignore[arg-type]
    for _ in range(3):
        before = sock.taken
        # There is more, and it is for the next turn.
        assert pump.from_channel()
        # Not in small steps either: each turn is a switch to whoever else there is.
        assert BLOCK <= sock.taken - before < 2 * BLOCK
    pump.finish(None)


def test_a_pair_holds_a_block_each_way() -> None:
    ours, theirs = carried_pair()
    with contextlib.closing(theirs):
        for sock in (ours, theirs):
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while sent < BLOCK:
                    sent += sock.send(bytes(BLOCK - sent))
            assert sent == BLOCK
        ours.close()
