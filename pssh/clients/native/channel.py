"""libssh2's channel behind the seam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.exceptions import InvalidRequestError, SSH2Error

from pssh.clients.base.gone import Gone
from pssh.clients.base.seam import (
    WOULD_BLOCK,
    Channel,
    ExitStatus,
    WouldBlock,
    as_bytes,
    unanswered,
)
from pssh.clients.native import libssh2
from pssh.clients.native.errors import error_for_code
from pssh.exceptions import InvalidAPIUseError, SessionError

if TYPE_CHECKING:
    from ssh2.channel import Channel as RawChannel

    from pssh.clients.native.session import NativeSession

_DEFAULT_PTY_SIZE = (80, 24)

#: Bytes of a variable's name and value together. libssh2 puts no more into a packet
#: (MAX_SSH_PACKET_LEN in its libssh2_priv.h, less what stands around them), and calls that a
#: failure of the socket, which cannot be told from a true one.
_VARIABLE_MAX = 34722


class NativeChannel(Channel):
    """A channel of :class:`pssh.clients.native.session.NativeSession`."""

    __slots__ = ("_marked", "_open", "_pointer", "_session")

    def __init__(self, session: NativeSession, raw: RawChannel) -> None:
        super().__init__()
        self._session = session
        #: libssh2's channel; raises when it has been released.
        self._open = raw
        # Right as long as libssh2's channel is there, which is until it is released.
        self._pointer = libssh2.channel_pointer(raw)
        self._marked = libssh2.mark_exit_status_unknown(raw, self._pointer)

    def _done(self, code: int) -> WouldBlock | None:
        return WOULD_BLOCK if code == LIBSSH2_ERROR_EAGAIN else None

    def _requested(self, code: int) -> WouldBlock | None:
        if code != LIBSSH2_ERROR_EAGAIN:
            return None
        if self._closed_by_server():
            raise unanswered(self._session.host, self._session.port)
        return WOULD_BLOCK

    def _closed_by_server(self) -> bool:
        """Whether libssh2 goes on waiting for what cannot come any more.

        That is known once everything has been read.
        """
        raw = self._open
        return bool(raw.eof()) and raw.wait_closed() != LIBSSH2_ERROR_EAGAIN

    def request_exec(self, command: bytes) -> WouldBlock | None:
        try:
            return self._requested(self._open.execute(command))
        except InvalidRequestError as ex:
            doing = f"start a command of {len(command)} bytes, which is too long for libssh2"
            raise self._session.error(ex, doing) from ex
        except SSH2Error as ex:
            raise self._session.error(ex, "start a command") from ex

    def request_shell(self) -> WouldBlock | None:
        try:
            return self._requested(self._open.shell())
        except SSH2Error as ex:
            raise self._session.error(ex, "start a shell") from ex

    def request_subsystem(self, name: str) -> WouldBlock | None:
        try:
            return self._requested(self._open.subsystem(name))
        except SSH2Error as ex:
            raise self._session.error(ex, f"start subsystem {name}") from ex

    def request_environment(self, name: str, value: str) -> WouldBlock | None:
        raw = self._open
        if len(name.encode()) + len(value.encode()) > _VARIABLE_MAX:
            host, port = self._session.host, self._session.port
            raise SessionError(
                "Could not set environment variable %s on host %s:%s: it is too long for libssh2",
                name,
                host,
                port,
                host=host,
                port=port,
            )
        try:
            return self._requested(raw.setenv(name, value))
        except SSH2Error as ex:
            doing = f"set environment variable {name} (sshd_config: AcceptEnv)"
            raise self._session.error(ex, doing) from ex

    def request_pty(self, term: str, columns: int, rows: int) -> WouldBlock | None:
        raw = self._open
        try:
            if (columns, rows) == _DEFAULT_PTY_SIZE:
                return self._requested(raw.pty(term))
            if self._pointer is None:
                raise InvalidAPIUseError(
                    "pty_size is not possible with this build of ssh2-python (host %s)",
                    self._session.host,
                )
            code = libssh2.request_pty(self._pointer, term, columns, rows)
            return self._checked(code) and self._requested(code)
        except SSH2Error as ex:
            raise self._session.error(ex, "get a pseudo terminal") from ex

    def request_window_change(self, columns: int, rows: int) -> WouldBlock | None:
        if self._pointer is None:
            self._open  # noqa: B018 (raises where the channel has been closed)
            raise InvalidAPIUseError(
                "A terminal cannot be resized with this build of ssh2-python (host %s)",
                self._session.host,
            )
        try:
            return self._checked(libssh2.request_window_change(self._pointer, columns, rows))
        except SSH2Error as ex:
            raise self._session.error(ex, "resize the terminal") from ex

    def _checked(self, code: int) -> WouldBlock | None:
        """What :meth:`_done` says of a code that the binding has not looked at."""
        error = error_for_code(code)
        if error is not None:
            raise error
        return self._done(code)

    def request_agent_forwarding(self) -> WouldBlock | None:
        try:
            return self._requested(self._open.request_auth_agent())
        except SSH2Error as ex:
            doing = "forward the agent (sshd_config: AllowAgentForwarding)"
            raise self._session.error(ex, doing) from ex

    def request_signal(self, name: str) -> WouldBlock | None:
        try:
            return self._done(self._open.signal(name))
        except SSH2Error as ex:
            raise self._session.error(ex, f"send signal {name}") from ex

    def read(self, stream: int, size: int) -> bytes | WouldBlock:
        try:
            code, data = self._open.read_ex(size, stream)
        except SSH2Error as ex:
            # Whatever stops a read (the end of a stream is no error) stopped the transport.
            raise self._session.lost(ex) from ex
        if code == LIBSSH2_ERROR_EAGAIN:
            return WOULD_BLOCK
        return bytes(data)

    def has_arrived(self, stream: int | None = None) -> bool:
        # The binding's own poll_channel_read stops at the answer to a keep-alive, which
        # libssh2 leaves in its queue.
        return self._pointer is None or libssh2.bytes_queued(self._pointer) != 0

    def read_arrived(self, stream: int, size: int) -> bytes:
        """From the first time on no channel of the session reads from the network any more."""
        if isinstance(self._open, Gone):
            return b""
        self._session.silence_socket()
        try:
            code, data = self._open.read_ex(size, stream)
        except SSH2Error:
            return b""
        return bytes(data) if code > 0 else b""

    def write(self, data: bytes | memoryview) -> int | WouldBlock:
        try:
            code, written = self._open.write(as_bytes(data))
        except SSH2Error as ex:
            raise self._session.error(ex, "write to the command") from ex
        # With the rest still to come the caller writes on at once: a packet that is partly
        # sent is finished by that, before anybody else's turn.
        if written == 0 and code == LIBSSH2_ERROR_EAGAIN:
            if self._closed_by_server():
                raise self._closed_error()
            return WOULD_BLOCK
        return int(written)

    def _closed_error(self) -> SessionError:
        host, port = self._session.host, self._session.port
        return SessionError(
            "Could not write to the command on host %s:%s: the server has closed the channel",
            host,
            port,
            host=host,
            port=port,
        )

    def send_eof(self) -> WouldBlock | None:
        try:
            return self._done(self._open.send_eof())
        except SSH2Error as ex:
            raise self._session.error(ex, "end the standard input") from ex

    def at_eof(self) -> bool:
        return bool(self._open.eof())

    def wait_closed(self) -> WouldBlock | None:
        try:
            return self._done(self._open.wait_closed())
        except SSH2Error as ex:
            raise self._session.lost(ex) from ex

    def exit_status(self) -> ExitStatus:
        return libssh2.exit_status(self._open, self._pointer, self._marked)

    def close(self) -> WouldBlock | None:
        try:
            return self._done(self._open.close())
        except SSH2Error as ex:
            raise self._session.error(ex, "close the channel") from ex

    def release(self) -> None:
        """Let go of the binding's object: libssh2 frees the channel with the last who has it."""
        self._open = self._session.closed_channel
        self._pointer = None
