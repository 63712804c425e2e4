"""Bytes on their way between a channel and a socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from gevent.event import Event

from pssh.clients.base.connection import Connection
from pssh.clients.base.seam import STDOUT, WOULD_BLOCK, Channel
from pssh.clients.base.transport import close_drained
from pssh.exceptions import PSSHError

if TYPE_CHECKING:
    from pssh.clients.base.pumps import Pumps

#: What is taken from a socket at once.
BLOCK = 256 * 1024
#: What is taken from a channel at once: little at first, as most packets are small and the
#: memory for each read is fresh. From 128 KiB on, the C library would ask the system for it.
_FIRST_READ = 16 * 1024
_READ = 128 * 1024 - 64

#: A program that has its own mind about SIGPIPE is not killed for a socket that has gone.
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)


class Pump:
    """Carries bytes between a channel and a socket, both ways, until both ways have ended.

    An end of file is passed on, and the other way goes on. What one side does not take holds
    the other side back: no more than a block of each way is in memory here. The socket belongs
    to the pump, which closes it; so does the channel, which is given back to the library.

    Made and run by :func:`pssh.clients.base.pumps.start`.

    :ivar done: set when it has ended.
    :ivar error: what ended it; ``None`` where both ways came to their end, or after
        :meth:`stop`.
    :ivar passed_on: how many bytes of the channel have been put into the socket.
    """

    __slots__ = (
        "__weakref__",
        "_channel_ended",
        "_eof_sent",
        "_incoming",
        "_on_end",
        "_outgoing",
        "_pumps",
        "_read_size",
        "_read_watcher",
        "_socket_ended",
        "_write_watcher",
        "blocked",
        "channel",
        "done",
        "error",
        "passed_on",
        "sock",
        "stalled",
        "stopped",
    )

    def __init__(
        self,
        pumps: Pumps,
        channel: Channel,
        sock: socket.socket,
        on_end: Callable[[Pump], None] | None,
    ) -> None:
        self._pumps = pumps
        self.channel = channel
        self.sock = sock
        self._on_end = on_end
        self.done = Event()
        self.error: BaseException | None = None
        self.passed_on = 0
        #: Whether the socket has to take something before the channel is read again.
        self.stalled = False
        #: Whether the channel has to take something before the socket is read again.
        self.blocked = False
        self.stopped = False
        #: From the channel, for the socket; and the other way round.
        self._incoming = memoryview(b"")
        self._outgoing = memoryview(b"")
        self._channel_ended = False
        self._socket_ended = False
        self._eof_sent = False
        self._read_size = _FIRST_READ
        loop = pumps.hub.loop
        self._read_watcher = loop.io(sock.fileno(), 1)
        self._write_watcher = loop.io(sock.fileno(), 2)

    # What its greenlet does (see Pumps)

    @property
    def wants_channel(self) -> bool:
        """Whether what comes on the channel can be put somewhere."""
        return not (self.stalled or self._channel_ended)

    @property
    def has_news(self) -> bool:
        """Whether a read of the channel gives something at once: data, or its end."""
        return self.channel.has_arrived() or self.channel.at_eof()

    def from_channel(self) -> bool:
        """Carry up to a block from the channel to the socket; whether there is more at once."""
        taken = 0
        while taken < BLOCK:
            data = self._connection.attempt(self.channel.read, STDOUT, self._read_size)
            if data is WOULD_BLOCK:
                return False
            if not data:
                if self.channel.at_eof():
                    self._channel_ended = True
                    self._send()
                return False
            taken += len(data)
            if len(data) == self._read_size:
                self._read_size = _READ
            if self.stopped:
                continue
            self._incoming = memoryview(data)
            if not self._send() or not self.has_news:
                return False
        return True

    def to_socket(self) -> bool:
        """Put into the socket what waits for it; whether it took all."""
        self._write_watcher.stop()
        self.stalled = False
        return self._send()

    def _send(self) -> bool:
        while self._incoming:
            try:
                sent = self.sock.send(self._incoming, _SEND_FLAGS)
            except BlockingIOError:
                self.stalled = True
                self._write_watcher.start(self._pumps.touch, self)
                return False
            except OSError as ex:
                self._socket_failed(ex)
                return False
            self._incoming = self._incoming[sent:]
            self.passed_on += sent
        if self._channel_ended:
            self._end_socket()
        return True

    def _end_socket(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as ex:
            self._socket_failed(ex)
            return
        if self._eof_sent:
            self.finish(None)

    def from_socket(self, buffer: bytearray) -> bool:
        """Carry from the socket to the channel; whether there is more at once."""
        self._read_watcher.stop()
        more = False
        if not self._outgoing and not self._socket_ended:
            try:
                count = self._receive(buffer)
            except BlockingIOError:
                self._expect()
                return False
            except OSError as ex:
                self._socket_failed(ex)
                return False
            self._socket_ended = count == 0
            self._outgoing = memoryview(buffer)[:count]
            more = count == len(buffer)
        return self._write(buffer) and more

    def _receive(self, buffer: bytearray) -> int:
        try:
            return self.sock.recv_into(buffer)
        except ConnectionResetError:
            # The other end was closed before it had read everything, which a local socket says
            # first. What it had written is there still.
            return self.sock.recv_into(buffer)

    def _write(self, buffer: bytearray) -> bool:
        """Write what waits for the channel; whether it took all, and more may come."""
        connection, self.blocked = self._connection, False
        try:
            # All of it, as far as the window goes, before anybody else has a turn: a packet
            # may have been sent in part.
            while self._outgoing:
                written = connection.attempt(self.channel.write, self._outgoing)
                if written is WOULD_BLOCK:
                    self._keep(buffer)
                    return False
                self._outgoing = self._outgoing[written:]
            if not self._socket_ended:
                self._expect()
                return True
            if not self._eof_sent and connection.attempt(self.channel.send_eof) is WOULD_BLOCK:
                self.blocked = True
                return False
        except PSSHError:
            if not connection.alive:
                raise
            # The server has closed the channel. What it sent before that is still to be read.
            self._outgoing = memoryview(b"")
            self._socket_ended = True
        self._eof_sent = True
        if self.stopped or (self._channel_ended and not self._incoming):
            self.finish(None)
        return False

    def _keep(self, buffer: bytearray) -> None:
        """The channel takes no more for now, and others need the buffer."""
        self.blocked = True
        if self.stopped:
            # Nobody is left who could wait for it.
            self.finish(None)
        elif self._outgoing.obj is buffer:
            self._outgoing = memoryview(bytes(self._outgoing))

    def _expect(self) -> None:
        if self.stopped:
            self.finish(None)
        elif not self.done.is_set():
            self._read_watcher.start(self._pumps.touch, self)

    @property
    def _connection(self) -> Connection:
        return self._pumps.connection

    # The end

    def stop(self) -> None:
        """Carry what is in the socket as far as the channel takes it at once, and end.

        It can be called in any thread.
        """
        self._pumps.stop(self)

    def _socket_failed(self, error: OSError) -> None:
        """The other end has gone, and does not take what the channel has for it."""
        if self.stopped:
            self._incoming = memoryview(b"")
            self._channel_ended = True
        else:
            self.finish(error)

    def finish(self, error: BaseException | None) -> None:
        """End it. What ended it is told before the socket is closed.

        :param error: what ended it.
        """
        if self.done.is_set():
            return
        self.error = None if self.stopped else error
        self._incoming = self._outgoing = memoryview(b"")
        self._read_watcher.close()
        self._write_watcher.close()
        self._pumps.ended(self)
        if self._on_end is not None:
            self._on_end(self)
            self._on_end = None
        close_drained(self.sock)
        self.done.set()
