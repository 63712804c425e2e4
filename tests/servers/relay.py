"""One TCP connection through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Protocol

END_OF_FILE = b""


class Policy(Protocol):
    """What a proxy decides for all its connections."""

    #: Seconds that each block is held back, in both directions.
    delay: float
    #: Whether nothing is passed on for now.
    stalled: bool

    def allow_to_client(self, data: bytes) -> bytes:
        """What of the server's data may be passed on."""

    def after_write_to_client(self) -> None:
        """Called once that has been written."""

    def closed(self, relay: Relay) -> None:
        """Called once both sides of a connection have ended."""


class Side(asyncio.Protocol):
    """One end of the connection: reads from its peer what the other end writes to its own.

    Attributes: ``transport``, ``other`` (the other side), ``finished`` (whether its peer's end of
    file has been passed on).
    """

    other: Side

    def __init__(self, relay: Relay, policy: Policy) -> None:
        self.transport: asyncio.Transport | None = None
        self.finished = False
        self._relay = relay
        self._policy = policy
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def is_open(self) -> bool:
        """Whether there is a connection to the peer."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pause_or_resume()

    def data_received(self, data: bytes) -> None:
        if self._policy.delay or self._held or self._must_wait():
            self._held.append((self._loop.time() + self._policy.delay, data))
            self._set_timer()
        else:
            self._pass_on(data)

    def eof_received(self) -> bool:
        self.data_received(END_OF_FILE)
        return True  # the other direction stays open

    def connection_lost(self, error: Exception | None) -> None:
        self._relay.lost()

    def pause_writing(self) -> None:
        if self.other.is_open() and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.pause_or_resume()

    def pause_or_resume(self) -> None:
        """Do what the policy says now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._set_timer()
        if self.is_open() and self.transport is not None:
            if self._policy.stalled or not self.other.is_open():
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def reset(self) -> None:
        """End the connection to the peer with an RST, dropping what was not sent yet."""
        self._held.clear()
        self.pause_or_resume()
        if self.transport is not None:
            reset(self.transport)

    def _must_wait(self) -> bool:
        # Some Pythons (3.11.2 is one) start to read after `connection_made` even when that has
        # paused reading: a client may be heard before there is a connection to the server.
        return self._policy.stalled or self.other.transport is None

    def _set_timer(self) -> None:
        if self._held and self._timer is None and not self._must_wait():
            self._timer = self._loop.call_at(self._held[0][0], self._pass_on_due)

    def _pass_on_due(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            self._pass_on(self._held.popleft()[1])
        self._set_timer()

    def _pass_on(self, data: bytes) -> None:
        if not self.other.is_open() or self.other.transport is None:
            return
        if data == END_OF_FILE:
            self._pass_on_end_of_file(self.other.transport)
        elif self is self._relay.client:
            self.other.transport.write(data)
        elif not self._relay.half_closed and (allowed := self._policy.allow_to_client(data)):
            self.other.transport.write(allowed)
            self._policy.after_write_to_client()

    def _pass_on_end_of_file(self, transport: asyncio.Transport) -> None:
        self.finished = True
        with contextlib.suppress(OSError):
            transport.write_eof()
        if self.other.finished:
            self._relay.close()


class Relay:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, policy: Policy) -> None:
        #: Whether the client has been sent an end of file, after which nothing can follow.
        self.half_closed = False
        self._policy = policy
        self._ended = False
        self.client = Side(self, policy)
        self.server = Side(self, policy)
        self.client.other, self.server.other = self.server, self.client

    def pause_or_resume(self) -> None:
        """Do what the policy says now."""
        self.client.pause_or_resume()
        self.server.pause_or_resume()

    def close(self) -> None:
        """Close both sides after what was written to them has been sent."""
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.close()

    def reset(self) -> None:
        """Reset both sides."""
        self.client.reset()
        self.server.reset()

    def lost(self) -> None:
        """One side has ended altogether, in order or not: so does the other."""
        if self._ended:
            return
        self._ended = True
        in_order = self.client.finished and self.server.finished
        if not in_order:
            self.reset()
        self._policy.closed(self)


def reset(transport: asyncio.WriteTransport) -> None:
    """End a connection with an RST instead of a FIN, dropping what was not sent yet."""
    linger_on_for_no_time = b"\1\0\0\0\0\0\0\0"
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_on_for_no_time)
    transport.abort()
