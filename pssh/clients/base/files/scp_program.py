"""A program that runs on a host, and its streams, for a copy that talks to it."""

from __future__ import annotations

import contextlib
from typing import Final

import gevent

from pssh.clients.base.connection import Connection
from pssh.clients.base.deadline import Deadline
from pssh.clients.base.seam import (
    NOT_SAID,
    STDERR,
    STDOUT,
    WOULD_BLOCK,
    Channel,
    ExitStatus,
)
from pssh.exceptions import PSSHError, SCPError, SessionError, Timeout
from pssh.scp.record import printable

#: From 128 KiB on, the C library would ask the system for the memory of each read.
READ_SIZE: Final = 128 * 1024 - 64
#: What is handed to the library at once.
WRITE_SIZE: Final = 256 * 1024

#: How much of what a program says on its standard error is kept, in bytes.
_SAID_MAX: Final = 2048
#: How much a program may answer that is run for an answer, in bytes.
_ANSWER_MAX: Final = 256 * 1024

#: Seconds that a host has to close a channel before nobody waits any more.
_CLOSE_WAIT: Final = 1.0

_NOT_FOUND: Final = 127

STEP: Final = "copy with SCP"


class Program:
    """A program on a channel of its own, used by one greenlet.

    What it says on its standard error is read all the time, and kept for :meth:`reason`. What
    it says on its standard output waits, a piece at most, until it is read.

    :param connection: the connection.
    :param channel: a channel that was just opened.
    :param command: the command line.
    :param timeout: seconds that starting it may take, and seconds that it may go on without
        any progress; ``None`` for no limit.
    :raises SessionError: when the server refuses to start it.
    """

    __slots__ = ("_channel", "_connection", "_open", "_said", "_status", "_timeout", "_unread")

    def __init__(
        self, connection: Connection, channel: Channel, command: bytes, timeout: float | None
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._timeout = timeout
        self._open = True
        self._said = b""
        self._status: ExitStatus | None = None
        #: What was read while something was to be written; empty at the end.
        self._unread: bytes | None = None
        try:
            with Deadline(timeout, connection.host, connection.port, "start the command"):
                connection.call(channel.request_exec, command)
        except BaseException as ex:
            self.close(ex)
            raise

    # Its streams

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the program takes of some data to its standard input.

        :returns: how many bytes that was; 0 when the program has said something, or has ended,
            instead of taking any: read first.
        :raises Timeout: when it does neither.
        """
        connection, channel = self._connection, self._channel
        view = memoryview(data)[:WRITE_SIZE]
        taken = -1
        with self._deadline():
            while True:
                try:
                    written = connection.attempt(channel.write, view)
                except SessionError:
                    # The program has ended: whoever reads learns why.
                    return 0
                if written is not WOULD_BLOCK:
                    return written
                if self._unread is None:
                    self._unread = self._read_now(READ_SIZE)
                if self._unread is not None:
                    return 0
                # Reading may have taken the word that the program takes more, which no socket
                # would wake us for.
                if taken == connection.bytes_taken():
                    connection.wait()
                taken = connection.bytes_taken()

    def read(self, size: int = READ_SIZE) -> bytes:
        """Return the next bytes of the program's standard output; none at its end.

        :param size: how many at most.
        :raises Timeout: when none come.
        """
        data = self._unread
        if data is not None:
            # The end stays the end.
            self._unread = (data[size:] or None) if data else data
            return data[:size]
        with self._deadline():
            while True:
                data = self._read_now(size)
                if data is not None:
                    return data
                self._connection.wait()

    def _read_now(self, size: int) -> bytes | None:
        """Return what has come; ``None`` for nothing."""
        connection, channel = self._connection, self._channel
        taken = -1
        while True:
            data = connection.attempt(channel.read, STDOUT, size)
            if data is not WOULD_BLOCK:
                if not data:
                    self._hear()
                return data
            if not channel.has_arrived():
                return None
            heard = self._hear()
            if heard:
                # However much it says there, others have their turn.
                gevent.sleep(0)
            # That may have taken something for standard output, which no socket would wake
            # us for.
            elif taken == connection.bytes_taken():
                return None
            taken = connection.bytes_taken()

    def _hear(self) -> bool:
        """Take what has come on standard error; whether that was anything."""
        data = self._connection.attempt(self._channel.read, STDERR, READ_SIZE)
        if data is WOULD_BLOCK or not data:
            return False
        # The begin is what tells most.
        self._said = (self._said + data)[:_SAID_MAX]
        return True

    # Its end

    def end(self) -> None:
        """Send the end of its input, and wait until the program has ended.

        :raises SCPError: when it says anything more.
        :raises Timeout: when it does not end.
        """
        if not self._open:
            return
        connection, channel = self._connection, self._channel
        # It may have ended by itself.
        with self._deadline(), contextlib.suppress(SessionError):
            connection.call(channel.send_eof)
        extra = self.read()
        if extra:
            raise SCPError("it said more than was asked for: %s", printable(extra[:200]))
        with self._deadline():
            while not channel.at_eof():
                if not self._hear() and not channel.at_eof():
                    connection.wait()
            connection.call(channel.wait_closed)
            self._status = channel.exit_status()
            connection.attempt(channel.close)
            self._open = False
        connection.ended = True
        connection.release(channel)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended with exit status 0."""
        return self._status is not None and self._status.status == 0

    def reason(self) -> str:
        """Say why it ended as it did, in words of its own where there are any."""
        status = self._status or NOT_SAID
        said = "; ".join(
            printable(line.strip()) for line in self._said.splitlines() if line.strip()
        )
        if status.signal is not None:
            ending = f"it was killed by signal {status.signal}"
        elif status.status is not None:
            ending = f"exit status {status.status}"
        else:
            ending = "its exit status is unknown"
        return f"{said} ({ending})" if said else ending

    def error(self, found: SCPError) -> SCPError:
        """Make the error for a program that has ended too early.

        :param found: what was found to be missing.
        """
        status = self._status or NOT_SAID
        if status.status == _NOT_FOUND:
            return SCPError(
                "the host has no program for it: %s. Copying over SFTP (copy_file, "
                "copy_remote_file) needs none",
                self.reason(),
            )
        if self._said or status.signal is not None:
            return SCPError("%s: %s", found, self.reason())
        return SCPError("%s", found)

    def close(self, error: BaseException | None = None) -> None:
        """Give it up, if it has not ended.

        :param error: why. Unless that was a time-out, or this greenlet is to end, the host has a
            moment to close the channel too: it may allow few of them.
        """
        if not self._open:
            return
        self._open = False
        if not self._connection.alive:
            self._connection.release(self._channel)
            return
        closing = gevent.spawn(self._close)
        self._connection.ending.add(closing)
        self._connection.ended = True
        if isinstance(error, Exception) and not isinstance(error, Timeout):
            closing.join(_CLOSE_WAIT)

    def _close(self) -> None:
        try:
            self._connection.call(self._channel.close)
        except PSSHError:
            pass
        finally:
            self._connection.release(self._channel)

    def _deadline(self) -> Deadline:
        return Deadline(self._timeout, self._connection.host, self._connection.port, STEP)


def answer(program: Program) -> bytes:
    """Return all that a program says that needs no input, and wait for its end.

    :param program: was just started.
    :raises SCPError: when it says too much.
    """
    said = b""
    try:
        while data := program.read():
            said += data
            if len(said) > _ANSWER_MAX:
                raise SCPError("it said too much: %s", printable(said[:200]))
        program.end()
    except BaseException as ex:
        program.close(ex)
        raise
    return said
