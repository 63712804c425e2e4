"""An SFTP session: requests of several greenlets over one channel."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult, Event

from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.files.packet_reader import PacketReader
from pssh.clients.base.files.packet_writer import PacketWriter
from pssh.clients.base.files.session_end import SessionEnd
from pssh.clients.base.files.waiter import Waiter, setter
from pssh.clients.base.seam import Channel
from pssh.exceptions import PSSHError, SessionError, SFTPError
from pssh.sftp import constants, requests
from pssh.sftp.exchange import Exchange
from pssh.sftp.replies import Reply, Status
from pssh.sftp.requests import Request
from pssh.sftp.status import error_for

_Answer = TypeVar("_Answer")

#: Seconds that what is to be done before the end may take.
_LAST_MAX = 10.0

#: Bytes of writes that may be without an answer: as much as a line of 8 Gbit/s has on its way in a
#: round trip, and no less than the first, nor more than the second of these. What is on its way at
#: a time the window of the channel limits as well (2 MiB for OpenSSH). More than is needed does
#: harm: sshd keeps what its SFTP server has not taken in a buffer that it copies each time that it
#: grows, and filling the window at once cost it 0.1 to 0.2 s of processor time.
_WRITES_MIN = 1024 * 1024
_WRITES_MAX = 8 * 1024 * 1024
_FASTEST_LINE = 1_000_000_000


class SFTPSession:
    """Speaks SFTP on a channel on which the subsystem has been started.

    One greenlet reads, for all who wait for replies; whoever asks writes.

    :param connection: the connection.
    :param channel: the channel.
    :param timeout: seconds that a request may take; ``None`` for no limit.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_end",
        "_exchange",
        "_last",
        "_packets",
        "_round_trip",
        "_told",
        "_writer",
        "host",
        "port",
        "timeout",
    )

    def __init__(self, connection: Connection, channel: Channel, timeout: float | None) -> None:
        self._connection = connection
        self.host = connection.host
        self.port = connection.port
        self.timeout = timeout
        self._exchange: Exchange[Waiter] = Exchange(host=self.host, port=self.port)
        self._told = Event()
        self._end = SessionEnd(connection, self._exchange, self._told)
        self._writer = PacketWriter(connection, channel, self._end)
        self._packets = PacketReader(connection, channel, self._exchange, self._end)
        #: The shortest time in which a short request has been answered, in seconds.
        self._round_trip: float | None = None
        #: Greenlets that the session's end has to wait for.
        self._last: list[gevent.Greenlet] = []

    def start(self) -> None:
        """Begin. What is asked next need not wait for the server's version.

        :raises SFTPError: when the session ends at once.
        """
        self._end.reader = gevent.spawn(self._packets.run)
        self._writer.send(partial(self._exchange.start, self._version_told), self.timeout)

    def _version_told(self, reply: Reply | BaseException) -> None:
        if self._exchange.supports(constants.LIMITS):
            # Who reads must not write. Copies do not wait for the answer: until it is there,
            # the limits that every server has hold.
            gevent.spawn_raw(self._ask_limits)
        else:
            self._told.set()

    def _ask_limits(self) -> None:
        with contextlib.suppress(PSSHError):
            self.submit(requests.limits(), lambda _: self._told.set())

    def wait_started(self) -> None:
        """Wait until the server has told its version, and its limits.

        :raises SFTPError: when it speaks something else.
        """
        with Deadline(self.timeout, self.host, self.port, "start SFTP"):
            self._told.wait()
        self._end.check()

    # What the server can do

    def supports(self, extension: bytes) -> bool:
        """Whether the server has an extension of the protocol.

        :raises SFTPError: when it speaks something else.
        """
        self.wait_started()
        return self._exchange.supports(extension)

    def require(self, extension: bytes, action: str, path: bytes) -> None:
        """Check that the server has an extension of the protocol.

        :param action: what it is for, as in "could not …".
        :param path: the path that it is about.
        :raises SFTPUnsupportedError: when it has not.
        :raises SFTPError: when it speaks something else.
        """
        if not self.supports(extension):
            message = f"it has no {extension.decode()}"
            status = Status(0, constants.SSH_FX_OP_UNSUPPORTED, message)
            raise self.refusal(status, action, path)

    @property
    def extensions(self) -> Mapping[bytes, bytes]:
        """The server's extensions: their names and data.

        :raises SFTPError: when it speaks something else.
        """
        self.wait_started()
        return self._exchange.extensions

    @property
    def read_size(self) -> int:
        """Bytes that one request may ask for."""
        return self._exchange.limits.max_read

    @property
    def write_size(self) -> int:
        """Bytes that one request may carry."""
        return self._exchange.limits.max_write

    @property
    def writes_max(self) -> int:
        """Bytes that may be written without an answer, by how far away the server is."""
        if self._round_trip is None:
            return _WRITES_MAX
        return int(min(max(self._round_trip * _FASTEST_LINE, _WRITES_MIN), _WRITES_MAX))

    @property
    def handles_max(self) -> int | None:
        """How many files may be open at a time, where the server says so."""
        return self._exchange.limits.max_handles

    # Asking

    def request(
        self,
        request: Request,
        kind: type[_Answer],
        action: str,
        path: bytes | None,
        *,
        target: bytes | None = None,
    ) -> _Answer:
        """Send a request and wait for its answer.

        :param request: the request.
        :param kind: what it is answered with.
        :param action: what it does, as in "could not …".
        :param path: the path that it is about.
        :param target: the other one.
        :raises SFTPIOError: when the server refuses.
        :raises SFTPError: when the session has ended.
        :raises Timeout: when it takes longer than the session's ``timeout``.
        """
        began = time.monotonic()
        reply = self.wait_for(self.ask(request), action)
        self.answered_since(began)
        if isinstance(reply, Status) and (kind is not Status or not reply.is_ok):
            raise self.refusal(reply, action, path, target=target)
        assert isinstance(reply, kind)
        return reply

    def ask(self, request: Request) -> AsyncResult:
        """Send a request, to wait for its answer later."""
        answer: AsyncResult = AsyncResult()
        self.submit(request, setter(answer))
        return answer

    def before_the_end(self, function: Callable[..., object], *args: Any) -> None:
        """Have something done in the background, before the session ends.

        :param function: what to do; that the session may end all the same is no error of it.
        :param args: its arguments.
        """

        def run() -> None:
            with contextlib.suppress(PSSHError):
                function(*args)

        self._last = [each for each in self._last if not each.ready()]
        self._last.append(gevent.spawn(run))

    def settle(self, seconds: float) -> None:
        """Wait for what :meth:`before_the_end` was given.

        :param seconds: how long that may take.
        """
        gevent.joinall(self._last, timeout=seconds)

    def wait_for(self, answer: AsyncResult, action: str) -> Reply:
        """Wait for the answer to a request.

        :param answer: what :meth:`ask` returned.
        :param action: what it does, as in "took longer to …".
        """
        with Deadline(self.timeout, self.host, self.port, f"{action} over SFTP"):
            return _get(answer)

    def answered_since(self, began: float) -> None:
        """Note that a short request has been answered.

        :param began: when it was sent, by the monotonic clock.
        """
        elapsed = time.monotonic() - began
        if self._round_trip is None or elapsed < self._round_trip:
            self._round_trip = elapsed

    def submit(self, request: Request, waiter: Waiter, payload: memoryview | None = None) -> None:
        """Send a request, and have somebody told of the reply.

        :param request: the request.
        :param waiter: is told.
        :param payload: the data that follows it.
        :raises SFTPError: when the session has ended.
        """
        self._writer.send(partial(self._packet, request, waiter), self.timeout, payload)

    def _packet(self, request: Request, waiter: Waiter) -> bytes:
        self._end.check()
        return self._exchange.send(request, waiter)

    def refusal(
        self, status: Status, action: str, path: bytes | None, *, target: bytes | None = None
    ) -> SFTPError:
        """Make the error for a request that the server refused."""
        return error_for(status, action, path, target=target, host=self.host, port=self.port)

    # The end

    @property
    def alive(self) -> bool:
        """Whether the session can be used, as far as is known without asking."""
        return self._end.cause is None and self._connection.alive

    @property
    def interrupted(self) -> bool:
        """Whether it has ended because Ctrl-C came in the middle of a packet."""
        return self._end.interrupted

    def close(self) -> None:
        """End the session, without waiting for the server. Requests without an answer fail."""
        if self.alive and not all(greenlet.ready() for greenlet in self._last):
            # A server may take what it has not got to for nothing when it sees the end.
            gevent.spawn(self._close_later)
        elif self._end.cause is None:
            self._end.begin(
                SFTPError(
                    "The SFTP session with host %s:%s has been closed by this client",
                    self.host,
                    self.port,
                    host=self.host,
                    port=self.port,
                )
            )

    def wait_closed(self, seconds: float) -> None:
        """After the end: wait until the server has closed the channel.

        :param seconds: how long that may take.
        """
        if self._end.reader is not None:
            self._end.reader.join(seconds)

    def _close_later(self) -> None:
        self.settle(_LAST_MAX)
        self._last.clear()
        self.close()


def open_session(connection: Connection, channel: Channel, timeout: float | None) -> SFTPSession:
    """Start SFTP on a session channel.

    :param connection: the connection.
    :param channel: a channel that was just opened.
    :param timeout: seconds that each step may take.
    :raises SFTPError: when the server offers no SFTP.
    """
    host, port = connection.host, connection.port
    try:
        with Deadline(timeout, host, port, "start SFTP"):
            connection.call(channel.request_subsystem, "sftp")
    except SessionError as ex:
        connection.release(channel)
        raise SFTPError(
            "Host %s:%s does not offer SFTP (sshd_config: Subsystem): %s",
            host,
            port,
            ex,
            host=host,
            port=port,
        ) from ex
    except BaseException:
        connection.release(channel)
        raise
    session = SFTPSession(connection, channel, timeout)
    try:
        session.start()
    except BaseException:
        session.close()
        raise
    return session


def _get(result: AsyncResult) -> Reply:
    reply: Reply = result.get()
    return reply
