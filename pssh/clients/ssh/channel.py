"""libssh's channel behind the seam."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import BaseSSHError

from pssh.clients.base.gone import Gone
from pssh.clients.base.seam import (
    NOT_SAID,
    WOULD_BLOCK,
    Channel,
    ExitStatus,
    WouldBlock,
    as_bytes,
    exited,
    unanswered,
)
from pssh.clients.ssh import libssh
from pssh.exceptions import SessionError

if TYPE_CHECKING:
    from ssh.channel import Channel as RawChannel

    from pssh.clients.ssh.session import LibsshSession

#: Bytes of a channel that may wait here. What comes then stays in libssh, which lets the
#: server send no more than its window of 2 MiB.
_WAITING_MAX = 512 * 1024

#: libssh opens the window again when half of it (WINDOW_DEFAULT in its channels.c) has been
#: taken. It is taken in just these steps: one byte off, and libssh would do so once where it
#: could do so twice, which on a long line halves what comes in a round trip.
_WINDOW_STEP = 1024 * 1024

#: After so much there is likely to be more.
_SMALL = 2048

#: What OpenSSH takes in a packet (PACKET_MAX_SIZE), less what stands around a command.
#: Others may take no more than 32 KiB (RFC 4253 section 6.1), and close the connection.
_COMMAND_MAX = 256 * 1024 - 1024


class LibsshChannel(Channel):
    """A channel of :class:`pssh.clients.ssh.session.LibsshSession`.

    What libssh reads for the channel it hands over at once, whoever called it, and it waits
    here: see :mod:`pssh.clients.ssh.libssh`.
    """

    __slots__ = (
        "_closed",
        "_ended",
        "_exit",
        "_left_behind",
        "_open",
        "_pointer",
        "_session",
        "_until_window",
        "_waiting",
        "_waiting_size",
    )

    def __init__(self, session: LibsshSession, raw: RawChannel) -> None:
        super().__init__()
        self._session = session
        #: libssh's channel; raises when it has been released.
        self._open = raw
        self._pointer = libssh.channel_pointer(raw)
        self._waiting: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._waiting_size = 0
        #: Whether libssh still has bytes of a stream.
        self._left_behind = [False, False]
        #: Bytes to take until libssh tells the server that it may send more.
        self._until_window = _WINDOW_STEP
        self._ended = False
        self._closed = False
        self._exit = NOT_SAID
        libssh.receive(self._pointer, self)

    @property
    def pointer(self) -> int:
        """The ``ssh_channel``, until it is released."""
        return self._pointer

    # What libssh reads (see libssh.Receiver)

    def data_wanted(self, size: int, is_stderr: bool) -> int:
        """How many bytes to hand over of all that libssh has of a stream."""
        wanted = size
        if size > self._until_window or size + self._waiting_size > _WAITING_MAX:
            room = max(_WAITING_MAX - self._waiting_size, 0)
            wanted = min(size, self._until_window, room)
        self._left_behind[is_stderr] = wanted < size
        return wanted

    def data_arrived(self, data: bytes, is_stderr: bool) -> None:
        """Take what was wanted."""
        size = len(data)
        self._taken(size)
        self._waiting[is_stderr].append(data)
        self._waiting_size += size
        if size > _SMALL:
            self._session.expect_more()

    def _taken(self, count: int) -> None:
        # A read may take more than was left of a step, when a packet comes meanwhile.
        self._until_window = (self._until_window - count) % _WINDOW_STEP or _WINDOW_STEP

    def eof_arrived(self) -> None:
        """There will be no more data."""
        self._ended = True

    def close_arrived(self) -> None:
        """There will be nothing more at all."""
        self._ended = True
        self._closed = True

    def exit_status_arrived(self, status: int) -> None:
        """The command ended by itself."""
        self._exit = exited(status)

    def exit_signal_arrived(self, name: str) -> None:
        """The command was killed."""
        self._exit = ExitStatus(signal=name)

    # Requests

    def _requested(self, code: int) -> WouldBlock | None:
        self._session.flush()
        if code != SSH_AGAIN:
            return None
        if self._closed:
            raise unanswered(self._session.host, self._session.port)
        return WOULD_BLOCK

    def request_exec(self, command: bytes) -> WouldBlock | None:
        raw = self._open
        if len(command) > _COMMAND_MAX:
            raise SessionError(
                "Could not start a command of %s bytes on host %s:%s: that is too long for a "
                "packet",
                len(command),
                self._session.host,
                self._session.port,
                host=self._session.host,
                port=self._session.port,
            )
        try:
            return self._requested(raw.request_exec(command))
        except BaseSSHError as ex:
            raise self._session.error("start a command", SessionError) from ex

    def request_shell(self) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.request_shell())
        except BaseSSHError as ex:
            raise self._session.error("start a shell", SessionError) from ex

    def request_subsystem(self, name: str) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.request_subsystem(name))
        except BaseSSHError as ex:
            raise self._session.error(f"start subsystem {name}", SessionError) from ex

    def request_environment(self, name: str, value: str) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.request_env(name, value))
        except BaseSSHError as ex:
            doing = f"set environment variable {name} (sshd_config: AcceptEnv)"
            raise self._session.error(doing, SessionError) from ex

    def request_pty(self, term: str, columns: int, rows: int) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.request_pty_size(term, columns, rows))
        except BaseSSHError as ex:
            raise self._session.error("get a pseudo terminal", SessionError) from ex

    def request_window_change(self, columns: int, rows: int) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.change_pty_size(columns, rows))
        except BaseSSHError as ex:
            raise self._session.error("resize the terminal", SessionError) from ex

    def request_agent_forwarding(self) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.request_auth_agent())
        except BaseSSHError as ex:
            doing = "forward the agent (sshd_config: AllowAgentForwarding)"
            raise self._session.error(doing, SessionError) from ex

    def request_signal(self, name: str) -> WouldBlock | None:
        raw = self._open
        try:
            return self._requested(raw.request_send_signal(name))
        except BaseSSHError as ex:
            raise self._session.error(f"send signal {name}", SessionError) from ex

    # Reading

    def read(self, stream: int, size: int) -> bytes | WouldBlock:
        self._receive(stream, size)
        data = self.read_arrived(stream, size)
        if data or self._is_over(stream):
            return data
        return WOULD_BLOCK

    def read_pieces(self, stream: int, size: int) -> Sequence[bytes] | WouldBlock:
        self._receive(stream, size)
        waiting = self._waiting[stream]
        if waiting:
            pieces = tuple(waiting)
            waiting.clear()
            self._waiting_size -= sum(map(len, pieces))
            return pieces
        return () if self._is_over(stream) else WOULD_BLOCK

    def _receive(self, stream: int, size: int) -> None:
        """See to it that something waits, if anything has come."""
        if self._waiting[stream]:
            return
        raw = self._open
        if self._left_behind[stream]:
            self._fetch(raw, stream, size)
        if not self._waiting[stream] and not self._ended:
            self._session.exchange()

    def _is_over(self, stream: int) -> bool:
        """Whether nothing more will come, where nothing waits."""
        if self._ended and not self._left_behind[stream]:
            return True
        self._session.check()
        return False

    def _fetch(self, raw: RawChannel, stream: int, size: int) -> None:
        """Get what was left in libssh. It may hand part of it over while it looks for more."""
        self._left_behind[stream] = False
        size = min(size, self._until_window)
        try:
            code, data = raw.read_nonblocking(size, bool(stream))
        except BaseSSHError:
            # The end of the stream, or of the connection: both have been told otherwise.
            return
        finally:
            self._session.flush()
        if code > 0:
            self._taken(len(data))
            self._waiting[stream].append(data)
            self._waiting_size += len(data)
            # Whether there is more libssh says the next time.
            self._left_behind[stream] = True

    def has_arrived(self, stream: int | None = None) -> bool:
        if stream is not None:
            return bool(self._waiting[stream]) or self._left_behind[stream]
        return bool(self._waiting_size or self._left_behind[0] or self._left_behind[1])

    def read_arrived(self, stream: int, size: int) -> bytes:
        waiting = self._waiting[stream]
        if not waiting:
            return b""
        if len(waiting) == 1 and len(waiting[0]) <= size:
            data = waiting.popleft()
        else:
            data = _take(waiting, size)
        self._waiting_size -= len(data)
        return data

    def at_eof(self) -> bool:
        return self._ended and not self.has_arrived()

    # Writing

    def write(self, data: bytes | memoryview) -> int | WouldBlock:
        """Where libssh has not sent yet what it was given before, it is given nothing more."""
        raw = self._open
        if not self._session.flush():
            return WOULD_BLOCK
        if raw.window_size() == 0:
            # Perhaps the server has opened it again.
            self._session.exchange()
        window = raw.window_size() or _SMALL
        if len(data) > window:
            # What libssh would not take need not be copied for it.
            data = memoryview(data)[:window]
        written = libssh.channel_write(self._pointer, as_bytes(data), len(data))
        if written < 0:
            raise self._session.error("write to the command", SessionError)
        self._session.flush()
        return written or WOULD_BLOCK

    def send_eof(self) -> WouldBlock | None:
        """Would block while libssh keeps what it could not send; once called it is said."""
        raw = self._open
        try:
            raw.send_eof()
        except BaseSSHError as ex:
            raise self._session.error("end the standard input", SessionError) from ex
        return None if self._session.flush() else WOULD_BLOCK

    # The end

    def wait_closed(self) -> WouldBlock | None:
        if not self._closed:
            self._session.exchange()
        if self._closed:
            return None
        self._session.check()
        return WOULD_BLOCK

    def exit_status(self) -> ExitStatus:
        return self._exit

    def close(self) -> WouldBlock | None:
        raw = self._open
        try:
            raw.close()
        except BaseSSHError as ex:
            raise self._session.error("close the channel", SessionError) from ex
        return None if self._session.flush() else WOULD_BLOCK

    def release(self) -> None:
        if isinstance(self._open, Gone):
            return
        libssh.forget(self._pointer)
        # libssh says goodbye for a channel that is open still.
        self._open = self._session.closed_channel
        self._session.released(self)


def _take(waiting: deque[bytes], size: int) -> bytes:
    """Take up to so many bytes from the front."""
    parts, length = [], 0
    while waiting and length < size:
        part = waiting.popleft()
        if length + len(part) > size:
            waiting.appendleft(part[size - length :])
            part = part[: size - length]
        parts.append(part)
        length += len(part)
    return b"".join(parts)
