"""One session, its socket, and everyone who waits for it.

A session is one socket with many channels, and a call for one channel may read another
channel's packets. So whoever waits for a session is woken whenever the socket is ready, and
also when somebody else's call has taken bytes from it: nobody sleeps through data that has
arrived.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import weakref
from collections.abc import Callable
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, TypeVar

import gevent
from gevent import getcurrent
from gevent.lock import BoundedSemaphore
from gevent.monkey import get_original

from pssh.clients.base import arrivals, forked, interrupts
from pssh.clients.base.lifetime import Lifetime, get_ident
from pssh.clients.base.seam import (
    READ,
    WOULD_BLOCK,
    WRITE,
    Channel,
    Destination,
    Session,
    WouldBlock,
)
from pssh.clients.base.transport import TransportSocket
from pssh.clients.base.waiters import Waiters
from pssh.exceptions import ConnectionLostError, InvalidAPIUseError, PSSHError

if TYPE_CHECKING:
    from pssh.clients.base.command import Command
    from pssh.clients.base.keepalive import KeepAlive
    from pssh.clients.base.pumps import Pumps

_Result = TypeVar("_Result")

# The real one, also when the program has made the standard library cooperative.
_poll = get_original("select", "poll")


def _forget_variables(error: BaseException) -> None:
    """Keep nothing of the functions that an error came out of but where they were.

    Their variables lead to the library's objects, and a socket of libssh is open for as long as
    any of those is there. A program may keep the errors of thousands of hosts, and one that Ctrl-C
    leaves in a greenlet keeps itself.
    """
    assert error.__traceback__ is not None
    # Without the function that calls this, which goes on.
    clear_frames(error.__traceback__.tb_next)
    cause = error.__cause__
    while cause is not None:
        clear_frames(cause.__traceback__)
        cause = cause.__cause__


class Connection:
    """Lets greenlets wait for a session without blocking the loop or losing a wake-up.

    :param session: the protocol library's session, not shaken hands with yet.
    :param sock: a connected, non-blocking socket.
    :param host: the host's name, for messages.
    :param port: its port.
    """

    __slots__ = (
        "__weakref__",
        "_ending",
        "_hub",
        "_in_thread",
        "_keeps_unsent",
        "_lifetime",
        "_opening",
        "_seen",
        "_sender",
        "_waiters",
        "commands",
        "ended",
        "host",
        "keepalive",
        "port",
        "pumps",
        "session",
        "sock",
    )

    def __init__(self, session: Session, sock: TransportSocket, host: str, port: int) -> None:
        self.session = session
        self.sock = sock
        self.host = host
        self.port = port
        self.keepalive: KeepAlive | None = None
        #: What carries bytes between channels of this connection and sockets.
        self.pumps: Pumps | None = None
        self._hub = gevent.get_hub()
        self._waiters = Waiters(sock.fileno())
        #: Whose packet is partly sent. No other packet can be sent before the rest of it.
        self._sender: Any = None
        self._opening = BoundedSemaphore(1)
        #: Commands and shells that run.
        self.commands: dict[Command, None] = {}
        # Made when there is something for it: most connections never need it.
        self._ending: weakref.WeakSet[gevent.Greenlet] | None = None
        #: Whether a channel has ended that a server may count still.
        self.ended = False
        self._seen = 0
        self._in_thread: Any = None
        self._keeps_unsent = session.keeps_unsent
        # Last: without it there is nothing to close yet.
        self._lifetime = Lifetime(host, port)
        forked.remember(self)
        interrupts.mind_lost()

    # Calling the library

    def call(self, operation: Callable[..., _Result | WouldBlock], *args: Any) -> _Result:
        """Call a method of the session or of a channel until it no longer would block.

        :raises ConnectionLostError: when the connection ends, or has ended, meanwhile.
        """
        while True:
            result = self.attempt(operation, *args)
            if result is not WOULD_BLOCK:
                return result
            self.wait()

    def call_promptly(self, operation: Callable[..., _Result | WouldBlock], *args: Any) -> _Result:
        """As :meth:`call`, for what the server lets go on with something small.

        An answer, or room in a window, which it may hold back until it knows that what it has
        sent before has come (:func:`arrivals.acknowledge`).
        """
        while (result := self.attempt(operation, *args)) is WOULD_BLOCK:
            arrivals.acknowledge(self.sock)
            self.wait()
        return result

    def attempt(
        self, operation: Callable[..., _Result | WouldBlock], *args: Any
    ) -> _Result | WouldBlock:
        """Call a method once, and again while its packet is only partly sent.

        :returns: the result, or ``WOULD_BLOCK`` when the server has to send something first.
        :raises ConnectionLostError: when the connection ends, or has ended, meanwhile.
        """
        while True:
            if self._lifetime.usable_in != get_ident():
                self._lifetime.check()
            sender = self._sender
            if sender is not None and sender is not getcurrent():
                self.wait()
                continue
            try:
                result = operation(*args)
            except BaseException as ex:  # noqa: BLE001 (raised again)
                _forget_variables(ex)
                failure = self._failed(ex)
                try:
                    if failure is ex:
                        raise
                    raise failure from ex
                finally:
                    # Its traceback has this frame, which would hold it, and so the session, whose
                    # socket stays open for as long as there is any reference to it.
                    del failure
            waiters = self._waiters
            if (waiters.waiting or waiters.parked) and not self._has_lost_descriptor():
                self._share_arrivals()
            # Where the library keeps what is not sent, nobody has to call it again for that.
            if (
                result is not WOULD_BLOCK
                or self._keeps_unsent
                or not self.session.directions() & WRITE
            ):
                if sender is not None:
                    self._sent()
                return result
            self._sender = getcurrent()
            try:
                self.wait()
            except BaseException:
                self._finish_sending(operation, args)
                raise

    def open_session(self) -> Channel:
        """Open a session channel.

        :raises SessionError: when the server refuses.
        :raises ConnectionLostError: when the connection ends, or has ended, meanwhile.
        """
        # The library opens one channel of a session at a time (see the seam).
        with self._opening:
            try:
                # OpenSSH tells its host keys first, and the answer only afterwards.
                return self.call_promptly(self.session.open_session)
            finally:
                if self._waiters.waiting and self.session.opens_in_turn:
                    self.wake()

    def open_direct_tcpip(self, destination: Destination) -> Channel:
        """Open a channel through which the server connects to somewhere else.

        :param destination: where to, in an object of its own.
        :raises SessionError: when the server refuses, or cannot connect.
        :raises ConnectionLostError: when the connection ends, or has ended, meanwhile.
        """
        session = self.session
        try:
            return self.call(session.open_direct_tcpip, destination)
        except PSSHError:
            raise
        except BaseException:
            # Given up, which the server cannot be told before it has answered.
            gevent.spawn(self._open_and_close, destination)
            raise
        finally:
            if session.opens_in_turn:
                self.wake()

    def _open_and_close(self, destination: Destination) -> None:
        with contextlib.suppress(PSSHError):
            self._close_and_release(self.open_direct_tcpip(destination))

    def give_back(self, channel: Channel) -> None:
        """Have a channel closed that nobody needs.

        :param channel: nothing may be called on it afterwards.
        """
        gevent.spawn(self._close_and_release, channel)

    def _close_and_release(self, channel: Channel) -> None:
        with contextlib.suppress(PSSHError):
            self.call(channel.close)
            self.release(channel)

    def _failed(self, error: BaseException) -> BaseException:
        """Return what to raise for what a method raised."""
        if self._sender is not None:
            self._sent()
        if isinstance(error, ConnectionLostError):
            self.fail(error)
        elif not self._has_lost_descriptor():
            # A refusal may have come together with what others wait for.
            self._share_arrivals()
        if isinstance(error, PSSHError) and self._lifetime.lost not in (None, error):
            # The way to the host has failed, and knows why. (A time-out, or whatever else ends
            # a wait, is not about the way.)
            return self.end()
        return error

    def _sent(self) -> None:
        """Nothing is partly sent any more: it is the others' turn."""
        self._sender = None
        self.wake()

    # Waiting

    def wait(self) -> None:
        """Sleep until the session may have got further.

        :raises ConnectionLostError: when the connection has ended. A library may have closed the
            socket in the very call of which something came, and the event loop ends the process
            when it is given a descriptor that is closed.
        """
        if getcurrent() is self._hub:
            raise InvalidAPIUseError("A wait for host %s was tried in the event loop", self.host)
        if not self._lifetime.usable_in:
            self._lifetime.check()
        if self._keeps_unsent:
            if self._has_lost_descriptor():
                self._lifetime.check()
            self._waiters.wait(self.session.directions())
        else:
            # While a packet is partly sent nobody reads, and a readable socket is no news.
            sends = self._sender is not None
            self._waiters.wait(self.session.directions() or WRITE if sends else READ)

    def park(self) -> None:
        """Sleep until somebody calls :meth:`wake`, whatever the server sends meanwhile.

        For who holds the server back: a socket that is ready and not read is no news.

        :raises ConnectionLostError: when the connection ends, or has ended, meanwhile.
        """
        if self.alive:
            self._has_lost_descriptor()
        self._lifetime.check()
        self._waiters.park()
        self._lifetime.check()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self._waiters.wake()

    def _share_arrivals(self) -> None:
        """Wake the others if bytes were taken from the socket since they were woken last.

        The call that was just made may have taken them. Its result does not tell: what it
        took may have been for somebody else. That bytes have come is not enough to go by: a
        call may take some of them, and a later one the rest.
        """
        if not self._waiters.waiting:
            return
        taken = self.bytes_taken()
        if taken != self._seen:
            self._seen = taken
            self.wake()

    def bytes_received(self) -> int:
        """Count the bytes that have come from the server, read or not."""
        received = self.sock.bytes_received()
        if received is None:
            # Without a counter: everything counts as an arrival while something is there.
            return self._seen + (1 if self.bytes_unread() else 0)
        return received

    def bytes_unread(self) -> int:
        """Count the bytes that have come from the server and not been read."""
        return arrivals.bytes_unread(self.sock)

    def bytes_taken(self) -> int:
        """Count the bytes that have come from the server and been read, by whichever call.

        For comparing with another count: equal ones mean that nothing was read in between,
        or that something is there to be read, which wakes everybody who waits.
        """
        # In this order. Bytes that come between the two count as not read yet, and so make
        # the socket readable; the other way round they would count as read twice.
        received, unread = self.sock.bytes_received(), self.bytes_unread()
        if received is None:
            # Without a counter: everything counts as an arrival while something is there.
            return self._seen + (1 if unread else 0)
        return received - unread

    def writable(self) -> bool:
        """Whether the socket takes a small packet whole at this moment."""
        if self._sender is not None:
            return False
        poll = _poll()
        poll.register(self.sock.fileno(), select.POLLOUT)
        return bool(poll.poll(0))

    # The end

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that the connection belongs to."""
        return self._lifetime.is_here

    @property
    def alive(self) -> bool:
        """Whether the connection can be used, as far as is known without asking."""
        return self._lifetime.usable_in != 0

    @property
    def ending(self) -> weakref.WeakSet[gevent.Greenlet]:
        """Greenlets that bring channels to their end, after whoever used them has left."""
        if self._ending is None:
            self._ending = weakref.WeakSet()
        return self._ending

    @property
    def busy(self) -> bool:
        """Whether somebody waits for this connection."""
        return bool(self._waiters.waiting)

    def fail(self, reason: BaseException) -> None:
        """The connection cannot be used any more: tell everyone who waits, and why."""
        if self._lifetime.lost is None:
            self._lifetime.lose(self.sock.why_ended() or reason)
            if self.keepalive is not None:
                self.keepalive.stop()
            if self._lifetime.is_here:
                # The library may close the socket at any time from now on, and the number may
                # be somebody else's then.
                self._waiters.stop_watching()
            self.wake()
            self._close_when_unused()

    def _close_when_unused(self) -> None:
        """Give back the socket of a connection that is lost, once nobody reads what has come.

        The next command may never come, and a program with thousands of hosts needs each
        descriptor.
        """
        if self._lifetime.is_here and not self._lifetime.closed and not self.commands:
            # Whoever has been woken has a turn before.
            self._hub.loop.run_callback(self._close_unless_used)

    def _close_unless_used(self) -> None:
        """Runs in the loop."""
        if not self.commands:
            self.close()

    def release(self, channel: Channel) -> None:
        """Give a channel back to the library, which may send a last word, and fail.

        :param channel: nothing may be called on it afterwards.
        """
        channel.release()
        if self._lifetime.usable_in:
            self._has_lost_descriptor()
        else:
            self._close_when_unused()

    def _has_lost_descriptor(self) -> bool:
        """Whether the library has closed the socket, for instance because it could not send.

        Then the connection has failed, for everybody.
        """
        if not self._keeps_unsent or not self.session.lost_descriptor():
            return False
        host, port = self.host, self.port
        self.fail(
            ConnectionLostError(
                "The connection to host %s:%s was lost: the server closed it, or it was cut",
                host,
                port,
                host=host,
                port=port,
            )
        )
        return True

    def end(self) -> ConnectionLostError:
        """Make the error that tells why the connection cannot be used any more."""
        return self._lifetime.error()

    def _finish_sending(self, operation: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Somebody gave up in the middle of a packet: send the rest for the others."""
        if not self.alive:
            return

        def finish() -> None:
            # What the operation itself comes to is of no interest to anybody any more.
            with contextlib.suppress(Exception):
                self.attempt(operation, *args)

        self._sender = gevent.spawn(finish)

    def close(self) -> None:
        """End the connection at once. Never waits; whoever waits gets an error."""
        if self._lifetime.closed or self._in_thread is not None:
            return
        if not self._lifetime.is_here and self._waiters:
            # Somebody sleeps in the connection's own thread, which may be in the library at
            # this moment: that thread has to close it.
            self._hub.loop.run_callback_threadsafe(self.close)
            return
        self._lifetime.close()
        forked.forget(self)
        if self._lifetime.is_here:
            if self.keepalive is not None:
                self.keepalive.stop()
            self._waiters.close()
            self.wake()
        self.session.disconnect()
        self.sock.close()

    def close_after(self, call: Any) -> None:
        """End the connection once a thread that is inside the library has come out of it.

        :param call: the thread's asynchronous result.
        """
        self.fail(
            ConnectionLostError(
                "The connection to host %s:%s was given up",
                self.host,
                self.port,
                host=self.host,
                port=self.port,
            )
        )
        self._in_thread = call
        call.rawlink(lambda _: self._thread_done())

    def _thread_done(self) -> None:
        self._in_thread = None
        self.close()

    def __del__(self) -> None:
        # The safety net, which may run when hardly anything is left of the interpreter.
        lifetime: Lifetime | None = getattr(self, "_lifetime", None)
        if lifetime is None or lifetime.closed:
            return
        if sys.is_finalizing():
            self.sock.close()
        else:
            self.close()

    def leave_to_parent(self) -> None:
        """In a forked child: never touch the connection, which is the parent's."""
        # The descriptor stays valid and leads nowhere, so that nothing that the library
        # sends when its objects are freed reaches the parent's server.
        ours, theirs = socket.socketpair()
        os.dup2(ours.fileno(), self.sock.fileno(), inheritable=False)
        ours.close()
        theirs.close()
        self._lifetime.lose(
            ConnectionLostError(
                "The connection to host %s:%s was opened before this process was forked",
                self.host,
                self.port,
            )
        )
