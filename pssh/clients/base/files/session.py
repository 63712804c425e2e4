"""An SFTP session: requests of several greenlets over one channel."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore

from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.interrupts import pass_on
from pssh.clients.base.seam import STDERR, STDOUT, WOULD_BLOCK, Channel, WouldBlock
from pssh.exceptions import ConnectionLostError, PSSHError, SessionError, SFTPError
from pssh.sftp import constants, requests
from pssh.sftp.exchange import Exchange
from pssh.sftp.names import printable
from pssh.sftp.replies import DataPart, Reply, Status
from pssh.sftp.requests import Request
from pssh.sftp.status import error_for

_Answer = TypeVar("_Answer")

#: Is told of a reply, or of the error that there is in its place. Runs in the greenlet that
#: reads for everybody: it must not wait.
Waiter = Callable[[Reply | BaseException], object]

#: From 128 KiB on, the C library would ask the system for the memory of each read.
_READ_SIZE = 128 * 1024 - 64
_WRITE_SIZE = 256 * 1024

#: Bytes that may be read before others have their turn, however fast the server is.
_TURN = 1024 * 1024

#: Seconds that a server's program has to end by itself.
_ENDING_MAX = 10.0

#: A payload up to this is sent together with what stands before it.
_JOIN_MAX = 48 * 1024

#: Bytes of writes that may be without an answer: as much as a line of 8 Gbit/s has on its way in a
#: round trip, and no less than the first, nor more than the second of these. What is on its way at
#: a time the window of the channel limits as well (2 MiB for OpenSSH). More than is needed does
#: harm: sshd keeps what its SFTP server has not taken in a buffer that it copies each time that it
#: grows, and filling the window at once cost it 0.1 to 0.2 s of processor time.
_WRITES_MIN = 1024 * 1024
_WRITES_MAX = 8 * 1024 * 1024
_FASTEST_LINE = 1_000_000_000

#: How much of what the server says on its standard error is kept, in bytes.
_SAID_MAX = 1024


class SFTPSession:
    """Speaks SFTP on a channel on which the subsystem has been started.

    One greenlet reads, for all who wait for replies; whoever asks writes.

    :param connection: the connection.
    :param channel: the channel.
    :param timeout: seconds that a request may take; ``None`` for no limit.
    """

    __slots__ = (
        "__weakref__",
        "_channel",
        "_connection",
        "_error",
        "_exchange",
        "_last",
        "_over",
        "_reader",
        "_round_trip",
        "_said",
        "_sending",
        "_told",
        "_unsent",
        "_writing",
        "host",
        "interrupted",
        "port",
        "timeout",
    )

    def __init__(self, connection: Connection, channel: Channel, timeout: float | None) -> None:
        self._connection = connection
        self._channel = channel
        self.host = connection.host
        self.port = connection.port
        self.timeout = timeout
        self._exchange: Exchange[Waiter] = Exchange(host=self.host, port=self.port)
        self._sending = BoundedSemaphore(1)
        #: What is to be sent of the packet whose turn it is.
        self._unsent: deque[memoryview] = deque()
        self._error: BaseException | None = None
        #: Whether it has ended because Ctrl-C came in the middle of a packet.
        self.interrupted = False
        self._writing = False
        self._said = b""
        self._told = Event()
        self._over = Event()
        #: The shortest time in which a short request has been answered, in seconds.
        self._round_trip: float | None = None
        self._reader: gevent.Greenlet | None = None
        #: Greenlets that the session's end has to wait for.
        self._last: list[gevent.Greenlet] = []

    def start(self) -> None:
        """Begin. What is asked next need not wait for the server's version.

        :raises SFTPError: when the session ends at once.
        """
        self._reader = gevent.spawn(self._read)
        with self._sending:
            self._unsent.append(memoryview(self._exchange.start(self._version_told)))
            self._send()

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
        self._check()

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
        self.submit(request, _setter(answer))
        return answer

    def before_the_end(self, function: Callable[..., object], *args: Any) -> None:
        """Have something done in the background, before the session ends.

        :param function: what to do; that the session may end all the same is no error of it.
        :param args: its arguments.
        """

        def run() -> None:
            with contextlib.suppress(PSSHError):
                function(*args)

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
        self._sending.acquire()
        try:
            self._check()
            packet = self._exchange.send(request, waiter)
            if payload is None:
                self._unsent.append(memoryview(packet))
            elif len(payload) <= _JOIN_MAX:
                self._unsent.append(memoryview(packet + payload))
            else:
                self._unsent += (memoryview(packet), payload)
            self._send()
        except PSSHError:
            self._sending.release()
            raise
        except BaseException as ex:
            if self._writing:
                # Ctrl-C: nobody knows how much of the packet has been sent.
                self._sending.release()
                self._end_interrupted(ex)
                raise
            # Whoever gave up, in the middle of a packet: the others go on behind the rest of it.
            gevent.spawn(self._send_the_rest)
            raise
        else:
            self._sending.release()

    def refusal(
        self, status: Status, action: str, path: bytes | None, *, target: bytes | None = None
    ) -> SFTPError:
        """Make the error for a request that the server refused."""
        return error_for(status, action, path, target=target, host=self.host, port=self.port)

    def _send(self) -> None:
        """Send what is to be sent, by who holds the lock."""
        try:
            while self._unsent:
                with Deadline(self.timeout, self.host, self.port, "send an SFTP request"):
                    self._connection.call_promptly(self._send_some)
        except SessionError as ex:
            # The channel takes no more because the session ends, and whoever reads knows why.
            self._wait_for_the_end(ex)
            raise self._end() from ex
        except PSSHError as ex:
            # Half a request cannot be taken back.
            self._fail(ex)
            raise

    def _send_some(self) -> int | WouldBlock:
        """Send what the channel takes at once: each step that takes time has a time limit."""
        # A connection may call this once more for who gave up, so this keeps count itself.
        unsent, sent = self._unsent, 0
        while unsent:
            part = unsent[0][:_WRITE_SIZE]
            self._writing = True
            taken = self._channel.write(part)
            if taken is not WOULD_BLOCK:
                rest = unsent.popleft()[taken:]
                if rest:
                    unsent.appendleft(rest)
            self._writing = False
            if taken is WOULD_BLOCK:
                return WOULD_BLOCK
            sent += taken
            if taken < len(part):
                break
        return sent

    def _send_the_rest(self) -> None:
        with contextlib.suppress(PSSHError):
            try:
                self._send()
            finally:
                self._sending.release()

    def _wait_for_the_end(self, error: SessionError) -> None:
        """Wait until whoever reads has found the end of the session, which has begun."""
        if self._reader is not None:
            with gevent.Timeout(self.timeout or _ENDING_MAX, False):
                self._over.wait()
        self._fail(error)

    # Reading

    def _read(self) -> None:
        connection, channel, exchange = self._connection, self._channel, self._exchange
        turn = 0
        looked_at = -1
        try:
            while self._error is None:
                pieces = connection.attempt(channel.read_pieces, STDOUT, _READ_SIZE)
                if pieces is WOULD_BLOCK:
                    # While keys are exchanged libssh2 may hand out nothing of what has arrived:
                    # only when more has come from the network it is worth another look.
                    taken = connection.bytes_taken()
                    if channel.has_arrived() and taken != looked_at:
                        looked_at = taken
                        self._read_stderr()
                    elif not channel.at_eof():
                        turn = 0
                        connection.wait()
                    continue
                if not pieces:
                    self._read_stderr()
                    self._fail(self._ended())
                    return
                turn += sum(map(len, pieces))
                for waiter, reply in exchange.receive(*pieces):
                    waiter(reply)
                if turn > _TURN:
                    turn = 0
                    gevent.sleep(0)
        except PSSHError as ex:
            self._fail(ex)
        except KeyboardInterrupt as ex:
            # Whoever it is meant for gets it before the end of this session, which comes of it:
            # a reply may be lost.
            pass_on(ex)
            gevent.sleep(0)
            self._end_interrupted(ex)
        except BaseException as ex:
            self._fail(ex)
            raise
        finally:
            self._release()

    def _end_interrupted(self, interrupt: BaseException) -> None:
        self.interrupted = True
        self._fail(interrupt)

    def _read_stderr(self) -> None:
        data = self._connection.attempt(self._channel.read, STDERR, _READ_SIZE)
        if data is not WOULD_BLOCK:
            self._said = (self._said + data)[-_SAID_MAX:]

    def _ended(self) -> SFTPError:
        said = printable(self._said.decode("utf-8", "replace").strip())
        return SFTPError(
            "The SFTP session with host %s:%s has ended: %s",
            self.host,
            self.port,
            f"the server said {said!r}" if said else "the server closed it",
            host=self.host,
            port=self.port,
        )

    # The end

    @property
    def alive(self) -> bool:
        """Whether the session can be used, as far as is known without asking."""
        return self._error is None and self._connection.alive

    def _check(self) -> None:
        if self._error is not None:
            raise self._end()

    def _end(self) -> PSSHError:
        """Make the error that tells why the session cannot be used any more.

        One for each who asks: the tracebacks of several greenlets must not mix.
        """
        error = self._error
        if isinstance(error, ConnectionLostError):
            made: PSSHError = self._connection.end()
        elif isinstance(error, SFTPError):
            made = type(error)(*error.args, host=self.host, port=self.port)
        else:
            made = SFTPError(
                "The SFTP session with host %s:%s has ended: %s",
                self.host,
                self.port,
                error if isinstance(error, PSSHError) else "a request was interrupted",
                host=self.host,
                port=self.port,
            )
        made.__cause__ = error
        return made

    def _fail(self, error: BaseException) -> None:
        """End the session; whoever waits for a reply gets the error."""
        if self._error is None:
            self._error = error
        if self._reader is not None:
            # A server counts the session until it has been released.
            self._connection.ending.add(self._reader)
            self._connection.ended = True
        self._told.set()
        self._over.set()
        for waiter in self._exchange.close():
            waiter(self._end())
        self._connection.wake()

    def close(self) -> None:
        """End the session, without waiting for the server. Requests without an answer fail."""
        if self.alive and not all(greenlet.ready() for greenlet in self._last):
            # A server may take what it has not got to for nothing when it sees the end.
            gevent.spawn(self._close_later)
        elif self._error is None:
            self._fail(
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
        if self._reader is not None:
            self._reader.join(seconds)

    def _close_later(self) -> None:
        self.settle(_ENDING_MAX)
        self._last.clear()
        self.close()

    def _release(self) -> None:
        """Bring the channel to its end, in the greenlet that has read from it.

        A server counts a session until its program has ended (sshd_config: MaxSessions).
        """
        connection, channel = self._connection, self._channel
        try:
            with gevent.Timeout(_ENDING_MAX, False):
                if connection.alive:
                    connection.call(channel.send_eof)
                while connection.alive and not channel.at_eof():
                    if all(
                        connection.attempt(channel.read, stream, _READ_SIZE) is WOULD_BLOCK
                        for stream in (STDOUT, STDERR)
                    ):
                        connection.wait()
                if connection.alive:
                    connection.call(channel.wait_closed)
            if connection.alive:
                connection.attempt(channel.close)
        except PSSHError:
            pass
        finally:
            connection.release(channel)


def open_session(connection: Connection, channel: Channel, timeout: float | None) -> SFTPSession:
    """Start SFTP on a session channel.

    :param connection: the connection.
    :param channel: a channel that was just opened.
    :param timeout: seconds that each step may take.
    :raises SessionError: when the server has no such subsystem.
    :raises SFTPError: when it speaks something else.
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


def _setter(result: AsyncResult) -> Waiter:
    def tell(reply: Reply | BaseException) -> None:
        if isinstance(reply, BaseException):
            result.set_exception(reply)
        elif not isinstance(reply, DataPart) or not reply.remaining:
            result.set(reply)

    return tell


def _get(result: AsyncResult) -> Reply:
    reply: Reply = result.get()
    return reply
