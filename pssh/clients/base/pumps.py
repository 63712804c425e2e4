"""All pumps of a connection, run by one greenlet.

A bastion may have a thousand targets behind it. With a greenlet for each, every packet would
wake them all, and a thousand connections be a million switches.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import gevent
from gevent.monkey import get_original

from pssh.clients.base.arrivals import acknowledge
from pssh.clients.base.connection import Connection
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.pump import BLOCK, Pump
from pssh.clients.base.seam import WOULD_BLOCK, Channel
from pssh.exceptions import PSSHError, StoppedError

_get_ident: Callable[[], int] = get_original("_thread", "get_ident")


def start(
    connection: Connection,
    channel: Channel,
    sock: socket.socket,
    on_end: Callable[[Pump], None] | None = None,
) -> Pump:
    """Carry bytes between a channel and a socket until both ways have ended.

    :param connection: the channel's connection.
    :param channel: the channel; it is the pump's from now on, which closes it.
    :param sock: a connected stream socket that does not block; it is the pump's, too.
    :param on_end: called with the pump when it has ended, and before the socket is closed, so
        that whoever has the other end can know why. It must not wait.
    :returns: the pump, which runs: see its ``done`` and ``error``.
    """
    if connection.pumps is None:
        connection.pumps = Pumps(connection)
    return connection.pumps.start(channel, sock, on_end)


class Pumps:
    """Runs the pumps of a connection.

    :param connection: the connection.
    """

    __slots__ = (
        "_asleep",
        "_buffer",
        "_called",
        "_closing",
        "_greenlet",
        "_pumps",
        "_scanned",
        "_serving",
        "_thread",
        "_touched",
        "connection",
        "hub",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.hub = gevent.get_hub()
        self._thread = _get_ident()
        self._pumps: dict[Pump, None] = {}
        #: Pumps whose socket may have got further, or that were stopped.
        self._touched: dict[Pump, None] = {}
        #: Channels of pumps that have ended, which the server has not closed yet.
        self._closing: dict[Channel, None] = {}
        #: The pump that is being served.
        self._serving: Pump | None = None
        self._greenlet: gevent.Greenlet | None = None
        self._asleep = False
        #: Whether it has been woken for a socket, rather than for the connection.
        self._called = False
        self._scanned = -1
        self._buffer = bytearray()

    @property
    def idle(self) -> bool:
        """Whether there is none, and no channel of one that the server has not closed yet."""
        return not self._pumps and not self._closing

    def start(
        self, channel: Channel, sock: socket.socket, on_end: Callable[[Pump], None] | None
    ) -> Pump:
        """Start a pump. See :func:`start`."""
        pump = Pump(self, channel, sock, on_end)
        self._pumps[pump] = None
        # What came before it was there has woken nobody for it.
        self._scanned = -1
        if self._greenlet is None or self._greenlet.dead:
            self._buffer = bytearray(BLOCK)
            self._greenlet = gevent.spawn(self._run)
        self._touched[pump] = None
        self._wake()
        return pump

    def stop(self, pump: Pump) -> None:
        """See :meth:`Pump.stop`."""
        if _get_ident() != self._thread:
            # The loop of a thread that has ended has ended as well.
            if self.hub.loop is not None:
                self.hub.loop.run_callback_threadsafe(self.stop, pump)
        elif pump in self._pumps:
            pump.stopped = True
            self._touched[pump] = None
            self._wake()

    def touch(self, pump: Pump) -> None:
        """Runs in the loop: the socket of a pump is ready."""
        try:
            self._touched[pump] = None
            self._resume()
        except BaseException:
            # Ctrl-C may come here. gevent stops a watcher when what it calls raises.
            self.hub.loop.run_callback(self.touch, pump)
            raise

    def ended(self, pump: Pump) -> None:
        """A pump has ended, and its channel is to be closed."""
        self._pumps.pop(pump, None)
        self._touched.pop(pump, None)
        self._closing[pump.channel] = None

    def _wake(self) -> None:
        if self._asleep:
            self.hub.loop.run_callback(self._resume)

    def _resume(self) -> None:
        """Runs in the loop: there is something to do."""
        if self._asleep:
            self._called = True
            assert self._greenlet is not None
            self._greenlet.switch()

    # The greenlet

    def _run(self) -> None:
        connection = self.connection
        try:
            while connection.alive and (self._pumps or self._closing):
                try:
                    self._take_turn()
                except KeyboardInterrupt as ex:
                    # It came while this greenlet had its turn, but is meant for the program, which
                    # may still need what is carried here, if only to end commands.
                    self._go_on_without_the_one_served()
                    pass_on(ex)
        except PSSHError:
            if connection.alive:
                raise
        finally:
            self._give_up()

    def _take_turn(self) -> None:
        """Do what there is to do, and sleep when that is nothing."""
        connection = self.connection
        more = self._serve_sockets()
        if self._scanned < 0 or connection.bytes_received() != self._scanned:
            more = self._serve_channels() or more
        self._close_channels()
        if more:
            # Who is at the other ends of the sockets has a turn.
            gevent.sleep(0)
        elif not self._touched and connection.bytes_taken() == self._scanned:
            self._sleep()

    def _go_on_without_the_one_served(self) -> None:
        """End the pump that was being served: what it had in hand may be missing."""
        pump, self._serving = self._serving, None
        if pump is not None:
            pump.finish(self._interrupted())
        # Nobody else may wait for what has been told already.
        self._touched.update(self._pumps)
        self._scanned = -1

    def _interrupted(self) -> PSSHError:
        host, port = self.connection.host, self.connection.port
        return StoppedError(
            "A way through host %s:%s was given up: this program was interrupted while it was "
            "carrying something there",
            host,
            port,
            host=host,
            port=port,
        )

    def _serve_sockets(self) -> bool:
        """Serve the pumps whose sockets are ready; whether there is more at once."""
        touched, self._touched = self._touched, {}
        more = False
        for pump in touched:
            self._serving = pump
            if pump.stalled and pump.to_socket():
                # The channel may have more for it.
                self._scanned = -1
            if pump in self._pumps and not pump.blocked and pump.from_socket(self._buffer):
                self._touched[pump] = None
                more = True
        self._serving = None
        return more

    def _serve_channels(self) -> bool:
        """Read what has come, for whichever pump; whether there is more at once."""
        # Before the first read: what others take from the network meanwhile is news.
        self._scanned = self.connection.bytes_taken()
        more = asked = False
        for pump in list(self._pumps):
            if pump not in self._pumps:
                continue
            self._serving = pump
            # One read takes from the network what there is, for whichever channel.
            if pump.wants_channel and (not asked or pump.has_news):
                asked = True
                more = pump.from_channel() or more
            # After the read: a channel that the server has closed takes nothing any more, which
            # is known once everything has been read.
            if pump.blocked and pump in self._pumps:
                pump.from_socket(self._buffer)
        self._serving = None
        if more:
            self._scanned = -1
        return more

    def _close_channels(self) -> None:
        """Bring the channels of those that have ended to their end."""
        for channel in list(self._closing):
            try:
                if self.connection.attempt(channel.close) is WOULD_BLOCK:
                    continue
            except PSSHError:
                if not self.connection.alive:
                    raise
            self._closing.pop(channel, None)
            self.connection.release(channel)

    def _sleep(self) -> None:
        self._asleep, self._called = True, False
        try:
            if self._closing or any(p.wants_channel or p.blocked for p in self._pumps):
                # What is small may be held back over there: room in a window, or an answer.
                acknowledge(self.connection.sock)
                self.connection.wait()
            else:
                # Nobody could take what comes: a connection that has something is no news.
                self.connection.park()
            if not self._called:
                # The connection has woken us: it has something, or it has ended.
                self._scanned = -1
        finally:
            self._asleep = False

    def _give_up(self) -> None:
        """The connection has ended, or this greenlet was killed: so has everything on it."""
        connection = self.connection
        for pump in list(self._pumps):
            pump.finish(connection.end())
        for channel in self._closing:
            connection.release(channel)
        self._closing.clear()
        self._buffer = bytearray()
